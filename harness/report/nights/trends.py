"""Sections over all nights: how every job ended, every figure that changed, and raw values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

from harness.charts.nights import ENDINGS, Row, night_grid
from harness.charts.spread import Group, quantile, spread
from harness.charts.trend import Line, Mark, trend
from harness.history import Finding, Job, Kind, Point, Samples, Verdict
from harness.markup import Markup, element
from harness.report.nights.facts import HistoryFacts, Trend, drawable
from harness.report.nights.words import HistoryPage, shown
from harness.report.parts import Column, Section, figure, paragraph, section, table

_MOST_LEVELS: Final = 40


def nights(page: HistoryPage) -> Section:
    """How every job ended in every night."""
    found = page.facts
    columns = (Column("job"), *(Column(name, number=True) for name in ENDINGS))
    rows = []
    for job, endings in found.endings.items():
        counts = Counter(endings.values())
        rows.append((job.name, *(counts[name] for name in ENDINGS)))
    data = table("Nights by how the job ended", columns, rows)
    drawn = figure(grid(found), page.origin("history"), data)
    return section("nights", "Every night", drawn)


def grid(found: HistoryFacts) -> Markup:
    """A row for each job, a column for each night."""
    names = [night.id for night in found.nights]
    rows = [
        Row(job.name, [endings.get(name, "") for name in names])
        for job, endings in found.endings.items()
    ]
    return night_grid(rows, names, "How every job ended in every night")


def trends(page: HistoryPage) -> Section | None:
    """Every figure of every job: a chart where it changed."""
    parts: list[Markup] = []
    for job, items in page.facts.trends.items():
        if items:
            parts.append(element("h3", job.name))
        for item in items:
            chart = trend_chart(page.facts, item)
            if chart is not None:
                sources = ", ".join(dict.fromkeys(point.source for point in item.points))
                origin = page.origin(sources)
                parts.append(figure(chart, origin, _levels_table(item)))
        still = [item for item in items if not _has_chart(item)]
        if still:
            opener = element("summary", f"Figures of {job.name} without a chart")
            parts.append(element("details", opener, _still_table(job, still)))
    words = (
        "Each figure that changed, over all nights. A dashed line is a finding of that night; a "
        "change of level is marked where it began. Sources have lines of their own."
    )
    return section("trends", "Trends", paragraph(words), *parts) if parts else None


def _has_chart(item: Trend) -> bool:
    return item.varies and any(drawable(point.value) for point in item.points)


def trend_chart(found: HistoryFacts, item: Trend) -> Markup | None:
    """The chart of a figure; None for one that never changed or is no number."""
    if not _has_chart(item):
        return None
    places = {night.id: place for place, night in enumerate(found.nights)}
    drawn = []
    for source in dict.fromkeys(point.source for point in item.points):
        points = [p for p in item.points if p.source == source and drawable(p.value)]
        values = [(places[p.night], float(p.value)) for p in points if p.night in places]
        exact = all(point.kind is Kind.EXACT for point in points)
        if values:
            drawn.append(Line(source, values, steps=exact))
    marks = [
        Mark(
            places[change.since or change.night],
            _mark_words(change),
            f"{change.night}: {change.verdict} ({change.gate}): {change.text}",
            change.verdict is Verdict.REGRESSION,
        )
        for change in item.changes
        if (change.since or change.night) in places
    ]
    names = [night.begun[:10] for night in found.nights]
    return trend(drawn, marks, names, f"{item.job.name}: {item.metric}", item.points[-1].unit)


def _mark_words(change: Finding) -> str:
    size = "" if change.effect is None else f" {100 * change.effect:+.1f} %"
    return f"{change.verdict}{size}"


def _levels_table(item: Trend) -> Markup:
    """Exact metrics: every value and how long it held. Measured ones: every level."""
    columns = (
        Column("from"),
        Column("to"),
        Column("nights", number=True),
        Column("value, median", number=True),
        Column("smallest", number=True),
        Column("largest", number=True),
        Column("source"),
    )
    rows = [_level_row(item.metric, points) for points in _levels(item)]
    left_out = f"; the latest {_MOST_LEVELS} of {len(rows)}" if len(rows) > _MOST_LEVELS else ""
    return table(f"Levels of {item.metric}{left_out}", columns, rows[-_MOST_LEVELS:])


def _levels(item: Trend) -> list[list[Point]]:
    starts = {change.since for change in item.changes if change.since is not None}
    levels: list[list[Point]] = []
    for point in item.points:
        last = levels[-1][-1] if levels else None
        new = last is None or last.source != point.source or point.night in starts
        if new or (point.kind is Kind.EXACT and last is not None and last.value != point.value):
            levels.append([])
        levels[-1].append(point)
    return levels


def _level_row(metric: str, points: Sequence[Point]) -> tuple[object, ...]:
    unit = points[0].unit
    numbers = [float(point.value) for point in points if drawable(point.value)]
    if not numbers or points[0].kind is Kind.EXACT:
        figures = (shown(metric, points[0].value, unit), "", "")
    else:
        found = (median(numbers), min(numbers), max(numbers))
        figures = tuple(shown(metric, value, unit) for value in found)  # type: ignore[assignment]  # three
    return points[0].night, points[-1].night, len(points), *figures, points[0].source


def _still_table(job: Job, items: Sequence[Trend]) -> Markup:
    columns = (
        Column("metric"),
        Column("value", number=True),
        Column("source"),
        Column("since"),
        Column("values so far", number=True),
    )
    rows = []
    for item in items:
        last = _levels(item)[-1]
        value = shown(item.metric, last[-1].value, last[-1].unit)
        different = len({point.value for point in item.points})
        rows.append((item.metric, value, last[-1].source, last[0].night, different))
    return table(f"{job.name}: figures without a chart", columns, rows)


def latencies(page: HistoryPage) -> Section | None:
    """How the raw values of last night scatter; None without measurements."""
    found = page.facts
    figures = [
        _spread(page, job, metric, [item for item in samples if item.metric == metric])
        for job, samples in found.samples.items()
        for metric in dict.fromkeys(item.metric for item in samples if item.values)
    ]
    if not figures:
        return None
    words = (
        "Raw values of last night. 'baseline' is the image of an earlier night, measured in turn "
        "with tonight's; 'again' is the re-run that confirms a change before it is reported."
    )
    return section("latencies", "Measured last night", paragraph(words), *figures)


def _spread(page: HistoryPage, job: Job, metric: str, samples: Sequence[Samples]) -> Markup:
    sides: dict[str, list[float]] = {}
    rounds: Counter[str] = Counter()
    for item in samples:
        side = _side(item.run)
        rounds[side] += 1
        sides.setdefault(side, []).extend(v for v in item.values if drawable(v))
    groups = [Group(side, values) for side, values in sides.items() if values]
    columns = (
        Column("series"),
        *(Column(name, number=True) for name in ("rounds", "values")),
        *(Column(name, number=True) for name in ("smallest", "median", "90 %", "largest")),
    )
    rows = [
        (
            group.name,
            rounds[group.name],
            len(group.values),
            *(f"{quantile(sorted(group.values), share):,.7g}" for share in (0, 0.5, 0.9, 1)),
        )
        for group in groups
    ]
    unit = samples[0].unit
    title = f"{job.name}: {metric}"
    data = table(f"{title}, {unit}", columns, rows)
    origin = page.origin(page.facts.source(job, metric, page.facts.last.id) or "unknown")
    return figure(spread(groups, title, unit), origin, data)


def _side(run: str) -> str:
    """A series without the number of its round."""
    head, _, tail = run.rpartition("-")
    return head if head and tail.isdecimal() else run
