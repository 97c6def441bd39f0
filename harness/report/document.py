"""The frame of every page: one file with its own style and policy, no script, nothing remote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Final

from harness.charts import svg
from harness.markup import Markup, element, join, text
from harness.report.parts import Section, paragraph

_ROOM: Final = Path(__file__).parent
_SOURCES: Final[Mapping[str, str]] = {
    "board": "board (measured)",
    "emulated": "emulated (the real firmware on an emulated CPU)",
    "sim": "sim (bit-exact simulator, any time is an estimate)",
    "vendor-sim": "vendor-sim (Nordic's simulator)",
    "replay": "replay (a recorded session)",
    "host": "host (this machine; it says nothing of a board)",
}


def document(title: str, told: str, sections: Sequence[Section], version: str) -> str:
    """A page as HTML text. told: the line below the title. version: of axonrig."""
    template = Template((_ROOM / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=text(f"{title} - axonrig"),
        style=(_ROOM / "page.css").read_text(encoding="utf-8") + svg.STYLE,
        header=_header(title, told, sections),
        main=join((part.markup for part in sections), "\n"),
        footer=_footer(version),
    )


def source_words(source: str) -> str:
    """A source label with its meaning."""
    return _SOURCES.get(source, source)


def _header(title: str, told: str, sections: Sequence[Section]) -> Markup:
    links = [element("li", element("a", part.title, href=f"#{part.key}")) for part in sections]
    return element(
        "header",
        element("h1", title),
        paragraph(told, class_="source"),
        element("nav", element("ul", *links), aria_label="Sections"),
    )


def _footer(version: str) -> Markup:
    words = f"Written by axonrig {version}. "
    words += (
        "Estimated figures are labelled as such; nothing on this page was loaded from a network."
    )
    return element("footer", paragraph(words))
