"""How many NPU cycles a layer takes: one formula per family of operators, in numbers only.

The vendor's simulator is deterministic, and its estimate follows from a few mechanisms that
one-parameter sweeps of single layers show (docs/cycle-model.md has the sweeps):

row       A plane is computed row by row: `tiles * out_width + 2` cycles per row, where the kernel
          is cut into tiles of 3 x 3 weights.
crossing  With more than one tile in height, an output whose window starts in the last two columns
          of a 64-bit word of input waits one cycle per tile row.
fetch     A row of w 32-bit words takes max(w, min(w + 2, 4)) cycles on the bus, which reads and
          writes share; a streaming operator pays `stride_h * fetch + written words + 2` per row.
burst     Rows of 64 bytes and more are cut into bursts and pay for each cut.
overlap   Computing and fetching overlap, so a plane takes the longer of the two, plus a start-up
          cost: fetching the first kernel rows, loading the weights, draining the last row.

The integers of these mechanisms stand here, the costs of starting a layer, a channel and a plane
in `compiler.arch`. Cycles do not depend on data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Final

from compiler.arch import Arch, CopyCosts, FullyConnectedCosts, Geometry, StreamCosts
from compiler.ir import Activation, Axis, Op

TILE: Final = 3
"""Height and width of the kernel tile that the multiplier array holds."""
WORD: Final = 4
"""Bytes of a bus word; rows of the interlayer buffer are padded to it."""
GROUP: Final = 6
"""Input channels that a pointwise convolution takes in one pass."""
ROW_START: Final = 2
"""Cycles between two rows of a plane."""
BURST_CUT: Final = 6.0
"""Cycles for each cut of a written row into bursts."""
READ_CUT: Final = 2.5
"""Cycles for each cut of a row that a streaming operator reads."""
CHANNEL_COMMAND: Final = 2.7
"""Cycles per output channel to load a shift, or a negative slope, of the channel's own."""
OUTPUT_COMMAND: Final = 116.0
"""Cycles to start another command for the outputs of a fully connected layer."""
PIXEL_VALUE: Final = 0.625
"""Cycles per weight of a pointwise convolution of one pixel: 2.5 per word."""


