"""The dependency rule of docs/architecture.md, held by the machine."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import compiler

ROOT = Path(__file__).parents[2]
COMPILER_MAY_IMPORT = {"numpy", "tflite", "yaml", "compiler"}
COMPILER_MAY_NOT_IMPORT = {"subprocess", "socket", "threading", "multiprocessing", "asyncio"}
OS_HEADERS = {
    "unistd.h",
    "stdio.h",
    "stdlib.h",
    "pthread.h",
    "fcntl.h",
    "termios.h",
    "zephyr",
    "nrf",
}


def _modules(package: str) -> Iterator[Path]:
    yield from sorted((ROOT / package).rglob("*.py"))


def _imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(module, names) of every import anywhere in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ()
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module, tuple(alias.name for alias in node.names)


def test_compiler_imports_only_what_it_may() -> None:
    for path in _modules("compiler"):
        for module, _ in _imports(path):
            top = module.split(".")[0]
            allowed = top in COMPILER_MAY_IMPORT or top in sys.stdlib_module_names
            assert allowed, f"{path} imports {module}"
            assert top not in COMPILER_MAY_NOT_IMPORT, f"{path} imports {module}"


def test_harness_uses_only_public_names_of_the_compiler() -> None:
    for path in _modules("harness"):
        for module, names in _imports(path):
            if module.split(".")[0] == "compiler":
                assert module == "compiler", f"{path} imports {module}"
                assert set(names) <= set(compiler.__all__), f"{path} imports {names}"
            assert module.split(".")[0] not in ("tests", "benchmarks"), f"{path} imports {module}"


def _file_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _graph() -> dict[Path, set[Path]]:
    """Imports at the top level of a module: those that run when it is imported."""
    graph: dict[Path, set[Path]] = {}
    for package in ("compiler", "harness"):
        for path in _modules(package):
            graph[path] = set()
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if not isinstance(node, ast.ImportFrom) or node.module is None:
                    continue
                for name in node.names:
                    target = _file_of(f"{node.module}.{name.name}") or _file_of(node.module)
                    if target is not None and target != path:
                        graph[path].add(target)
    return graph


def test_no_import_cycles() -> None:
    graph = _graph()
    done: set[Path] = set()
    for start in graph:
        stack: list[tuple[Path, tuple[Path, ...]]] = [(start, (start,))]
        while stack:
            node, way = stack.pop()
            for target in graph.get(node, ()):
                names = " -> ".join(str(path.relative_to(ROOT)) for path in (*way, target))
                assert target != start, names
                if target not in done and target not in way:
                    stack.append((target, (*way, target)))
        done.add(start)


def test_firmware_core_includes_no_system_and_no_vendor_header() -> None:
    for path in sorted((ROOT / "firmware" / "core").rglob("*.[ch]")):
        for header in re.findall(r'#\s*include\s+[<"]([^>"]+)[>"]', path.read_text()):
            name = header.split("/")[0]
            assert name not in OS_HEADERS, f"{path} includes {header}"
            assert not name.startswith(("nrf", "zephyr")), f"{path} includes {header}"


def test_no_shell_strings() -> None:
    for package in ("compiler", "harness", "benchmarks"):
        for path in _modules(package):
            text = path.read_text(encoding="utf-8")
            assert "shell=True" not in text, path
            assert not re.search(r"\bos\.(system|popen)\(", text), path
