"""The NPU as numbers: clock, local memories, and what each operator costs, read from strict YAML.

    arch = load_arch()                        # the chip that axonrig is about
    arch = load_arch(Path("my_chip.yaml"))    # or another description of the same form

Every key of a file must be known and every known key present; an unknown one is refused with the
nearest valid name. The meaning of each coefficient is the docstring of its field here, its formula
is in `compiler.cycles`, and how it was found is in docs/cycle-model.md.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

from compiler import plain_yaml
from compiler.errors import ModelFormatError

DEFAULT_ARCH: Final = "axon_nrf54lm20b"
ARCH_DIR: Final = Path(__file__).parent / "arch"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes that decide how the code generator cuts a layer into commands."""

    partial_sums: int
    """Outputs per strip of a convolution with several input planes."""
    resident_words: int
    """Words times groups of six channels that a pointwise convolution keeps inside the NPU."""
    burst_bytes: int
    """Longest burst on the memory bus; a longer row is cut and pays for each cut."""
    pool_window: int
    """Largest reduced height or width of one command; a longer mean is cut."""
    fc_inputs: int
    """Inputs of a fully connected layer per command."""
    fc_outputs: int
    """Outputs of a fully connected layer per command."""
    softmax_values: int
    """Values of a softmax per command."""


@dataclass(frozen=True, slots=True)
class ConvolutionCosts:
    """Convolution over several input planes, cycles. A plane is one (input, output) channel pair
    in one strip."""

    layer: float
    output_channel: float
    plane: float
    kernel_row: float
    row_fetch: float
    weight: float
    drain_word: float
    dilated_plane: float
    two_plane_saving: float
    narrow_strip: float
    narrow_row: float


@dataclass(frozen=True, slots=True)
class ResidentCosts:
    """Convolution over one plane (one input channel, or one row of several channels), cycles.
    The input stays inside the NPU while the output channels are computed."""

    layer: float
    input_fetch: float
    plane: float
    kernel_row: float
    weight: float
    drain_word: float
    narrow_word: float
    narrow_start: float


@dataclass(frozen=True, slots=True)
class StreamCosts:
    """Operators that stream each channel once (depthwise, pools, mean), cycles."""

    layer: float
    part: float
    plane: float
    kernel_row: float
    row_fetch: float
    weight: float
    drain_word: float
    overlap: float
    overlap_unstrided: float


@dataclass(frozen=True, slots=True)
class PointwiseCosts:
    """Pointwise convolution, cycles; maps of one pixel cost as a per-channel fully connected."""

    layer: float
    narrow_layer: float
    output_channel: float
    group: float
    first_output: float
    load: float
    drain_word: float


@dataclass(frozen=True, slots=True)
class FullyConnectedCosts:
    """Fully connected, cycles."""

    layer: float
    input_word: float
    output: float
    short_output: float
    short_word: float
    ragged_output: float
    wide_output: float
    chunk: float
    chunk_output: float
    output_burst: float
    activation: float
    repack: float
    repack_value: float
    channel_layer: float
    channel_output: float
    channel_pack: float


@dataclass(frozen=True, slots=True)
class AddCosts:
    """Addition of two tensors or of a tensor and a constant, cycles."""

    layer: float
    plane: float
    plane_word: float
    overlap: float
    scalar_plane: float
    constant_plane: float
    channel_constant_plane: float
    row: float
    row_word: float
    row_plane: float
    column_row: float
    column_value: float
    column: float
    column_plane: float
    constant_column_plane: float


@dataclass(frozen=True, slots=True)
class MultiplyCosts:
    """Multiplication of two tensors or of a tensor and a constant, cycles."""

    layer: float
    scalar_layer: float
    pass_row: float
    full_plane: float
    full_word: float
    channel_plane: float
    channel_word: float
    scalar_saving: float
    row_plane: float
    row_word: float
    column_row: float
    column_word: float
    column_plane: float
    column_layer_row: float
    centred_word: float


@dataclass(frozen=True, slots=True)
class CopyCosts:
    """Data movement on the NPU: concatenation, slice, channel padding, cycles."""

    moved_plane: float
    moved_word: float
    moved_overlap: float
    concat_part: float
    ragged_word: float
    pad_layer: float
    fill_plane: float
    fill_remainder: float
    slice_layer: float
    slice_plane: float
    slice_row: float
    slice_word: float


@dataclass(frozen=True, slots=True)
class SoftmaxCosts:
    """What the NPU's estimate holds of a softmax, cycles."""

    layer: float
    value: float
    least: float


@dataclass(frozen=True, slots=True)
class ConversionCosts:
    """Converting the input of a sigmoid or tanh to q3.12, cycles."""

    layer: float
    word: float
    overlap: float
    cut: float


