"""Result codes of Nordic's compiler library as sentences.

Names and numbers: nrf_axon_compiler_result_e in nrf_axon_nn_compiler_types.h (Axon 1.4.0); a test
compares them with the header.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Fault(Enum):
    """Who must act on a refusal."""

    OURS = "ours"
    """Our constraints should have refused the model, or lowered it otherwise."""
    TOO_BIG = "too big"
    """The model needs more of a buffer than there is."""
    TOOL = "tool"
    """The machine or the library."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A result code: the header's name without its prefix, what it means, who must act."""

    code: int
    name: str
    meaning: str
    fault: Fault = Fault.OURS


_REFUSALS: Final = (
    Refusal(
        -243,
        "PERSISTENT_BUFFER_TOO_SMALL",
        "the model's persistent variables need more memory than the library has for them",
        Fault.TOO_BIG,
    ),
    Refusal(
        -242,
        "INVALID_BATCH_CNT or INVALID_DILATION",
        "the batch count or the dilation is not allowed (both have this code)",
    ),
    Refusal(-241, "INVALID_ROUNDING", "a requantization shift is out of range"),
    Refusal(-240, "INVALID_INPUT_SIZE", "height, width or channels of an input are not allowed"),
    Refusal(-239, "INVALID_FILTER_SIZE", "height, width or channels of the filter are not allowed"),
    Refusal(-238, "INVALID_PADDING", "the padding is not allowed"),
    Refusal(-236, "INVALID_STRIDE", "the stride is not allowed"),
    Refusal(-235, "INVALID_INPUT", "the layer has too many or too few inputs"),
    Refusal(-234, "INVALID_FILTER_COUNT", "the number of filters is not allowed"),
    Refusal(
        -232,
        "PSUM_BUFFER_TOO_SMALL",
        "the model needs more partial sums than the library has memory for",
        Fault.TOO_BIG,
    ),
    Refusal(-228, "INVALID_ACTIVATION_FUNCTION", "the activation is unknown to the library"),
    Refusal(-227, "INFERENCE_FAILED", "the library's simulator could not run the model"),
    Refusal(
        -226, "SIMULATOR_INIT_FAILED", "the library's simulator could not be started", Fault.TOOL
    ),
    Refusal(-225, "MODEL_INIT_FAILED", "the library's simulator did not accept the model"),
    Refusal(
        -224, "UNRESOLVED_ADDRESS", "the generated code refers to a buffer that does not exist"
    ),
    Refusal(-223, "CORRUPT_CMD_BUFFER", "the library failed inside itself", Fault.TOOL),
    Refusal(
        -222,
        "INTERLAYER_BUFFER_TOO_SMALL",
        "the model needs a larger interlayer buffer than the library has",
        Fault.TOO_BIG,
    ),
    Refusal(
        -221,
        "TOO_MANY_DECLARED_BUFFERS",
        "the model has more constants than the library can count",
        Fault.TOO_BIG,
    ),
    Refusal(-220, "MALLOC_FAILED", "the library could not get enough memory", Fault.TOOL),
    Refusal(-219, "INVALID_BIN_FILE", "the library cannot read the Axon binary"),
    Refusal(-218, "FILE_IO_FAILED", "the library could not read or write a file", Fault.TOOL),
    Refusal(
        -217,
        "CANNOT_GROW_FC_WEIGHTS",
        "the weights of a fully connected layer do not fit once rows are padded",
        Fault.TOO_BIG,
    ),
    Refusal(-216, "UNHANDLED_RESHAPE", "a change of shape between layers would mix up the data"),
    Refusal(-215, "INVALID_OUTPUT_SIZE", "height, width or channels of the output are not allowed"),
    Refusal(-214, "INVALID_OPERATION", "the operation is unknown to the library"),
    Refusal(
        -212,
        "INVALID_BYTE_WIDTH",
        "an input, filter or output has a width in bytes that the operation does not take",
    ),
    Refusal(-208, "NULL_PTR", "the library met an address that is not set", Fault.TOOL),
    Refusal(
        -207,
        "CMD_BUF_TOO_SMALL",
        "the code for the model does not fit the library's command buffer",
        Fault.TOO_BIG,
    ),
    Refusal(-1, "FAILURE", "the library gives no reason", Fault.TOOL),
)

REFUSALS: Final = {refusal.code: refusal for refusal in _REFUSALS}


def refusal_of(code: int) -> Refusal:
    """The refusal with this code; one that the header does not name is the tool's fault."""
    return REFUSALS.get(
        code, Refusal(code, "unknown result", "this code is not in Nordic's header", Fault.TOOL)
    )
