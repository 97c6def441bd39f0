"""The facts of a board file as text for C and the linker."""

from __future__ import annotations

from harness.board import FirmwareTarget, Memory, Pin


def board_header(name: str, target: FirmwareTarget, memory: Memory) -> str:
    """The facts of a board file as the port wants them."""
    pins = target.pins or {}
    lines = [
        f'#define AXR_BOARD_NAME "{name}"',
        f"#define {target.chip} 1",
        f"#define AXR_BOARD_RECEIVE_BYTES {memory.receive_bytes}U",
        f"#define AXR_BOARD_SLOT_START {memory.slot_start:#010x}U",
        f"#define AXR_BOARD_SLOT_BYTES {memory.slot_bytes}U",
        f"#define AXR_BOARD_HFXO_LOAD_FF {target.crystal_load_ff}U",
        f"#define AXR_BOARD_DCDC {int(target.dcdc)}U",
    ]
    for role, pin in pins.items():
        lines += _pin_lines(role.upper(), pin)
    text = "\n".join(lines)
    return (
        "/* Written by the build from the board file. */\n"
        f"#ifndef AXR_BOARD_H\n#define AXR_BOARD_H\n\n{text}\n\n#endif\n"
    )


def _pin_lines(role: str, pin: Pin) -> list[str]:
    port = f"AXR_REG_P{pin.port}"
    return [
        f"#define AXR_BOARD_{role}_PIN {pin.number}U",
        f"#define AXR_BOARD_{role}_PSEL {pin.selector}U",
        f"#define AXR_BOARD_{role}_CNF ({port}_PIN_CNF + {4 * pin.number}U)",
        f"#define AXR_BOARD_{role}_OUTSET {port}_OUTSET",
        f"#define AXR_BOARD_{role}_OUTCLR {port}_OUTCLR",
    ]


def memory_script(memory: Memory) -> str:
    """The chip's memory as the port's linker script wants it."""
    flash = (
        f"ORIGIN = {memory.flash_start:#010x}, LENGTH = {memory.flash_bytes - memory.slot_bytes:#x}"
    )
    ram = f"ORIGIN = {memory.ram_start:#010x}, LENGTH = {memory.ram_bytes:#x}"
    return (
        "/* Written by the build from the board file. */\n"
        f"MEMORY\n{{\n    RRAM (rx) : {flash}\n    RAM (rwx) : {ram}\n}}\n"
        f"AXR_STACK_BYTES = {memory.stack_bytes};\n"
        f"AXR_RING_BYTES = {2 * memory.receive_bytes};\n"
    )
