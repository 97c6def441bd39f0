"""`axonrig calibrate`: refine the device time of estimates with measurements of one's own board."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError, ExitCode

if TYPE_CHECKING:  # Start-up time is import time.
    from harness.calibration import Calibration, Measurement


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="result folders of 'axonrig run' on one board",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="forget what was measured on this board before"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from compiler import load_arch
    from harness.calibration import Calibration, fit, load, merged, store
    from harness.report.folder import read_folder

    arch = load_arch()
    found = [measured(read_folder(folder).report, folder) for folder in arguments.folders]
    boards = sorted({board for board, _ in found})
    if len(boards) > 1:
        raise ConfigError(
            f"the result folders are of several boards ({', '.join(boards)}); calibrate one at "
            "a time"
        )
    board = boards[0]
    earlier = None if arguments.fresh else load(board)
    known = () if earlier is None else earlier.measurements
    measurements = merged(known, (item for _, item in found))
    line = fit(measurements, arch.clock_hz, arch.device.launch_us)
    calibration = Calibration(board, measurements, line)
    path = store(calibration)
    print("\n".join(summary(calibration, path)))  # noqa: T201  # the command's result
    return int(ExitCode.OK)


def measured(report: Mapping[str, Any], folder: Path) -> tuple[str, Measurement]:
    """(board, measurement) of a run's report.

    Raises ConfigError unless it was measured on a board whose NPU ran the program.
    """
    from harness.calibration import Measurement

    try:
        source, micros = report["latency"]["source"], report["latency"]["median_us"]
        board, model, estimate = report["board"], report["model"], report["estimate"]
        if source != "board":
            raise ConfigError(
                f"the latency of {folder} is from the source {source or 'none'}; a calibration "
                "needs a board's: run with --require-hardware"
            )
        if "npu" not in report["backend"].lower():
            raise ConfigError(
                f"in {folder} the back end '{report['backend']}' ran the program; a calibration "
                "of the NPU needs the NPU's"
            )
        if micros is None or estimate is None:
            raise ConfigError(f"{folder} has no latency in microseconds; run the model again")
        return str(board), Measurement(
            program_sha256=str(model["program"]["sha256"]),
            model=str(model["name"]),
            npu_cycles=int(estimate["npu"]["cycles"]),
            us=float(micros),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{folder / 'report.json'} is no report of this version of axonrig; run again"
        ) from error


def summary(calibration: Calibration, path: Path) -> list[str]:
    """What was fitted, and how far each measurement is off the published band and the new one."""
    from compiler import load_arch
    from harness.calibration import Line

    arch = load_arch()
    device, line = arch.device, calibration.line
    before = Line(device.scale, device.launch_us, device.relative_band)
    lines = [
        f"{calibration.board}: device time = {line.scale:.4g} x NPU time + {line.launch_us:.0f} us "
        f"within {100 * line.relative_band:.1f} %, from {len(calibration.measurements)} of your "
        "own measurements"
    ]
    for item in calibration.measurements:
        expected = before.time_us(item.npu_cycles, arch.clock_hz)
        band = device.relative_band * expected + device.absolute_band_us
        off = item.us - expected
        word = "within" if abs(off) <= band else "outside"
        lines.append(
            f"  {item.model}: measured {item.us:,.0f} us, published log says {expected:,.0f} "
            f"({100 * off / expected:+.1f} %, {word} its band)"
        )
    lines.append(f"wrote {path}")
    return lines
