"""Draws a run's terminal report as an SVG, for the README.

python benchmarks/report_picture.py out/bench/report.json docs/images/run.svg
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from rich.console import Console

from harness.report.table import print_report

COLUMNS = 100


def main(report: Path, picture: Path) -> int:
    """Write the picture whole or not at all."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    print_report(json.loads(report.read_text(encoding="utf-8")), console)
    svg = console.export_svg(title="axonrig run --board sim", unique_id="axonrig")
    partial = picture.with_suffix(".partial")
    partial.write_text(svg, encoding="utf-8")
    partial.replace(picture)
    print(f"wrote {picture}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
