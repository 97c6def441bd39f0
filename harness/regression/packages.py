"""The optional packages of the measured gates."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from harness.errors import ToolchainError

PACKAGES: Final = ("scipy", "ruptures")


def check_packages() -> None:
    """Raise ToolchainError when a package that judging latencies needs is not installed."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ToolchainError(
            f"{' and '.join(missing)} not installed, and judging measured latencies needs it: "
            "pip install '.[nightly]' in a checkout of axonrig"
        )
