"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with samples done and samples in all."""

Observer = Callable[[str, int, int], None]
"""Called with the stage ("golden reference", "device sim"), samples done and samples in all."""
