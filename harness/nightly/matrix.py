"""The job file of a nightly run, `benchmarks/nightly.yaml`: strict data (docs/nightly.md)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args

from compiler import load_yaml
from harness.artefacts import sha256
from harness.errors import ConfigError
from harness.firmware.board_image import Target
from harness.history.records import NAME, Job
from harness.regression.two_sample import NEEDED_ROUNDS
from harness.strict_mapping import Fields

SCHEMA: Final = 1
DEFAULT_FILE: Final = Path(__file__).resolve().parents[2] / "benchmarks" / "nightly.yaml"
EMBEDDED: Final = "embedded"
LEAST_PAIRS: Final = (NEEDED_ROUNDS + 1) // 2
_MAX_BYTES: Final = 1 << 20
_MAX_JOBS: Final = 10_000
_MAX_NAME: Final = 200
"""Characters of a job's name: it becomes a file name, with endings."""

NUMBER: Final = re.compile(
    r"program\.(bytes|layers)|memory\.(ram|flash|interlayer)_bytes|estimate\.(cpu_)?cycles"
    r"|agreement\.(top1|exact_fraction|max_lsb)|accuracy\.(device|golden)"
    r"|emulated\.instructions|vendor\.cycles|latency\.us|layer\.\d{3}\.(cycles|instructions)"
)
"""Metrics that are numbers (`harness.nightly.figures`): what a budget or a tolerance can be about.
A misspelt one would watch over nothing."""

Output = Literal["int8", "int32"]
Entry = TypeVar("Entry", "ModelEntry", "BoardEntry", "VariantEntry")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model. file None: the embedded one. data, labels: samples; None: embedded, or random."""

    name: str
    file: Path | None
    data: Path | None
    labels: Path | None
    limit: int


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """A board and how it is reached.

    board: name of a board file. target: what runs the model on a real board. port: serial device or
    URL, also on another host. flasher_command: runs the flasher there (`harness.flasher.remote`),
    None for here. place: name of the board at a farm manager, for
    `harness.nightly.places`. limit: most samples, for slow boards. rounds, round_inputs: of the
    latency measurement; 0 rounds: none. required: a job that cannot run has
    failed, it is not skipped.
    """

    name: str
    board: str
    target: Target
    port: str | None
    serial_number: str | None
    flasher_command: str | None
    place: str | None
    limit: int
    rounds: int
    round_inputs: int
    timeout_s: int
    required: bool


@dataclass(frozen=True, slots=True)
class VariantEntry:
    """How a model is compiled."""

    name: str
    output: Output
    transpose: bool
    skip_softmax: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """Jobs that a budget, a tolerance or an exclusion is about; an empty tuple means all."""

    models: tuple[str, ...]
    boards: tuple[str, ...]
    variants: tuple[str, ...]
    reason: str

    def covers(self, job: Job) -> bool:
        """Whether the rule is about this job."""
        pairs = ((self.models, job.model), (self.boards, job.board), (self.variants, job.variant))
        return all(not names or name in names for names, name in pairs)


@dataclass(frozen=True, slots=True)
class Budget:
    """A metric's bounds; None: no bound on that side."""

    rule: Rule
    metric: str
    least: float | None
    most: float | None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A worsening of a deterministic metric, as a share of its value, that is no regression."""

    rule: Rule
    metric: str
    worse: float


@dataclass(frozen=True, slots=True)
class JobPlan:
    """One job of the matrix."""

    job: Job
    model: ModelEntry
    board: BoardEntry
    variant: VariantEntry

    @property
    def limit(self) -> int:
        """Samples that run."""
        return min(self.model.limit, self.board.limit)


@dataclass(frozen=True, slots=True)
class Matrix:
    """What a night is to do. sha256: of the file."""

    sha256: str
    plans: tuple[JobPlan, ...]
    budgets: tuple[Budget, ...]
    tolerances: tuple[Tolerance, ...]


def load_matrix(path: Path = DEFAULT_FILE) -> Matrix:
    """Read a job file; paths in it are relative to its folder.

    Raises ConfigError that names the place, for everything that is unknown, doubled or missing.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path} has {len(data)} bytes; a job file has at most {_MAX_BYTES}")
    fields = Fields(load_yaml(data, path), path.name)
    fields.number("schema", SCHEMA, SCHEMA)
    models = _unique(fields, "models", lambda item: _model(item, path.parent))
    boards = _unique(fields, "boards", _board)
    variants = _unique(fields, "variants", _variant)
    known = tuple({item.name for item in group} for group in (models, boards, variants))
    excluded = fields.parts("exclude", lambda item: _rule(item, known))
    budgets = fields.parts("budgets", lambda item: _budget(item, known))
    tolerances = fields.parts("tolerances", lambda item: _tolerance(item, known))
    fields.close()
    plans = tuple(
        JobPlan(Job(model.name, board.name, variant.name), model, board, variant)
        for model in models
        for board in boards
        for variant in variants
    )
    left = tuple(plan for plan in plans if not any(rule.covers(plan.job) for rule in excluded))
    if not 0 < len(left) <= _MAX_JOBS:
        raise ConfigError(f"{path.name}: {len(left)} jobs; expected 1 to {_MAX_JOBS}")
    for plan in left:
        if len(plan.job.name) > _MAX_NAME:
            raise ConfigError(
                f"{path.name}: the job {plan.job.name} has a name of {len(plan.job.name)} "
                f"characters; expected at most {_MAX_NAME}: choose shorter names"
            )
    return Matrix(sha256(data), left, budgets, tolerances)


