"""What the firmware's status codes mean; the mirror of firmware/include/axr_status.h."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

STATUS_NAMES: Final = MappingProxyType(
    {
        0: ("OK", "success"),
        1: ("IMAGE_TOO_SHORT", "the model image is shorter than it states"),
        2: ("IMAGE_MAGIC", "the model image does not start like one"),
        3: ("IMAGE_VERSION", "the model image has a layout version that the firmware cannot read"),
        4: ("IMAGE_CRC", "the model image's checksum does not match"),
        5: ("IMAGE_TABLE", "a table of the model image lies outside of it"),
        6: ("IMAGE_TENSOR", "a tensor is malformed or lies outside of the arena"),
        7: ("IMAGE_LAYER", "a layer names a tensor that does not exist"),
        8: ("IMAGE_OPERATION", "the firmware does not execute one of the operations"),
        9: ("IMAGE_PARAMETER", "a layer parameter is out of range"),
        10: ("IMAGE_SHAPE", "the shapes of a layer do not agree with its parameters"),
        11: ("IMAGE_CONSTANT", "a layer's constants lie outside of the constant table"),
        12: ("IMAGE_SCRATCH", "a layer's scratch memory is too small or outside of the arena"),
        13: ("IMAGE_ALIGNMENT", "the model image or the arena is misaligned"),
        14: ("ARENA_TOO_SMALL", "the firmware's arena is smaller than the model needs"),
        15: ("IMAGE_OVERLAP", "an output or scratch area overlaps an operand of its layer"),
        32: ("NO_MODEL", "no model is open"),
        33: ("NO_INPUT", "no input was set"),
        34: ("NO_RESULT", "no inference has finished"),
        35: ("INPUT_SIZE", "the input has not the model's number of bytes"),
        36: ("OUTPUT_INDEX", "the model has no such output"),
        37: ("OUTPUT_SIZE", "the buffer is too small for the output"),
        38: ("BACKEND", "the backend (NPU driver) reported a failure"),
        64: ("LINK_SESSION", "the frame belongs to no open session; the device may have restarted"),
        65: ("LINK_KIND", "the firmware does not know this kind of frame"),
        66: ("LINK_SIZE", "a frame's body has a wrong size"),
        67: ("LINK_ARGUMENT", "a field of a request is out of range"),
        68: ("LINK_RANGE", "nothing can be read there"),
        69: ("LINK_STAGING", "an input is larger than the firmware's input memory"),
        70: ("LINK_RESULTS", "a result is larger than the firmware's result memory"),
        71: ("LINK_BAUD", "the interface does not run at this rate"),
        72: ("SLOT_NONE", "the firmware has no such model slot"),
        73: ("SLOT_SIZE", "the model image does not fit into the slot"),
        74: ("SLOT_ORDER", "slot data without a begin, with a gap, or past the announced size"),
        75: ("SLOT_CHECKSUM", "the slot does not hold what was sent"),
        76: ("SLOT_DEVICE", "the non-volatile memory refused to erase or write"),
    }
)
"""Code -> (name without AXR_, sentence)."""

LINK_SESSION: Final = 64


def describe_status(code: int) -> str:
    """A sentence for a status code, the code included."""
    name, text = STATUS_NAMES.get(code, ("unknown", "a code that this host does not know"))
    return f"{text} (status {code}, {name})"
