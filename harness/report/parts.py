"""Parts of an HTML page: headed sections, cards, captioned tables, figures with their source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from harness.markup import Markup, element, join

NUMBER: Final = "number"
"""Class of a column of numbers."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. number: set to the right, with figures of one width."""

    title: str
    number: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a figure comes from: its label, and the address of the file that holds it."""

    label: str
    file: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under its own heading; `key` is its address in the page."""

    key: str
    title: str
    content: Markup

    @property
    def markup(self) -> Markup:
        """The section with its heading."""
        heading = element("h2", self.title, id=f"{self.key}-title")
        named = f"{self.key}-title"
        return element("section", heading, self.content, id=self.key, aria_labelledby=named)


def section(key: str, title: str, *content: object) -> Section:
    """A section with this content."""
    return Section(key, title, join(content, "\n"))


def origin_line(origin: Origin) -> Markup:
    """The source label and, where there is one, a link to the artefact."""
    parts: list[object] = [f"source: {origin.label}"]
    if origin.file:
        parts += ["; ", element("a", origin.file, href=origin.address)]
    return element("span", *parts, class_="source")


def card(name: str, value: str, origin: Origin, remark: str = "") -> Markup:
    """One figure of the summary."""
    extra = [element("span", remark, class_="source")] if remark else []
    return element(
        "li",
        element("span", name, class_="name"),
        element("span", value, class_="value"),
        *extra,
        origin_line(origin),
    )


def cards(items: Iterable[Markup]) -> Markup:
    """Cards beside each other."""
    return element("ul", *items, class_="cards")


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Markup:
    """A table with a caption and column headers; it scrolls sideways where it is too wide."""
    head = element(
        "tr",
        *(
            element("th", item.title, scope="col", class_=NUMBER if item.number else None)
            for item in columns
        ),
    )
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=NUMBER if item.number else None)
                for item, cell in zip(columns, row, strict=True)
            ),
        )
        for row in rows
    ]
    drawn = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *body),
    )
    return _scroll(drawn, caption)


def facts(caption: str, rows: Mapping[str, object]) -> Markup:
    """A table of names and values."""
    body = [
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in rows.items()
    ]
    drawn = element("table", element("caption", caption), element("tbody", *body))
    return _scroll(drawn, caption)


def file_table(caption: str, files: Mapping[str, Mapping[str, object]], prefix: str) -> Markup:
    """Files with size, sha256 and a link. files: as in a manifest. prefix: see `address`."""
    columns = (Column("file"), Column("bytes", number=True), Column("sha256"))
    rows = [
        (
            element("a", name, href=address(prefix, name)),
            entry["bytes"],
            code(entry["sha256"]),
        )
        for name, entry in sorted(files.items())
    ]
    return table(caption, columns, rows)


def figure(drawn: Markup, origin: Origin, data: Markup | None = None) -> Markup:
    """A chart with its source, and its figures as a table to open."""
    parts: list[Markup] = [
        element("div", drawn, class_="scroll", role="group", aria_label="Chart", tabindex=0),
        element("figcaption", origin_line(origin)),
    ]
    if data is not None:
        parts.append(element("details", element("summary", "These figures as a table"), data))
    return element("figure", *parts)


def address(prefix: str, name: str) -> str:
    """A relative address of a file: `prefix` is the folder as seen from the page."""
    path = f"{prefix}/{name}" if prefix else name
    # A first part with a colon would read as a scheme.
    return "./" + quote(path, safe="/.~-_")


def paragraph(*content: object, class_: str | None = None) -> Markup:
    """A paragraph."""
    return element("p", *content, class_=class_)


def code(content: object) -> Markup:
    """A hash or a name in fixed width."""
    return element("code", content)


def lines(parts: Iterable[object]) -> Markup:
    """Parts under each other."""
    return join(parts, "<br/>")


def _scroll(drawn: Markup, name: str) -> Markup:
    """Reachable by keyboard, because what scrolls must be."""
    return element("div", drawn, class_="scroll", role="region", aria_label=name, tabindex=0)
