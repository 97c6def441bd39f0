"""Markup that is escaped by construction: plain strings are text, only `Markup` is markup.

One function serves HTML and SVG; what it gives is well-formed XML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final

_VOID: Final = frozenset(
    {"meta", "img", "br", "hr", "link", "rect", "line", "image", "path", "col"}
)
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Not allowed in XML, or able to reorder the text around them."""

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Any value as text of a document. Characters that XML forbids become U+FFFD."""
    if isinstance(value, Markup):
        return value
    return Markup(escape(_UNPRINTABLE.sub("\ufffd", str(value)), quote=True))


def element(name: str, *children: object, **attributes: Attribute) -> Markup:
    """One element. `class_="x"` gives class, `aria_label="x"` gives aria-label.

    Children and attribute values are escaped unless they are `Markup`; attributes that are None or
    False are left out, True gives the name as value.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        content = shown if value is True else _shown(value)
        words.append(f'{shown}="{text(content)}"')
    opening = " ".join(words)
    if name in _VOID and not children:
        return Markup(f"<{opening}/>")
    return Markup(f"<{opening}>{join(children)}</{name}>")


def join(parts: Iterable[object], separator: str = "") -> Markup:
    """Parts one after the other, each escaped unless it is `Markup`."""
    return Markup(separator.join(text(part) for part in parts))


def number(value: float, digits: int = 2) -> str:
    """A coordinate without trailing zeros; the same everywhere."""
    shown = f"{value:.{digits}f}"
    if "." in shown:
        shown = shown.rstrip("0").rstrip(".")
    return "0" if shown == "-0" else shown


def _shown(value: str | float) -> str:
    return number(value) if isinstance(value, float) else str(value)