class Broadcast(Enum):
    """How the second operand of an addition or multiplication spreads over the first."""

    NONE = "none"
    FULL = "full"
    SCALAR = "scalar"
    CHANNEL = "channel"
    ROW = "row"
    COLUMN = "column"


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What the cost of a layer depends on. Extents in elements; `stride_w`, `pad_left` and the
    like are along the width, the direction of a row in memory.

    parts: the operands of a concatenation as (channels, height, width).
    per_channel: one requantization shift per output channel instead of a common one;
    mixed_shifts: and they differ.
    centred: whether the whole and the second operand of a multiplication have zero point 0.
    fill: channels that a channel padding adds.
    converted: the input of a sigmoid or tanh is not q3.12, and the NPU converts it first.
    """

    op: Op
    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    out_bytes: int = 1
    kernel_h: int = 1
    kernel_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pads_any: bool = False
    dilation_h: int = 1
    dilation_w: int = 1
    activation: int = 0
    per_channel: bool = False
    mixed_shifts: bool = False
    broadcast: Broadcast = Broadcast.NONE
    constant: bool = False
    centred: tuple[bool, bool] = (False, False)
    parts: tuple[tuple[int, int, int], ...] = ()
    axis: int = 0
    fill: int = 0
    converted: bool = False
    batch: int = 1

    @property
    def dilated(self) -> bool:
        """Whether the kernel is spread out."""
        return self.dilation_h > 1 or self.dilation_w > 1

    @property
    def single_plane(self) -> bool:
        """Whether the convolution works on one plane: one input channel, or one unpadded row
        whose up to 16 channels stand in for kernel rows."""
        if self.dilated:
            return False
        row = self.in_h == 1 and self.kernel_h == 1 and not self.pads_any
        return self.in_c == 1 or (row and self.in_c <= 16 and self.kernel_w <= 16)


@dataclass(frozen=True, slots=True)
class Parts:
    """NPU cycles of a layer, and how long the array and the bus are busy within them."""

    cycles: float
    compute: float = 0.0
    fetch: float = 0.0

    def __add__(self, other: Parts) -> Parts:
        return Parts(
            self.cycles + other.cycles, self.compute + other.compute, self.fetch + other.fetch
        )

    def times(self, count: float) -> Parts:
        """The same work `count` times."""
        return Parts(self.cycles * count, self.compute * count, self.fetch * count)


def broadcast_of(s: LayerShape, extent: tuple[int, int, int]) -> Broadcast:
    """How an operand of extent (height, width, channels) spreads over the output of `s`."""
    h, w, c = extent
    if (h, w) == (s.out_h, s.out_w):
        return Broadcast.FULL
    if (h, w) == (1, 1):
        return Broadcast.SCALAR if c == 1 and s.out_c > 1 else Broadcast.CHANNEL
    return Broadcast.ROW if h == 1 else Broadcast.COLUMN


def ceil_div(value: int, unit: int) -> int:
    """value / unit, rounded up."""
    return -(-value // unit)


def words(size: int) -> int:
    """Bus words of `size` bytes."""
    return ceil_div(size, WORD)


def fetch_cycles(count: int) -> int:
    """Bus cycles of a row of `count` words: short rows cost as a burst of up to four."""
    return max(count, min(count + 2, 4))


@lru_cache(maxsize=65536)
def crossings(out_w: int, stride_w: int, pad_left: int) -> int:
    """Outputs of a row whose window starts in the last two columns of a 64-bit word of input."""
    starts = range(-pad_left, out_w * stride_w - pad_left, stride_w)
    return sum(start >= 0 and start % 8 >= 6 for start in starts)


def row_cycles(s: LayerShape) -> float:
    """Array cycles of one output row of one plane (mechanisms row and crossing).

    A dilated kernel is not cut into tiles: its columns are taken one by one, its rows at 0.7 of a
    column's cost, with a tenth of a cycle per word that the kernel spans.
    """
    if s.dilation_w > 1:
        return max(4.0, s.kernel_w + 0.6) + 0.1 * words(s.in_w)
    if s.dilation_h > 1:
        return max(2.0, 0.7 * s.kernel_h) * s.out_w + ROW_START
    high, wide = ceil_div(s.kernel_h, TILE), ceil_div(s.kernel_w, TILE)
    waits = 0
    if high > 1:
        per_output = 1 if (high, wide) == (2, 1) else high
        waits = per_output * crossings(s.out_w, s.stride_w, s.pad_left)
    return high * wide * s.out_w + ROW_START + waits + max(0, s.stride_h - 2)


def write_stall(out_w: int, out_bytes: int) -> float:
    """Cycles per row that writing whole words of bytes costs an otherwise computing row."""
    if out_bytes != 1 or out_w % WORD or out_w <= WORD:
        return 0.0
    return 0.5 if out_w == 3 * WORD else WORD / out_w


def cuts(size: int, geometry: Geometry) -> int:
    """Cuts of a row of `size` bytes, padded to words, into bursts."""
    return words(size) * WORD // geometry.burst_bytes


def written_cuts(width: int, out_bytes: int, geometry: Geometry) -> int:
    """Cuts of a row of outputs. Wider outputs follow each other slowly enough to hide the last."""
    found = cuts(width * out_bytes, geometry)
    if out_bytes == 1:
        return found
    return max(min(1, found), ceil_div(width * out_bytes, geometry.burst_bytes) - 1)


def row_bursts(s: LayerShape, geometry: Geometry) -> float:
    """Cycles per row for the cuts of a written row. One tile per row hides all but whole rows."""
    size = s.out_w * s.out_bytes
    once = min(1, cuts(size, geometry))
    if s.kernel_h <= TILE and s.kernel_w <= TILE:
        return BURST_CUT * max(cuts(s.out_w, geometry), once)
    return BURST_CUT * max(once, ceil_div(size, geometry.burst_bytes) - 1)


def used_columns(s: LayerShape) -> int:
    """Input columns that the last output of a row still needs."""
    last = (s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1 - s.pad_left
    return max(1, min(s.in_w, last))


def return_cycles(read: int, written: int) -> int:
    """Bus cycles of writing a row of `written` words between reading rows of `read` words. A read
    that waits for a burst of four leaves room for one of them."""
    return written + 2 + (written < 3 and read >= WORD)


def rows_fetched(s: LayerShape, first: int, count: int) -> int:
    """Input rows that `count` output rows from `first` on need beyond those of their first one;
    rows of the bottom padding are not fetched."""
    top = max(0, first * s.stride_h - s.pad_top)
    start = first * s.stride_h - s.pad_top + s.kernel_h
    end = (first + count - 1) * s.stride_h - s.pad_top + s.kernel_h
    return max(0, min(end, s.in_h) - max(min(start, s.in_h), top))


def strips(out_h: int, out_w: int, geometry: Geometry) -> list[int]:
    """Output rows per strip: as many as the partial sums hold, with rows of even length."""
    height = max(1, geometry.partial_sums // (out_w + out_w % 2))
    return [min(height, out_h - start) for start in range(0, out_h, height)]


def convolution(s: LayerShape, arch: Arch) -> Parts:
    """Convolution over several input planes.

    The first rows are those of the kernel, less one in the top padding; up to three are fetched in
    full before the last word of them, the others while the first tile is computed (row_fetch).

    layer + out_c * sum over strips of (
        in_c * (plane + kernel_row * (kernel_h - 1) + weight * kernel_h * kernel_w
                + fetch of the first rows + words of a row)
        + (in_c - 1) * body + last)
    body = max(n * row, follow + row) for the n rows of the strip, follow being the fetch of the
    input rows after its first window;
    last adds the output: output_channel, drain_word per written word, write stalls, bursts, and
    takes at least narrow_strip + n * max(narrow_row, written words + 4).
    """
    if s.single_plane:
        return resident_convolution(s, arch)
    c = arch.cycles.convolution
    total = Parts(c.layer)
    in_words = 3 if s.dilation_w > 1 else words(used_columns(s))
    fetch = fetch_cycles(in_words)
    row = row_cycles(s)
    done = 0
    for rows in strips(s.out_h, s.out_w, arch.geometry):
        first = s.kernel_h - (min(s.pad_top, 1) if done == 0 else 0)
        follow = rows_fetched(s, done, rows) * fetch
        start = (
            c.plane
            + c.kernel_row * (s.kernel_h - 1)
            + c.weight * s.kernel_h * s.kernel_w
            + fetch * (min(first, TILE) - 1 + c.row_fetch * max(0, first - TILE))
            + in_words
            + c.dilated_plane * s.dilated
        )
        body = max(rows * row, follow + row)
        last = _last_plane(s, arch, rows, row, follow)
        cycles = s.in_c * start + (s.in_c - 1) * body + last
        cycles -= c.two_plane_saving * (s.in_c == 2)
        moved = s.in_c * ((first - 1) * fetch + follow)
        total += Parts(cycles, s.in_c * rows * row, moved).times(s.out_c)
        done += rows
    return total


def _last_plane(s: LayerShape, arch: Arch, rows: int, row: float, follow: int) -> float:
    """Cycles of the plane that completes a strip and writes it, without its start."""
    c = arch.cycles.convolution
    read, written = words(used_columns(s)), words(s.out_w * s.out_bytes)
    cut = BURST_CUT * written_cuts(s.out_w, s.out_bytes, arch.geometry)
    drain = c.output_channel + c.drain_word * written
    computing = rows * (row + write_stall(s.out_w, s.out_bytes) + cut) + drain
    moving = follow + (rows - 1) * (return_cycles(read, written) + cut) + row + drain
    write_row = written + 4 + cut if s.out_bytes > 1 or s.out_w < WORD else 0.0
    writing = rows * max(write_row, c.narrow_row) + c.narrow_strip
    return max(computing, moving, writing)


def resident_convolution(s: LayerShape, arch: Arch) -> Parts:
    """Convolution over one plane, which is fetched once and stays for all output channels.

    layer + input_fetch * rows * fetch + out_c * (plane + kernel_row * (kernel_h - 1)
        + weight * kernel_h * kernel_w
        + max(n * (row + write stall + bursts) + drain_word * written words,
              n * max(4, written words + narrow_word) - narrow_start))
    A one-row input of up to 16 channels is one plane whose rows are the channels.
    """
    c = arch.cycles.resident
    in_rows = s.in_h
    if s.in_c > 1:
        in_rows = s.in_c
        s = replace(s, kernel_h=s.in_c, stride_h=1, out_h=1, pad_top=0, in_c=1)
    written = words(s.out_w * s.out_bytes)
    row = row_cycles(s)
    stall = write_stall(s.out_w, s.out_bytes) + row_bursts(s, arch.geometry)
    computing = s.out_h * (row + stall) + c.drain_word * written
    writing = s.out_h * max(4.0, written + c.narrow_word) - c.narrow_start
    start = c.plane + c.kernel_row * (s.kernel_h - 1) + c.weight * s.kernel_h * s.kernel_w
    load = in_rows * fetch_cycles(words(s.in_w))
    planes = Parts(start + max(computing, writing), s.out_h * row).times(s.out_c)
    return Parts(c.layer + c.input_fetch * load, 0.0, load) + planes


def stream_channel(s: LayerShape, c: StreamCosts, geometry: Geometry) -> Parts:
    """One channel of an operator that reads and writes each channel once; first rows as in
    `convolution`.

    plane + kernel_row * (kernel_h - 1) + weight * kernel_h * kernel_w
        + fetch of the first rows + words of a row
        + drain_word * written words
        + max(n * (row + write stall + bursts),
              follow + (n - 1) * (written words + 2, or 3) + row - overlap)
    follow is the fetch of the input rows after the first window.
    The overlap is larger where rows and columns follow each other without gaps, and with wide
    outputs, whose writing starts early.
    """
    read = words(s.in_w)
    fetch = fetch_cycles(read)
    written = words(s.out_w * s.out_bytes)
    row = row_cycles(s)
    cut_in = READ_CUT * cuts(s.in_w, geometry)
    cut_out = 1.5 * min(1, cuts(s.out_w * s.out_bytes, geometry))
    stall = write_stall(s.out_w, s.out_bytes) + row_bursts(s, geometry) + cut_in
    first = s.kernel_h - min(s.pad_top, 1)
    start = (
        c.plane
        + c.kernel_row * (s.kernel_h - 1)
        + c.weight * s.kernel_h * s.kernel_w
        + fetch * (min(first, TILE) - 1 + c.row_fetch * max(0, first - TILE))
        + read
        + c.drain_word * written
    )
    overlap = c.overlap + c.overlap_unstrided * (s.stride_h == 1 and s.stride_w <= s.kernel_w)
    overlap += min(13, 2 * (written - words(s.out_w)))
    follow = rows_fetched(s, 0, s.out_h) * fetch
    moving = (s.out_h - 1) * (return_cycles(read, written) + cut_in + cut_out) + row - overlap
    moving += follow
    cycles = start + max(s.out_h * (row + stall), moving)
    busy = (first * fetch) + follow + s.out_h * written
    return Parts(cycles, s.out_h * row, busy)


def _streaming(costs: Callable[[Arch], StreamCosts]) -> Callable[[LayerShape, Arch], Parts]:
    """The formula of a streaming operator: layer + channels * `stream_channel`."""

    def formula(s: LayerShape, arch: Arch) -> Parts:
        c = costs(arch)
        return Parts(c.layer) + stream_channel(s, c, arch.geometry).times(s.out_c)

    formula.__doc__ = _streaming.__doc__
    return formula


def mean(s: LayerShape, arch: Arch) -> Parts:
    """Mean over height, width or both: a pool whose window and stride are the reduced extent.

    An extent above the window limit is cut: layer + part * (parts - 1), each part streams, and
    each after the first adds its sums, out_h * (3 + words of an output row) per channel.
    """
    c, limit = arch.cycles.mean, arch.geometry.pool_window
    cuts = [
        (min(limit, s.kernel_h - top), min(limit, s.kernel_w - left))
        for top in range(0, s.kernel_h, limit)
        for left in range(0, s.kernel_w, limit)
    ]
    sums = s.out_c * s.out_h * (3 + words(s.out_w))
    total = Parts(c.layer + (c.part + sums) * (len(cuts) - 1))
    for high, wide in cuts:
        piece = replace(
            s, kernel_h=high, kernel_w=wide, stride_h=high, stride_w=wide, in_w=wide * s.out_w
        )
        total += stream_channel(piece, c, arch.geometry).times(s.out_c)
    return total


def pointwise_tiles(s: LayerShape, geometry: Geometry) -> list[tuple[int, int]]:
    """(rows, output columns) of the tiles whose input a pointwise convolution keeps inside.

    A tile holds rows * max(words of a row, 1.5) * groups of six channels. A map that is too large
    is cut into the fewest tiles, the widest ones among equals; the vendor's own choice among equals
    is not known, which matters only while the input is loaded.
    """
    width = words((s.out_w - 1) * s.stride_w + 1)
    capacity = geometry.resident_words / ceil_div(s.in_c, GROUP)
    if max(width, 1.5) * s.out_h <= capacity + 1e-9:
        return [(s.out_h, s.out_w)]
    best: tuple[int, int] | None = None
    for across in range(1, width + 1):
        count = _tile_count(width, across, s.out_h, capacity)
        if count and (best is None or (count, -across) < best):
            best = (count, -across)
    if best is None:
        return [(1, s.out_w)] * s.out_h
    columns = max(1, WORD * -best[1] // s.stride_w)
    tiles: list[tuple[int, int]] = []
    for left in range(0, s.out_w, columns):
        span = min(columns, s.out_w - left)
        across = words((span - 1) * s.stride_w + 1)
        height = max(1, _tile_rows(across, s.out_h, capacity))
        tiles += [(min(height, s.out_h - top), span) for top in range(0, s.out_h, height)]
    return tiles


def _tile_rows(across: int, out_h: int, capacity: float) -> int:
    return min(out_h, int(capacity / max(across, 1.5) + 1e-9))


def _tile_count(width: int, across: int, out_h: int, capacity: float) -> int:
    """Tiles when cut into columns of `across` words; 0 when not even one row fits."""
    count = 0
    for span in [across] * (width // across) + [width % across] * (width % across > 0):
        rows = _tile_rows(span, out_h, capacity)
        if rows == 0:
            return 0
        count += ceil_div(out_h, rows)
    return count


def pointwise(s: LayerShape, arch: Arch) -> Parts:
    """Pointwise convolution: six input channels per pass over a tile that stays inside.

    layer + sum over tiles of ((out_c - 1) * output + max(first_output + output, load))
    output = output_channel + group * groups + drain_word * written words
             + n * max(groups * max(out_w, 4) + 2 + write stall + bursts,
                       written words + 3 for outputs of several bytes)
    load   = load + n * (in_c * fetch + written words)
    Rows shorter than a word are computed as four outputs, except with a stride. A map of one pixel
    is packed first and costs as a per-channel fully connected layer.
    """
    if s.in_h == 1 and s.in_w == 1:
        return _pixel(s, arch.cycles.fully_connected, arch.cycles.pointwise.output_channel)
    c, groups = arch.cycles.pointwise, ceil_div(s.in_c, GROUP)
    narrow = s.in_w < WORD and s.stride_w == 1
    total = Parts(c.layer + c.narrow_layer * narrow)
    for rows, columns in pointwise_tiles(s, arch.geometry):
        written = words(columns * s.out_bytes)
        fetch = fetch_cycles(words((columns - 1) * s.stride_w + 1))
        across = max(columns, WORD) if s.stride_w == 1 else columns
        stall = write_stall(columns, s.out_bytes) * (2 if groups > 1 and columns == 8 else 1)
        stall += BURST_CUT * written_cuts(columns, s.out_bytes, arch.geometry)
        row = max(groups * across + ROW_START + stall, written + 3 if s.out_bytes > 1 else 0)
        output = c.output_channel + c.group * groups + c.drain_word * written + rows * row
        moved = rows * (s.in_c * fetch + written)
        cycles = (s.out_c - 1) * output + max(c.first_output + output, c.load + moved)
        total += Parts(cycles, s.out_c * rows * (groups * across + ROW_START), moved)
    return total


def _pixel(s: LayerShape, c: FullyConnectedCosts, output_channel: float) -> Parts:
    """A pointwise convolution of one pixel: repack, then 2.5 cycles per word and output."""
    work = s.out_c * PIXEL_VALUE * s.in_c
    start = c.repack + c.repack_value * s.in_c
    return Parts(start + s.out_c * output_channel + work, work, float(s.in_c * s.out_c / WORD))


def fc_words(s: LayerShape) -> tuple[int, int]:
    """(weight words per output, values that are packed first) of a fully connected layer.

    Rows of a map are padded to words, and so are its weights; a map of width 1 is packed instead.
    """
    if s.in_h == 1 and s.in_c == 1:
        return words(s.in_w), 0
    if s.in_w == 1:
        return words(s.in_h * s.in_c), s.in_h * s.in_c
    return s.in_c * s.in_h * words(s.in_w), 0


def fully_connected(s: LayerShape, arch: Arch) -> Parts:
    """Fully connected, n outputs of w weight words each.

    Common shift:      layer + input_word * w + chunk * (input chunks - 1)
                       + 116 * (output chunks - 1) + output_burst * (bursts of bias - 1)
                       + n * (max(bursts(w) + output, short_output + short_word * w)
                              + chunk_output * (input chunks - 1) + wide_output per extra byte
                              + ragged_output when the inputs are 3 above a multiple of 4)
    Shift per channel: channel_layer + n * (channel_output + max(2.5 * w, 3 + 1.8 * w)
                       + bursts(w) - w above one burst)
                       + channel_pack + n for outputs of one or two bytes
    Both: activation for a fused activation; repack + repack_value per value packed first.
    bursts(w) counts whole bursts of 16 words, and the rest as a fetch.
    """
    c, geometry = arch.cycles.fully_connected, arch.geometry
    weight_words, packed = fc_words(s)
    outputs = s.out_w * s.out_c
    whole, rest = divmod(weight_words * WORD, geometry.burst_bytes)
    fetch = whole * geometry.burst_bytes // WORD + (fetch_cycles(rest // WORD) if rest else 0)
    total = c.activation * (s.activation > 0)
    total += c.repack + c.repack_value * packed if packed else 0.0
    if s.per_channel and outputs > 1:
        weights = max(WORD * PIXEL_VALUE * weight_words, 3 + 1.8 * weight_words)
        weights += fetch - weight_words if whole else 0
        total += c.channel_layer + outputs * (c.channel_output + weights)
        total += c.channel_pack + outputs if s.out_bytes < 4 else 0.0
        total += CHANNEL_COMMAND * outputs * s.mixed_shifts
    else:
        chunks = ceil_div(weight_words, words(geometry.fc_inputs)) - 1
        groups = ceil_div(outputs, geometry.fc_outputs) - 1
        bursts = ceil_div(outputs * WORD, geometry.burst_bytes) - 1
        ragged = (packed or s.in_w) % WORD == 3 and chunks == 0
        each = max(fetch + c.output, c.short_output + c.short_word * weight_words)
        each += c.ragged_output * ragged + c.chunk_output * chunks
        each += c.wide_output * (s.out_bytes - 1) / 3
        total += c.layer + c.input_word * weight_words + c.chunk * chunks
        total += OUTPUT_COMMAND * groups + outputs * each + c.output_burst * bursts
    return Parts(total, outputs * weight_words * 0.5, outputs * weight_words)


def add(s: LayerShape, arch: Arch) -> Parts:
    """Addition. h rows, w wide, of c channels; q words per row, f its fetch, o written words.

    full:            layer + c * (plane + plane_word * q + max(h * (4q + 1 + stalls),
                                                             h * (2f + o + 2) - overlap))
    scalar, channel: layer + c * (scalar_plane [+ constant_plane or channel_constant_plane] + 2q
                                  + h * max(w + 1 + stall, f + o + 2))
    row:             layer + c * (row_plane + h * (row + w + row_word * q)), a command per row
    column:          layer + c * (column_plane + column * w + h * (column_row + column_value * w))
    """
    c, h, w = arch.cycles.add, s.out_h, s.out_w
    read, written = words(w), words(w * s.out_bytes)
    fetch = fetch_cycles(read)
    busy = h * (fetch + written)
    if s.broadcast is Broadcast.FULL:
        stall = write_stall(WORD * read, s.out_bytes) + row_bursts(s, arch.geometry)
        stall += READ_CUT * cuts(w, arch.geometry)
        moving = h * (2 * fetch + written + 2) - c.overlap
        plane = c.plane + c.plane_word * read + max(h * (WORD * read + 1 + stall), moving)
        busy += h * fetch
    elif s.broadcast is Broadcast.ROW:
        plane = c.row_plane + h * (c.row + w + c.row_word * read)
    elif s.broadcast is Broadcast.COLUMN:
        start = c.constant_column_plane if s.constant else c.column_plane
        plane = start + c.column * w + h * (c.column_row + c.column_value * w)
    else:
        stall = write_stall(w, s.out_bytes) + BURST_CUT * cuts(w, arch.geometry)
        plane = 2 * read + h * max(w + 1 + stall, fetch + written + 2)
        plane += c.scalar_plane
        if s.broadcast is Broadcast.CHANNEL:
            plane += c.channel_constant_plane if s.constant else c.constant_plane
    return Parts(c.layer) + Parts(plane, h * w, busy).times(s.out_c)


def multiply(s: LayerShape, arch: Arch) -> Parts:
    """Multiplication: each operand is first copied to 16 bits with its zero point taken off.

    copy = max(w + pass_row + cuts, f + q2 + 2), scale = max(w + pass_row, f2 + o + 2),
    both = max(w + pass_row, 2 * f2 + o + 2), with q2 words per 16-bit row and f2 their fetch.
    An operand whose zero point is 0 is only moved: copy = f + q2 + 2, and centred_word * q less
    for a channel of it.
    full:    layer + c * (full_plane + full_word * q + h * (copy + copy + both))
    channel: layer + c * (channel_plane + channel_word * q + h * (copy + scale)); one value for all
             channels saves scalar_saving per channel and costs scalar_layer
    row:     layer + c * (row_plane + row_word * q + h * (copy + both))
    (the row's own copy is in row_plane and row_word)
    column:  layer + column_layer_row * h + c * (column_plane + 1.6 * q
             + h * (copy + column_row + w + column_word * q))
    """
    c, h, w = arch.cycles.multiply, s.out_h, s.out_w
    read, wide, written = words(w), words(2 * w), words(w * s.out_bytes)
    fetch, fetch_wide = fetch_cycles(read), fetch_cycles(wide)
    row = w + c.pass_row
    moved = fetch + wide + 2
    whole = max(row + BURST_CUT * cuts(2 * w + WORD, arch.geometry), moved)
    copy, second = (moved if centred else whole for centred in s.centred)
    both = max(row, 2 * fetch_wide + written + 2)
    layer = c.layer
    if s.broadcast is Broadcast.FULL:
        plane = c.full_plane + c.full_word * read + h * (copy + second + both)
    elif s.broadcast is Broadcast.ROW:
        plane = c.row_plane + c.row_word * read + h * (copy + both) + second - whole
    elif s.broadcast is Broadcast.COLUMN:
        layer += c.column_layer_row * h
        plane = c.column_plane + 1.6 * read + h * (copy + c.column_row + w + c.column_word * read)
    else:
        plane = c.channel_plane + c.channel_word * read
        plane += h * (copy + max(row, fetch_wide + written + 2))
        if s.broadcast is Broadcast.SCALAR:
            plane -= c.scalar_saving
            layer += c.scalar_layer
    rows_copied = s.broadcast in (Broadcast.FULL, Broadcast.ROW)
    plane -= c.centred_word * read * (s.centred[0] + (rows_copied and s.centred[1]))
    busy = h * (2 * fetch + 2 * wide + 2 * fetch_wide + written)
    return Parts(layer) + Parts(plane, 2.0 * h * w, busy).times(s.out_c)


def _moved_plane(h: int, w: int, c: CopyCosts) -> Parts:
    """A plane moved as it is, h rows of q words.

    moved_plane + moved_word * q + max(h * (fetch + q + 2) - moved_overlap, 2.2 * q * h)
    """
    read = words(w)
    moved = h * (fetch_cycles(read) + read + 2)
    busy = max(moved - c.moved_overlap, 2.2 * read * h)
    return Parts(c.moved_plane + c.moved_word * read + busy, 0.0, moved)


def concatenate(s: LayerShape, arch: Arch) -> Parts:
    """Concatenation: per operand, concat_part + channels * a moved plane; rows that do not land on
    a word's start cost ragged_word more for each of their words."""
    c = arch.cycles.copy
    total, offset = Parts(0.0), 0
    for channels, h, w in s.parts:
        plane = _moved_plane(h, w, c)
        if s.axis == Axis.WIDTH and offset % WORD:
            plane += Parts(c.ragged_word * words(w) * h)
        offset += w
        total += Parts(c.concat_part) + plane.times(channels)
    return total


def strided_slice(s: LayerShape, arch: Arch) -> Parts:
    """Slice: two cycles per value.

    slice_layer + out_c * (slice_plane + slice_word * written words
                           + max(h * (2 * w + slice_row),
                                 (h - 1) * stride_h * fetch + h * (written words + 2)))
    """
    c = arch.cycles.copy
    written = words(s.out_w)
    moved = (s.out_h - 1) * s.stride_h * fetch_cycles(words(used_columns(s)))
    work = max(s.out_h * (2 * s.out_w + c.slice_row), moved + s.out_h * (written + 2))
    plane = c.slice_plane + c.slice_word * written + work
    busy = moved + s.out_h * written
    return Parts(c.slice_layer) + Parts(plane, 2 * s.out_h * s.out_w, busy).times(s.out_c)


def channel_pad(s: LayerShape, arch: Arch) -> Parts:
    """Channel padding: pad_layer + channels moved + (filled channels and one more)
    * (fill_plane + h * (w / 2 + 1)).

    Rows of less than two words take 4 or 5 cycles, and a plane that does not end with a whole run
    of two or three such rows costs fill_remainder more.
    """
    c = arch.cycles.copy
    moved = _moved_plane(s.in_h, s.in_w, c).times(s.in_c)
    start, row = c.fill_plane, ceil_div(s.in_w, 2) + 1
    if s.in_w < 2 * WORD:
        row = 4 if s.in_w <= WORD else 5
        start += c.fill_remainder * (s.in_h % (2 if s.in_w in (3, 4) else 3) == 1)
    fill = Parts(start + s.in_h * row, 0.0, s.in_h * row).times(s.fill + 1)
    return Parts(c.pad_layer) + moved + fill


def softmax(s: LayerShape, arch: Arch) -> Parts:
    """The exponentials of a softmax: layer per 512 values (so many commands) + value * values."""
    c = arch.cycles.softmax
    values = s.in_h * s.in_w * s.in_c
    commands = ceil_div(values, arch.geometry.softmax_values)
    return Parts(max(c.least, c.layer * commands + c.value * values), float(values))


def conversion(s: LayerShape, arch: Arch) -> Parts:
    """What the NPU does for a sigmoid or tanh: nothing, unless it converts the input to q3.12. It
    converts one channel only. q words of a row of 16-bit values, f its fetch:

    layer + word * q + cut * (h - 1) * cuts + max(h * (2q + 1), h * (f + q + 2) - overlap)
    """
    if not s.converted:
        return Parts(0.0)
    c, h, read = arch.cycles.conversion, s.in_h, words(2 * s.in_w)
    moved = h * (fetch_cycles(read) + read + 2)
    work = max(h * (2 * read + 1), moved - c.overlap)
    work += c.cut * (h - 1) * cuts(2 * s.in_w + WORD, arch.geometry)
    return Parts(c.layer + c.word * read + work, h * s.in_w, moved)


def nothing(s: LayerShape, arch: Arch) -> Parts:
    """An operator that the CPU executes: the vendor's estimate counts no NPU cycles for it."""
    del s, arch
    return Parts(0.0)


FORMULAS: Final[dict[Op, Callable[[LayerShape, Arch], Parts]]] = {
    Op.CONV2D: convolution,
    Op.DEPTHWISE_CONV2D: _streaming(lambda arch: arch.cycles.depthwise),
    Op.POINTWISE_CONV2D: pointwise,
    Op.FULLY_CONNECTED: fully_connected,
    Op.AVERAGE_POOL: _streaming(lambda arch: arch.cycles.average_pool),
    Op.MAX_POOL: _streaming(lambda arch: arch.cycles.max_pool),
    Op.MEAN: mean,
    Op.ADD: add,
    Op.MULTIPLY: multiply,
    Op.CONCATENATE: concatenate,
    Op.STRIDED_SLICE: strided_slice,
    Op.CHANNEL_PAD: channel_pad,
    Op.SOFTMAX: softmax,
    Op.SIGMOID: conversion,
    Op.TANH: conversion,
}


_BY_CHANNEL: Final = (Op.CONV2D, Op.DEPTHWISE_CONV2D, Op.POINTWISE_CONV2D)


def layer_parts(s: LayerShape, arch: Arch) -> Parts:
    """NPU cycles of a layer, by its operator's formula, for all its batches; convolutions whose
    channels have shifts or slopes of their own load them with a command more.

    A pointwise convolution counts one batch, as the vendor's generator computes only the first.
    """
    parts = FORMULAS.get(s.op, nothing)(s, arch)
    if s.op in _BY_CHANNEL and (s.mixed_shifts or s.activation == Activation.LEAKY_RELU):
        parts += Parts(CHANNEL_COMMAND * s.out_c)
    return parts if s.op is Op.POINTWISE_CONV2D else parts.times(s.batch)


def npu_runs(shapes: Sequence[LayerShape]) -> int:
    """Runs of consecutive layers on the NPU, which operators on the CPU separate."""
    on_npu = [not s.op.on_cpu for s in shapes]
    return sum(now and not before for before, now in zip([False, *on_npu], on_npu, strict=False))


def padded_tiles(s: LayerShape) -> Iterator[int]:
    """Indices of the kernel's column tiles that lie in the padding for every output."""
    for tile, start in enumerate(range(0, s.kernel_w, TILE)):
        last = min(start + TILE, s.kernel_w) - 1
        lefts = (column * s.stride_w - s.pad_left for column in range(s.out_w))
        if all(left + last < 0 or left + start >= s.in_w for left in lefts):
            yield tile


def may_stall(s: LayerShape) -> bool:
    """Whether the recorded cost of such a layer explodes (65,536 cycles per plane, 999,999, or
    more): a kernel of several tiles in both directions, or 16 wide, with two columns of padding on
    a map so narrow that a tile never meets it or that one output column is left."""
    if s.op not in (Op.CONV2D, Op.DEPTHWISE_CONV2D) or s.dilated or s.pad_left < 2:
        return False
    if s.kernel_w <= TILE or (s.kernel_h <= TILE and s.kernel_w < 16):
        return False
    return s.out_w == 1 or any(padded_tiles(s))
