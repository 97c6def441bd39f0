"""A night on the terminal: what ran, what was skipped and why, what changed."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.history import Finding, Result, Status
from harness.history.exports import figure
from harness.nightly.night import NightResult, NightStatus
from harness.terminal_text import printable

_PLAIN_WIDTH = 140
_COLUMNS = {
    "agreement.top1": "top-1",
    "estimate.cycles": "cycles (estimated)",
    "memory.flash_bytes": "flash (estimated)",
    "latency.us": "latency us",
}
_VERDICTS = {
    NightStatus.FINE: "fine: nothing got worse",
    NightStatus.REGRESSION: "regression: something got worse",
    NightStatus.INFRASTRUCTURE: "infrastructure: jobs failed, or nothing could run",
}


def print_night(result: NightResult, console: Console | None = None) -> None:
    """Print the summary of a night."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_PLAIN_WIDTH)
    console.print(_results(result.results))
    for line in _unfinished(result.results):
        console.print(Text(line), soft_wrap=True)
    for finding in result.findings:
        console.print(Text(finding_line(finding)), soft_wrap=True)
    console.print(Text(summary_line(result)), soft_wrap=True)
    console.print(Text(f"results: {result.folder}"), soft_wrap=True)


def summary_line(result: NightResult) -> str:
    """`night 2026-11-22: 8 ok, 4 skipped; regression: something got worse`."""
    counts = Counter(item.status for item in result.results)
    words = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    return f"night {result.night.id}: {words}; {_VERDICTS[result.status]}"


def finding_line(finding: Finding) -> str:
    """One finding as a sentence."""
    where = f"{finding.job.name} {finding.metric}"
    return printable(f"{finding.verdict} ({finding.gate}): {where}: {finding.text}")


def _results(results: tuple[Result, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("job", "status", "source"):
        table.add_column(title, no_wrap=True)
    for title in _COLUMNS.values():
        table.add_column(title, justify="right", no_wrap=True)
    for item in results:
        if item.status is Status.OK:
            cells = [Text(figure(item, name, title)) for name, title in _COLUMNS.items()]
            table.add_row(item.job.name, item.status.value, item.source or "-", *cells)
    return table


def _unfinished(results: tuple[Result, ...]) -> list[str]:
    """A line for each reason, with the jobs that it kept from running."""
    jobs: dict[tuple[Status, str], list[str]] = {}
    for item in results:
        if item.status is not Status.OK:
            reason = printable(" ".join((item.reason or "").split()))
            jobs.setdefault((item.status, reason), []).append(item.job.name)
    return [f"{status}: {', '.join(names)}: {reason}" for (status, reason), names in jobs.items()]
