"""Charts: what is drawn, that it is well-formed, repeatable, and escaped."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from harness.charts.bars import Bar, horizontal_bars
from harness.charts.confusion import Confusion, confusion_matrix
from harness.charts.gallery import Tile, gallery
from harness.charts.histogram import difference_histogram, gathered
from harness.charts.lifetime import Span, buffer_lifetime
from harness.charts.png import data_uri, picture, png_bytes
from harness.charts.svg import round_steps, short, standalone
from harness.charts.terminal import bar_text, lifetime_lines, picture_lines, picture_text
from harness.markup import Markup, element, number, text

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<script>alert('x')</script>\x00\"&\u202e"

CHARTS: dict[str, Callable[[str], Markup]] = {
    "bars": lambda name: horizontal_bars([Bar(name, 3.0, name), Bar("b", 6.0, "6")], name),
    "histogram": lambda name: difference_histogram({-2: 1, 0: 90, 1: 9}, name),
    "confusion": lambda name: confusion_matrix(
        Confusion([[3, 1], [0, 4]], [name, "b"], rows=name, columns=name), name
    ),
    "lifetime": lambda name: buffer_lifetime([Span(name, 0, 64, -1, 2)], 3, 80, name),
    "gallery": lambda name: gallery([Tile(name, data_uri(pixels(2, 2)), (name,), True)], name),
}


def pixels(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return (np.arange(int(np.prod(shape))) % 251).astype(np.uint8).reshape(shape)


def parsed(drawn: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawn)  # noqa: S314  # our own text


def boxes(drawn: Markup, kind: str) -> list[ElementTree.Element]:
    found = parsed(drawn).iter(f"{SVG}rect")
    return [item for item in found if kind in (item.get("class") or "").split()]


@pytest.mark.parametrize("name", CHARTS)
def test_file_is_well_formed_repeatable_and_named(name: str) -> None:
    drawn = CHARTS[name]("A title")
    root = parsed(standalone(drawn))
    assert root.tag == f"{SVG}svg"
    assert root.get("aria-label") == "A title"
    assert root.find(f"{SVG}style") is not None
    assert drawn == CHARTS[name]("A title")


@pytest.mark.parametrize("name", CHARTS)
def test_names_are_text_and_never_markup(name: str) -> None:
    root = parsed(standalone(CHARTS[name](EVIL)))
    assert not list(root.iter(f"{SVG}script"))
    assert root.get("aria-label") == "<script>alert('x')</script>\ufffd\"&\ufffd"


def test_bars_share_one_scale() -> None:
    drawn = horizontal_bars([Bar("a", 3.0, "3"), Bar("b", 6.0, "6", kind=1)], "t")
    (short_bar,), (long_bar,) = boxes(drawn, "k0"), boxes(drawn, "k1")
    assert float(long_bar.get("width", 0)) == pytest.approx(2 * float(short_bar.get("width", 0)))


@pytest.mark.parametrize("bars", [[], [Bar("a", 0.0, "0")]])
def test_nothing_to_show_is_no_fault(bars: list[Bar]) -> None:
    parsed(horizontal_bars(bars, "t"))
    parsed(difference_histogram({}, "t"))
    parsed(buffer_lifetime([], 0, 0, "t"))
    parsed(gallery([], "t"))
    parsed(confusion_matrix(Confusion([], []), "t"))


def test_far_differences_are_gathered_and_none_is_lost() -> None:
    counts = {-200: 2, -21: 1, -3: 4, 0: 100, 20: 5, 21: 6}
    bins = gathered(counts)
    assert sum(count for _, count in bins) == sum(counts.values())
    assert bins[0] == ("< -20", 3)
    assert bins[-1] == ("> +20", 6)
    assert bins[-2] == ("+20", 5)


def test_histogram_is_logarithmic() -> None:
    drawn = difference_histogram({0: 9999, 1: 99, 2: 1}, "t")
    (equal,) = boxes(drawn, "k2")
    one, two = boxes(drawn, "k0")
    heights = [float(item.get("height", 0)) for item in (equal, one, two)]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.02)
    assert 0 < heights[2] < heights[1]


def test_confusion_cells_tell_their_counts() -> None:
    drawn = confusion_matrix(Confusion([[3, 1], [0, 4]], ["cat"]), "t")
    hints = [item.findtext(f"{SVG}title") for item in boxes(drawn, "edge")]
    assert hints == ["cat → cat: 3", "cat → 1: 1", "1 → cat: 0", "1 → 1: 4"]
    assert len(boxes(drawn, "kbad")) == 1


def test_lifetime_boxes_lie_where_the_tensors_lie() -> None:
    spans = [Span("in", 0, 100, -1, 0), Span("0 conv2d", 100, 50, 0, 1)]
    drawn = buffer_lifetime(spans, 2, 160, "t")
    low, high = boxes(drawn, "edge")
    assert float(low.get("width", 0)) == pytest.approx(float(high.get("width", 0)), abs=0.01)
    assert float(low.get("height", 0)) == pytest.approx(2 * float(high.get("height", 0)), abs=0.02)
    top = float(high.get("y", 0)) + float(high.get("height", 0))
    assert top == pytest.approx(float(low.get("y", 0)), abs=0.02)
    lines = list(parsed(drawn).iter(f"{SVG}line"))
    assert any(item.get("class") == "limit" for item in lines)
    assert "peak 150, limit 160" in drawn


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3), (1, 1)])
def test_png_holds_the_pixels(shape: tuple[int, ...]) -> None:
    wanted = pixels(*shape)
    stream = io.BytesIO(png_bytes(wanted))
    assert stream.read(8) == b"\x89PNG\r\n\x1a\n"
    chunks = {}
    while head := stream.read(8):
        size, kind = struct.unpack(">I4s", head)
        data = stream.read(size)
        assert struct.unpack(">I", stream.read(4))[0] == zlib.crc32(kind + data)
        chunks[kind] = data
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (height, width, depth, colour) == (*shape[:2], 8, 2 if len(shape) == 3 else 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    assert np.array_equal(rows[:, 1:].reshape(shape), wanted)


def test_png_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="expected"):
        png_bytes(pixels(2, 2, 4))


def test_pictures_of_all_kinds_of_samples() -> None:
    sample = np.array([-128, 0, 127], np.int8)
    assert picture(sample).tolist() == [[0, 128, 255]]
    assert picture(np.zeros((4, 5, 3), np.int8)).shape == (4, 5, 3)
    assert picture(np.zeros((4, 5, 1), np.int8)).shape == (4, 5)
    assert picture(np.zeros((4, 5, 7), np.int8)).shape == (4, 5)
    assert picture(np.zeros((1, 4, 5, 3), np.int8)).shape == (4, 5, 3)
    assert picture(np.zeros((600, 5), np.int8)).shape == (200, 5)
    assert base64.b64decode(data_uri(picture(sample)).split(",")[1]).startswith(b"\x89PNG")


def test_markup_escapes_by_construction() -> None:
    assert element("p", "<b>", class_="a&b") == '<p class="a&amp;b">&lt;b&gt;</p>'
    assert element("p", Markup("<b></b>"), hidden=True, id=None) == '<p hidden="hidden"><b></b></p>'
    assert element("rect", x=1.0, aria_label="'") == '<rect x="1" aria-label="&#x27;"/>'
    assert text("\ud800") == "\ufffd"
    assert text(7) == "7"


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "1"), (0.125, "0.12"), (-0.001, "0"), (100.0, "100"), (-1.5, "-1.5")]
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(("most", "steps"), [(10, 5), (1, 5), (125_000, 3), (0, 1), (3.3, 4)])
def test_axis_steps_are_round_and_reach_the_top(most: float, steps: int) -> None:
    found = round_steps(most)
    assert found[0] == 0
    assert found[-1] >= most
    assert len(found) == steps + 1


def test_long_names_are_cut() -> None:
    assert short("abcdef", 4) == "abc…"
    assert short("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    ("value", "most", "bar"),
    [
        (0, 8, ""),
        (8, 8, "████"),
        (4, 8, "██"),
        (1, 8, "▌"),
        (1e-9, 8, "▏"),
        (3, 0, ""),
        (9, 8, "████"),
    ],
)
def test_bars_of_text(value: float, most: float, bar: str) -> None:
    assert bar_text(value, most, 4) == bar


def test_pictures_as_text() -> None:
    ramp = np.array([[0, 64, 128, 255], [0, 64, 128, 255]], np.uint8)
    assert picture_lines(ramp) == [" ░▒█"]
    assert picture_lines(ramp[:1]) == [" ░▒█"]
    assert len(picture_lines(np.zeros((64, 64, 3), np.uint8), 16)[0]) == 16
    drawn = picture_text(np.array([[[255, 0, 0]], [[0, 0, 255]], [[1, 2, 3]]], np.uint8))
    assert drawn.plain == "▀\n▀\n"
    (first, second) = (span.style for span in drawn.spans)
    assert str(first) == "#ff0000 on #0000ff"
    assert str(second) == "#010203 on #010203"


def test_buffer_as_text() -> None:
    spans = [Span("input", 0, 100, -1, 0), Span("0 conv2d", 100, 50, 0, 1)]
    assert lifetime_lines(spans, 2, rows=3) == [
        "      100 ·BB",
        "       50 AA·",
        "        0 AA·",
        "A  input: 100 bytes at 0, layers input to 0",
        "B  0 conv2d: 50 bytes at 100, layers 0 to 1",
    ]
    assert lifetime_lines([], 3) == []
