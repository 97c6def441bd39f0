"""Loads the pytest plugin: `pytest` in this folder means `pytest --board sim`."""

pytest_plugins = ("harness.pytest_plugin",)
