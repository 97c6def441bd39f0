"""How long the page of a long history takes, and how large it is. Figures are in docs/report.md.

python -m benchmarks.report_size [NIGHTS JOBS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from harness.report.nights.page import write_history_page
from tests.support.nights import write_nights

ROUNDS = 5
LAYERS = 16
"""Of each program; their figures are in the history, not on the page."""


def main(nights: int = 200, jobs: int = 20) -> int:
    """Print the sizes, and the quickest and slowest of five builds."""
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.db"
        write_nights(history, nights, jobs, LAYERS)
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            page = write_history_page(history)
            seconds.append(time.perf_counter() - start)
        print(f"history  {nights} nights x {jobs} jobs, {history.stat().st_size:,} bytes")
        print(f"page     {page.stat().st_size:,} bytes")
        print(f"built in {min(seconds):.2f} to {max(seconds):.2f} s, {ROUNDS} times")
    return 0


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:])))
