"""The way of `axonrig verify`: model and data -> parties -> findings -> report and files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.artefacts import open_folder
from harness.errors import ConfigError, ExitCode
from harness.firmware.board_image import Target
from harness.progress import Observer
from harness.run import RunRequest, prepare
from harness.selection import SIMULATOR, select_board
from harness.verify.case import Case, make_case
from harness.verify.minimise import Minimal, minimise
from harness.verify.parties import BoardParty, Party
from harness.verify.report import build_report, write_report
from harness.verify.study import STANDARD_PARTIES, Study, study
from harness.verify.ticket import ticket_files
from harness.verify.verdict import Meaning


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What to verify. data None: the embedded images for the embedded model, else random samples.

    limit: samples at most. boards: names, besides the executors of this machine. target: what runs
    the model on real ones. out: result folder, or None to write nothing. minimise: also look for
    the smallest model that shows the disagreement, of the two parties in `between`, or of those
    that the verdict is about.
    """

    model: Path
    data: Path | None = None
    labels: Path | None = None
    limit: int = 32
    boards: tuple[str, ...] = ()
    serial_number: str | None = None
    port: str | None = None
    target: Target = "cpu"
    out: Path | None = None
    minimise: bool = False
    between: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """study: the findings. report: as in verify.json."""

    study: Study
    report: dict[str, Any]

    @property
    def exit_code(self) -> ExitCode:
        """See `Study`."""
        return self.study.exit_code


def verify_model(request: VerifyRequest, observe: Observer | None = None) -> Verification:
    """Run every executor, judge, and write the result folder.

    Raises HarnessError or CompilerError with one sentence; then the folder has no manifest.
    """
    started = time.perf_counter()
    _check(request)
    boards = _boards(request)
    prepared = prepare(
        RunRequest(
            model=request.model, data=request.data, labels=request.labels, limit=request.limit
        )
    )
    case = make_case(prepared.model, prepared.dataset.inputs, prepared.dataset.labels)
    parties = (*STANDARD_PARTIES, *boards)
    _check_between(request, case, parties)
    folder = None if request.out is None else open_folder(request.out)
    found = study(case, parties, observe)
    minimal = _minimise(request, found, observe)
    report = build_report(found, prepared.dataset, minimal, time.perf_counter() - started)
    if folder is not None:
        files = {} if minimal is None else ticket_files(minimal, found)
        write_report(folder, found, prepared.dataset, report, files)
    return Verification(found, report)


def _check(request: VerifyRequest) -> None:
    if request.between is not None and not request.minimise:
        raise ConfigError("--between says what --minimise reduces; add --minimise")
    if request.minimise and request.out is None:
        raise ConfigError("--minimise writes a model and its data; name a folder with --out")


def _check_between(request: VerifyRequest, case: Case, parties: Sequence[Party]) -> None:
    """Before anything runs: both are parties, and they are there."""
    if request.between is None:
        return
    words, known = " ".join(request.between), {party.name: party for party in parties}
    if not set(request.between) <= set(known) or len(set(request.between)) < 2:
        raise ConfigError(
            f"--between {words}: expected two of the parties {', '.join(known)}; a name with a "
            "space takes quotes"
        )
    for name in request.between:
        reason = known[name].absence(case)
        if reason is not None:
            raise ConfigError(f"--between {words}: {name} is not there: {reason}")


def _minimise(request: VerifyRequest, found: Study, observe: Observer | None) -> Minimal | None:
    """The smallest model; None when nothing is asked for or nothing differs."""
    if not request.minimise:
        return None
    pair = found.subject
    if request.between is not None:
        pair = found.pair(*request.between)
        if pair is None:
            failed = next(
                item
                for item in found.attendance
                if item.party.name in request.between and item.answer is None
            )
            raise ConfigError(
                f"--between {' '.join(request.between)}: {failed.party.name} did not run: "
                f"{failed.reason}"
            )
    if pair is None or pair.meaning is Meaning.EQUAL:
        return None
    return minimise(found, pair, observe)


def _boards(request: VerifyRequest) -> tuple[BoardParty, ...]:
    """Each board once. Raises ConfigError for an unknown name and for the simulator's."""
    selections = [
        select_board(
            name,
            serial_number=request.serial_number,
            port=request.port,
            target=request.target,
        )
        for name in dict.fromkeys(request.boards)
    ]
    for selection in selections:
        if selection.name == SIMULATOR and selection.fallback is None:
            raise ConfigError(
                f"--board {selection.asked}: the simulator always takes part; name another board "
                "or leave the option out"
            )
    parties = {party.name: party for party in map(BoardParty, selections)}
    return tuple(parties.values())
