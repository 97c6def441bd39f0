"""Pictures of the pages, for the README and docs/report.md. Needs a Chromium.

python -m benchmarks.report_screens docs/images

Makes report.png and report-dark.png (the run of the embedded model) and nights.png (a made-up
history: nothing in it was measured). The same sources give the same pictures, but for the time of
the run.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from harness.artefacts import write_bytes
from harness.report.nights.page import write_history_page
from harness.run import RunRequest, run
from tests.support.browser import Browser, open_browser
from tests.support.nights import write_nights

WIDTH = 1000


def main(target: Path) -> int:
    """Write the pictures into `target`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(RunRequest(out=folder / "run"))
        write_nights(folder / "made-up.db")
        nights = write_history_page(folder / "made-up.db")
        with open_browser(folder / "profile") as browser:
            page = folder / "run" / "report.html"
            shoot(browser, page, target / "report.png", 1150)
            shoot(browser, page, target / "report-dark.png", 1150, dark=True)
            shoot(browser, nights, target / "nights.png", 900, start="nights")
    return 0


def shoot(
    browser: Browser, page: Path, picture: Path, height: int, *, start: str = "", dark: bool = False
) -> None:
    """One picture of a page. start: the section at its top."""
    tab = browser.tab(WIDTH, height, dark=dark)
    tab.send("Emulation.setScrollbarsHidden", hidden=True)
    tab.open(page)
    if start:
        tab.evaluate(f"document.getElementById('{start}').scrollIntoView()")
    write_bytes(picture, tab.screenshot())
    print(f"wrote {picture}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
