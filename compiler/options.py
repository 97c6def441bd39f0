"""What the user can choose about a compilation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from compiler.ir import Dims, Options

MODEL_NAME_PATTERN: Final = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
PROGRAM_NAME_PATTERN: Final = r"[A-Za-z_][A-Za-z0-9_]{0,199}"
"""A model's name with a suffix for every switch of its variant; fits a file name."""


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """One variant of one model.

    output: "int8", or "int32" for unquantized model outputs (`disable_op_quantization`).
    transpose: swap height and width everywhere (`transpose_kernel`).
    skip_softmax: end before a final softmax.
    normalize_scaleshift: one shift per layer instead of one per channel.
    cheaper_layers: replace layers by cheaper ones with the same outputs (`compiler.substitution`).
    op_radix: fraction bits of an int32 output, 0 to choose the most that fit.
    """

    name: str
    output: Literal["int8", "int32"] = "int8"
    transpose: bool = False
    skip_softmax: bool = False
    normalize_scaleshift: bool = True
    cheaper_layers: bool = False
    op_radix: int = 0
    labels: tuple[str, ...] = ()
    limits: Options = field(default_factory=Options)

    def turned(self, dims: Dims) -> Dims:
        """An extent as the device sees it: height and width change places when transposed."""
        if self.transpose:
            return replace(dims, height=dims.width, width=dims.height)
        return dims
