"""What all charts share: the frame, the style, and text that fits its place."""

from __future__ import annotations

from typing import Final

from harness.markup import Attribute, Markup, element

WIDTH: Final = 720
"""Width of a chart in its own units; it scales with the page."""

STYLE: Final = """
.chart{--ink:#1b1f24;--soft:#57606a;--grid:#d0d7de;--paper:#ffffff;--c0:#0b6bcb;--c1:#b35900;
--c2:#1a7f37;--c3:#8250df;--c4:#bf3989;--c5:#6e7781;--bad:#cf222e}
@media (prefers-color-scheme:dark){.chart{--ink:#e6edf3;--soft:#9da7b1;--grid:#3d444d;
--paper:#151b23;--c0:#58a6ff;--c1:#f0a050;--c2:#56d364;--c3:#bc8cff;--c4:#ff7eb6;--c5:#9198a1;
--bad:#ff7b72}}
@media print{.chart{--ink:#000;--soft:#333;--grid:#999;--paper:#fff;--c0:#0b6bcb;--c1:#b35900;
--c2:#1a7f37;--c3:#8250df;--c4:#bf3989;--c5:#6e7781;--bad:#cf222e;
print-color-adjust:exact;-webkit-print-color-adjust:exact}}
.chart text{font:12px system-ui,sans-serif;fill:var(--ink)}
.chart .soft{fill:var(--soft)}.chart .small{font-size:10px}.chart .on{fill:var(--paper)}
.chart .head{font-weight:600;font-size:14px}
.chart .grid{stroke:var(--grid);stroke-width:1}.chart .limit{stroke:var(--bad);stroke-dasharray:4 3}
.chart .paper{fill:var(--paper)}.chart .edge{stroke:var(--paper);stroke-width:1}
.chart .k0{fill:var(--c0)}.chart .k1{fill:var(--c1)}.chart .k2{fill:var(--c2)}
.chart .k3{fill:var(--c3)}.chart .k4{fill:var(--c4)}.chart .k5{fill:var(--c5)}
.chart .line{fill:none;stroke-width:1.5;stroke-linejoin:round;stroke-linecap:round}
.chart .dots{stroke-width:4}.chart .median{stroke-width:3}.chart .pale{fill-opacity:0.25}
.chart .s0{stroke:var(--c0)}.chart .s1{stroke:var(--c1)}
.chart .s2{stroke:var(--c2)}.chart .s3{stroke:var(--c3)}.chart .s4{stroke:var(--c4)}
.chart .s5{stroke:var(--c5)}.chart .sbad{stroke:var(--bad)}.chart .mark{stroke-dasharray:4 3}
.chart .kbad{fill:var(--bad)}.chart image{image-rendering:pixelated}
"""
KINDS: Final = 6
"""Colours k0 to k5."""


def chart(width: float, height: float, title: str, body: list[Markup]) -> Markup:
    """The svg element; `title` is its name for screen readers."""
    return element(
        "svg",
        element("title", title),
        *body,
        class_="chart",
        role="img",
        aria_label=title,
        viewBox=f"0 0 {round(width)} {round(height)}",
        width=round(width),
        height=round(height),
        xmlns="http://www.w3.org/2000/svg",
    )


def standalone(drawn: Markup) -> str:
    """A chart as the content of a file of its own, with its style and a background."""
    opening, rest = drawn.split(">", 1)
    paper = element("rect", class_="paper", width="100%", height="100%")
    return f"{opening}><style>{STYLE}</style>{paper}{rest}\n"


def label(x: float, y: float, content: str, **attributes: Attribute) -> Markup:
    """A text element."""
    return element("text", content, x=float(x), y=float(y), **attributes)


def box(x: float, y: float, width: float, height: float, kind: str, hint: str = "") -> Markup:
    """A filled rectangle; `hint` is shown when pointed at."""
    place = {"x": float(x), "y": float(y), "width": float(width), "height": float(height)}
    if not hint:
        return element("rect", class_=kind, **place)
    return element("rect", element("title", hint), class_=kind, **place)


def rule(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> Markup:
    """A straight line."""
    return element("line", class_=kind, x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2))


def short(content: str, characters: int) -> str:
    """`content`, cut with an ellipsis when it is longer than `characters`."""
    return content if len(content) <= characters else content[: max(1, characters - 1)] + "…"


def path(d: str, kind: str) -> Markup:
    """A line along `d`, in the notation of SVG."""
    return element("path", class_=kind, d=d)


def round_steps(most: float, wanted: int = 5) -> list[float]:
    """Round axis values from 0 to at least `most`, about `wanted` of them."""
    if most <= 0:
        return [0.0, 1.0]
    raw = most / wanted
    power = 1.0
    while power * 10 <= raw:
        power *= 10
    while power > raw:
        power /= 10
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    count = int(-(-most // step))
    return [step * i for i in range(count + 1)]
