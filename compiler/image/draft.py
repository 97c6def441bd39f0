"""The pieces of a model image before they have addresses."""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.image.layout import Flag, ImageOp


@dataclass(frozen=True, slots=True)
class TensorDraft:
    """A tensor, or another view of one: same storage, other extents.

    width_bytes: bytes per element.
    """

    height: int
    width: int
    channels: int
    batch: int
    width_bytes: int
    storage: int

    @property
    def elements(self) -> int:
        """Of all batches."""
        return self.batch * self.height * self.width * self.channels

    @property
    def size_bytes(self) -> int:
        """Of all batches."""
        return self.elements * self.width_bytes


@dataclass(frozen=True, slots=True)
class RecordDraft:
    """One record. `fields` are the header's, by name; offsets are filled in by the assembly.

    lead_bytes: what the output must keep below an operand to share its memory, by operand
        position; absent when they must not share.
    """

    op: ImageOp
    flags: Flag
    program_layer: int
    operands: tuple[int, ...]
    output: int
    weights: bytes = b""
    channels: bytes = b""
    scratch_bytes: int = 0
    fields: dict[str, int] = field(default_factory=dict)
    lead_bytes: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    """What lowering has produced so far.

    values: tensor of the external input (-1) and of each layer.
    persistent: storages that keep their contents between inferences.
    """

    tensors: list[TensorDraft] = field(default_factory=list)
    records: list[RecordDraft] = field(default_factory=list)
    values: dict[int, int] = field(default_factory=dict)
    persistent: set[int] = field(default_factory=set)
    storages: int = 0

    def new_tensor(
        self, extent: tuple[int, int, int], batch: int, width_bytes: int, storage: int | None = None
    ) -> int:
        """Add a tensor of (height, width, channels), in a new storage unless one is given."""
        if storage is None:
            storage = self.storages
            self.storages += 1
        height, width, channels = extent
        self.tensors.append(TensorDraft(height, width, channels, batch, width_bytes, storage))
        return len(self.tensors) - 1
