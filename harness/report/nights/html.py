"""The page of a history as HTML text, and its charts."""

from __future__ import annotations

from harness.markup import Markup
from harness.report.document import document
from harness.report.nights import last, trends
from harness.report.nights.facts import HistoryFacts
from harness.report.nights.words import HistoryPage


def render_history(page: HistoryPage) -> str:
    """The page as HTML text."""
    found = page.facts
    makers = (
        last.summary,
        last.findings,
        last.jobs,
        trends.nights,
        trends.trends,
        trends.latencies,
        last.missing,
        last.provenance,
    )
    sections = [made for maker in makers if (made := maker(page)) is not None]
    told = (
        f"{len(found.nights)} nights, {len(found.trends)} jobs; the last began "
        f"{found.last.begun} on {found.last.host}"
    )
    return document(f"Nights of {found.name}", told, sections, page.version)


def history_charts(found: HistoryFacts) -> dict[str, Markup]:
    """Every chart over the nights by a name of its own."""
    drawn = {"nights": trends.grid(found)}
    for items in found.trends.values():
        for item in items:
            if (chart := trends.trend_chart(found, item)) is not None:
                drawn[f"{item.job.name} {item.metric}"] = chart
    return drawn
