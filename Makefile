# One environment, made on demand from pyproject.toml; no other tool is needed.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
OUT ?= out
SOURCES := compiler harness benchmarks tests conftest.py

.DEFAULT_GOAL := help
.PHONY: help setup bench bench-sim test check check-python check-c format docs clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make the environment

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

bench: setup ## Compile the embedded model, run it on the simulator, compare with host TFLite
	$(PY) -m harness run --board sim --out $(OUT)/bench

bench-sim: setup ## Simulator throughput beside LiteRT, as a ratio
	$(PY) benchmarks/simulator_speed.py

test: setup ## Run the tests
	$(PY) -m pytest -n auto

check: check-python check-c ## Lint, type check, and compile the firmware with warnings as errors

check-python: setup
	$(PY) -m ruff check $(SOURCES)
	$(PY) -m ruff format --check $(SOURCES)
	$(PY) -m mypy $(SOURCES)

check-c: setup
	$(PY) -m tests.support.check_c

format: setup ## Format the Python sources
	$(PY) -m ruff check --fix $(SOURCES)
	$(PY) -m ruff format $(SOURCES)

docs: setup ## Check that the documents' commands and links work
	$(PY) -m pytest -q tests/docs

clean: ## Remove everything that was made here
	rm -rf $(VENV) $(OUT) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