def _unique(fields: Fields, key: str, read: Callable[[Fields], Entry]) -> tuple[Entry, ...]:
    entries = fields.parts(key, read)
    if not entries:
        raise ConfigError(f"{fields.where}: '{key}' lists nothing; name at least one")
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{fields.where}: '{key}' has two entries with the name '{name}'")
    return entries


def _model(fields: Fields, folder: Path) -> ModelEntry:
    file = fields.text("file")
    data, labels = fields.optional_text("data"), fields.optional_text("labels")
    return ModelEntry(
        name=fields.text("name", NAME),
        file=None if file == EMBEDDED else folder / file,
        data=None if data is None else folder / data,
        labels=None if labels is None else folder / labels,
        limit=fields.number("limit", 1, 1_000_000, default=100),
    )


def _board(fields: Fields) -> BoardEntry:
    name = fields.text("name", NAME)
    pairs = fields.number("round_pairs", 0, 100, default=0)
    if 0 < pairs < LEAST_PAIRS:
        raise ConfigError(
            f"{fields.where}: 'round_pairs' is {pairs}; expected 0 or at least {LEAST_PAIRS}: "
            "with fewer, no difference can be significant"
        )
    target = fields.optional_text("target") or "cpu"
    if target not in get_args(Target):
        raise ConfigError(f"{fields.where}: 'target' is '{target}'; expected cpu or npu")
    return BoardEntry(
        name=name,
        board=fields.optional_text("board", NAME) or name,
        target="npu" if target == "npu" else "cpu",
        port=fields.optional_text("port"),
        serial_number=fields.optional_text("serial_number"),
        flasher_command=fields.optional_text("flasher_command"),
        place=fields.optional_text("place"),
        limit=fields.number("limit", 1, 1_000_000, default=1_000_000),
        rounds=2 * pairs,
        round_inputs=fields.number("round_inputs", 1, 100_000, default=20),
        timeout_s=fields.number("timeout_s", 1, 86_400, default=1800),
        required=fields.flag("required", default=False),
    )


def _variant(fields: Fields) -> VariantEntry:
    output = fields.optional_text("output") or "int8"
    if output not in ("int8", "int32"):
        raise ConfigError(f"{fields.where}: 'output' is '{output}'; expected int8 or int32")
    return VariantEntry(
        name=fields.text("name", NAME),
        output="int32" if output == "int32" else "int8",
        transpose=fields.flag("transpose", default=False),
        skip_softmax=fields.flag("skip_softmax", default=False),
    )


def _rule(fields: Fields, known: tuple[set[str], ...]) -> Rule:
    names = []
    for key, group in zip(("models", "boards", "variants"), known, strict=True):
        listed = fields.texts(key, NAME, default=())
        for name in listed:
            if name not in group:
                raise ConfigError(
                    f"{fields.where}: '{key}' has '{name}', which the file does not define; known "
                    f"are {', '.join(sorted(group))}"
                )
        names.append(listed)
    return Rule(names[0], names[1], names[2], fields.text("reason"))


def _budget(fields: Fields, known: tuple[set[str], ...]) -> Budget:
    bounds = {key: fields.value(key) for key in ("least", "most")}
    if all(bound is None for bound in bounds.values()):
        raise ConfigError(f"{fields.where}: expected 'least', 'most' or both")
    for key, bound in bounds.items():
        if isinstance(bound, str) or (bound is not None and math.isnan(bound)):
            raise ConfigError(f"{fields.where}: '{key}' is {bound!r}; expected a number")
    least, most = (None if item is None else float(item) for item in bounds.values())
    return Budget(_rule(fields, known), fields.text("metric", NUMBER), least, most)


def _tolerance(fields: Fields, known: tuple[set[str], ...]) -> Tolerance:
    metric = fields.text("metric", NUMBER)
    return Tolerance(_rule(fields, known), metric, fields.real("worse", 0.0, 1.0))
