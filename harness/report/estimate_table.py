"""An estimate for a terminal: layers, totals with their labels, the buffer, advice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.charts.terminal import bar_text, lifetime_lines
from harness.report.estimate_html import buffer_spans

_BAR: Final = 12


def print_estimate(estimate: Mapping[str, Any], console: Console, *, buffer: bool = False) -> None:
    """Print one estimate; `buffer` adds the interlayer buffer over time."""
    console.print(_layers(estimate))
    console.print(_totals(estimate))
    if buffer:
        layers = estimate["layers"]
        lines = lifetime_lines(buffer_spans(estimate["memory"]["tensors"], layers), len(layers))
        if lines:
            console.print("interlayer buffer: bytes upwards, layers to the right")
            console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    for note in estimate["notes"]:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    for line in estimate["advice"]:
        console.print(f"advice: {line}", markup=False, highlight=False, soft_wrap=True)


def _layers(estimate: Mapping[str, Any]) -> Table:
    title = f"{estimate['file']}: {estimate['npu']['label']} by layer, output {estimate['variant']}"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("layer", justify="right")
    table.add_column("operator")
    table.add_column("C, H, W")
    for name in ("MACs", "cycles", "MAC/cycle", "share"):
        table.add_column(name, justify="right")
    table.add_column("", min_width=_BAR, no_wrap=True)
    table.add_column("bytes", justify="right")
    table.add_column("on")
    table.add_column("bound by")
    most = max((layer["cycles"] for layer in estimate["layers"]), default=0)
    for layer in estimate["layers"]:
        marks = " !" if layer["flags"] else ""
        table.add_row(
            str(layer["index"]),
            layer["op"] + marks,
            layer["shape"],
            f"{layer['macs']:,}",
            f"{layer['cycles']:,}",
            f"{layer['macs_per_cycle']:.2f}",
            f"{100 * layer['share']:.1f} %",
            bar_text(layer["cycles"], most, _BAR),
            f"{layer['bytes']:,}",
            layer["runs_on"].upper(),
            layer["bound"] or "-",
        )
    return table


def _totals(estimate: Mapping[str, Any]) -> Table:
    npu, cpu, time = estimate["npu"], estimate["cpu"], estimate["device_time"]
    memory, energy = estimate["memory"], estimate["energy"]
    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold", style="dim")
    rate = f"{estimate['macs_per_cycle']:.2f} MAC/cycle"
    table.add_row(
        npu["label"], f"{npu['cycles']:,}, {estimate['macs']:,} MACs, {rate}", npu["source"]
    )
    if cpu["cycles"]:
        table.add_row(cpu["label"], f"{cpu['cycles']:,} ({cpu['us']:,.0f} us)", cpu["source"])
    table.add_row(
        time["label"],
        f"{time['us']:,.0f} us ({time['low_us']:,.0f} to {time['high_us']:,.0f})",
        time["source"],
    )
    table.add_row(
        energy["label"],
        f"{energy['uj']:,.1f} uJ ({energy['low_uj']:,.1f} to {energy['high_uj']:,.1f}) at "
        f"{energy['supply_v']:g} V, {energy['current_ma']:g} mA",
        energy["source"],
    )
    table.add_row(
        memory["label"],
        f"RAM {memory['ram_bytes']:,} bytes: interlayer {memory['interlayer_bytes']:,}, psum "
        f"{memory['psum_bytes']:,}, persistent {memory['persistent_bytes']:,}\n"
        f"flash {memory['flash_bytes']:,} bytes: constants {memory['constant_bytes']:,}, "
        f"commands {memory['command_bytes']:,}",
        memory["source"],
    )
    return table
