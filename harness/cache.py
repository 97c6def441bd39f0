"""Where cached results live. Every entry can be computed again; deleting the folder is safe."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir(kind: str) -> Path | None:
    """The folder for one kind of entry ("golden", ...): under $AXONRIG_CACHE, else
    $XDG_CACHE_HOME/axonrig, else ~/.cache/axonrig; None when there is no home either.

    The folder may not exist yet.
    """
    if named := os.environ.get("AXONRIG_CACHE"):
        return Path(named) / kind
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "axonrig" / kind
    try:
        return Path.home() / ".cache" / "axonrig" / kind
    except RuntimeError:
        return None