@dataclass(frozen=True, slots=True)
class CycleCosts:
    """Coefficients of `compiler.cycles`, one group per family of operators."""

    convolution: ConvolutionCosts
    resident: ResidentCosts
    depthwise: StreamCosts
    average_pool: StreamCosts
    max_pool: StreamCosts
    mean: StreamCosts
    pointwise: PointwiseCosts
    fully_connected: FullyConnectedCosts
    add: AddCosts
    multiply: MultiplyCosts
    copy: CopyCosts
    softmax: SoftmaxCosts
    conversion: ConversionCosts


@dataclass(frozen=True, slots=True)
class CpuCosts:
    """Our own estimate of the CPU's part, which the vendor's estimate leaves out: CPU cycles."""

    call: float
    softmax_value: float
    sigmoid_value: float
    tanh_value: float
    moved_value: float


@dataclass(frozen=True, slots=True)
class DeviceTiming:
    """Device time from NPU cycles: cycles * scale / clock + launch, and how far to trust it."""

    scale: float
    launch_us: float
    relative_band: float
    absolute_band_us: float
    measurements: int
    source: str


@dataclass(frozen=True, slots=True)
class EnergyCosts:
    """Typical supply current while the NPU works, mA, by the kind of model."""

    default_supply_v: float
    convolution_ma: float
    separable_ma: float
    separable_band_ma: float
    dense_ma: float
    other_ma: float
    source: str


@dataclass(frozen=True, slots=True)
class CommandCosts:
    """Bytes of the command buffer on the chip."""

    convolution_layer: int
    convolution_output: int
    convolution_strip: int
    two_plane_output: int
    plane_layer: int
    plane_output: int
    per_channel_shift: int
    leaky_output: int
    activation: int
    softmax_preparation: int
    pointwise_layer: int
    pointwise_tile: int
    pixel_layer: int
    pool_layer: int
    mean_layer: int
    mean_part: int
    fully_connected_layer: int
    repack: int
    fully_connected_chunk: int
    channel_layer: int
    add_layer: int
    add_channel_layer: int
    add_row: int
    add_column: int
    multiply_layer: int
    multiply_spread: int
    multiply_row: int
    concat_layer: int
    slice_layer: int
    channel_pad_layer: int
    cpu_layer: int
    repeated_layer: int
    run: int


@dataclass(frozen=True, slots=True)
class Arch:
    """One NPU: `load_arch` reads it from YAML. `segment_cycles` is what starting a run of layers on
    the NPU costs, at the start of a program and after each operator on the CPU."""

    name: str
    clock_hz: int
    cpu_clock_hz: int
    segment_cycles: float
    geometry: Geometry
    cycles: CycleCosts
    cpu: CpuCosts
    device: DeviceTiming
    energy: EnergyCosts
    commands: CommandCosts


def load_arch(path: Path | None = None) -> Arch:
    """Read an NPU description; without a path, the one that comes with axonrig.

    Raises ModelFormatError for a missing or unreadable file, an unknown key (naming the nearest
    valid one), a missing key, or a value of the wrong kind.
    """
    return _default_arch() if path is None else read_arch(path)


@cache
def _default_arch() -> Arch:
    return read_arch(ARCH_DIR / f"{DEFAULT_ARCH}.yaml")


def read_arch(path: Path) -> Arch:
    """The description in the file. Raises as `load_arch`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFormatError(f"{path}: cannot be read: {error.strerror}") from None
    return _build(Arch, plain_yaml.load(data, path), str(path), "")


def _build(kind: type[T], value: object, source: str, place: str) -> T:
    """A dataclass from a mapping with exactly its fields."""
    where = place or "the document"
    if not isinstance(value, dict):
        raise ModelFormatError(f"{source}: {where} is not a mapping of names to values")
    hints = get_type_hints(kind)
    assert is_dataclass(kind)
    names = [item.name for item in fields(kind)]
    for key in value:
        if key not in names:
            raise ModelFormatError(f"{source}: {where}: unknown key {key!r}{_nearest(key, names)}")
    built: dict[str, Any] = {}
    for name in names:
        inner = f"{place}.{name}" if place else name
        if name not in value:
            raise ModelFormatError(f"{source}: {inner} is missing; add it")
        built[name] = _value(hints[name], value[name], source, inner)
    return kind(**built)


def _value(kind: Any, value: object, source: str, place: str) -> object:
    if is_dataclass(kind):
        return _build(kind, value, source, place)  # type: ignore[arg-type]  # a dataclass type
    if kind is str and isinstance(value, str):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and is_number and abs(float(value)) < 1e12:  # type: ignore[arg-type]  # checked
        return float(value)  # type: ignore[arg-type]  # a number, checked above
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1e12:
        return value
    expected = {str: "text", float: "a number", int: "a whole number from 0"}[kind]
    raise ModelFormatError(f"{source}: {place} is {value!r}, expected {expected}")


def _nearest(key: object, names: list[str]) -> str:
    near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.0)
    return f"; the nearest valid one is {near[0]!r}" if near else ""
