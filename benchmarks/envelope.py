"""Our constraints against the verdicts of Nordic's compiler library, and our outputs against its
simulator's, on some thousands of legal and borderline layers (envelope_cases.py).

    SDK_EDGE_AI_PATH=/path/to/sdk-edge-ai python benchmarks/envelope.py --answers answers.json
    python benchmarks/envelope.py --answers answers.json --write      # docs/envelope-VERSION.md

Each program is compiled and run by the library in a process of its own. Its answers are kept by the
hash of the Axon binary, so a run that was stopped (`--minutes`) goes on where it ended, and after a
change of the compiler only changed programs are asked again. A model that we refuse is lowered all
the same where that is possible, to learn whether the refusal is needed: it is when the library
refuses the program too, or computes something else than TFLite's reference kernels do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.envelope_cases import FAMILIES, SEED, Case, all_cases  # noqa: E402  # needs the path above
from compiler import (  # noqa: E402
    CompileOptions,
    CompilerError,
    Translation,
    UnsupportedError,
    encode,
    interpret,
    read_tflite,
    swapped_layers,
    verify,
)
from compiler.constraints import check  # noqa: E402
from compiler.lowering import lower  # noqa: E402
from compiler.pipeline import prepare  # noqa: E402
from compiler.transposition import transpose  # noqa: E402
from harness.artefacts import json_bytes, write_bytes  # noqa: E402
from harness.compiled import Source, gather  # noqa: E402
from harness.errors import ConfigError, HarnessError, ToolchainError  # noqa: E402
from harness.layout import from_program, to_program  # noqa: E402
from harness.vendor.codegen import generate  # noqa: E402
from harness.vendor.result_codes import Fault, refusal_of  # noqa: E402
from harness.vendor.sdk import Sdk, find_sdk  # noqa: E402

NAME: Final = "envelope"
TIMEOUT_S: Final = 10.0
TFLITE_LSB: Final = 10
"""What our form may differ from TFLite, which rounds twice; a product multiplies the difference."""
FIXED_POINT_LSB: Final = 16
"""The same behind softmax, sigmoid and tanh, which TFLite feeds from 8 bits and the NPU from 16."""
_FED_FROM_FIXED_POINT: Final = ("LOGISTIC", "TANH", "SOFTMAX")
_CODE: Final = re.compile(r"([A-Z][A-Z_]+[A-Z](?: or [A-Z_]+)?) \((-\d+)\)")


class Verdict(Enum):
    """What became of a case; the value is the table's column."""

    EQUAL = "accepted, outputs equal"
    REFUSED = "refused by both"
    NEEDED = "only we refuse: it computes wrongly"
    TOO_BIG = "too big for its buffers"
    STRICT = "only we refuse: too strict"
    LAX = "only it refuses"
    DIFFERENT = "outputs differ"
    HANGS = "hangs or crashes"


AGREE: Final = (Verdict.EQUAL, Verdict.REFUSED, Verdict.NEEDED, Verdict.TOO_BIG)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the library did with a program.

    refusal: name and code, or empty. failure: how it crashed or that it did not return, or empty.
    differences: layers where its simulator differs from our reference, the softmax aside.
    """

    refusal: str = ""
    code: int = 0
    failure: str = ""
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row: a case, our word, the library's, and the distance to TFLite in LSB (None: unknown).

    rule: which constraint refuses, or empty.
    """

    operator: str
    name: str
    verdict: Verdict
    rule: str
    answer: Answer | None
    tflite_lsb: int | None

    @property
    def far_from_tflite(self) -> bool:
        """Whether we accept the case and do not compute what TFLite does."""
        return self.verdict is Verdict.EQUAL and not _near(self.operator, self.tflite_lsb)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A case in our form. translation is None where there is no form at all."""

    case: Case
    rule: str
    translation: Translation | None


def prepare_case(case: Case) -> Asked:
    """Our verdict, and the program even where we refuse it."""
    options = CompileOptions(NAME, output=case.output, transpose=case.transpose)
    rule = ""
    try:
        source = read_tflite(case.model)
        legal = prepare(source, options)
        violations = check(legal, options)
        rule = violations[0].rule if violations else ""
        lowered = lower(legal, options)
        program = transpose(lowered.program) if case.transpose else lowered.program
        verify(program)
        encode(program)
        if program.input_dims.batch != 1:
            raise UnsupportedError("there are no test vectors of several batches")
    except CompilerError as error:
        return Asked(case, rule or str(error), None)
    except Exception:
        if not rule:
            raise
        return Asked(case, rule, None)  # what the constraints keep away from the lowering
    return Asked(case, rule, Translation(program, source, legal, lowered.output_layers))


def ask(translation: Translation, sdk: Sdk, timeout_s: float = TIMEOUT_S) -> Answer:
    """The library's verdict on a program."""
    compiled = gather(NAME, translation.program, CompileOptions(NAME), Source(NAME, b""))
    try:
        made = generate(compiled, sdk, timeout_s=timeout_s)
    except (UnsupportedError, ToolchainError) as error:
        found = _CODE.search(str(error))
        if found:
            return Answer(refusal=f"{found.group(1)} ({found.group(2)})", code=int(found.group(2)))
        return Answer(failure=str(error).split(";", maxsplit=1)[0])
    return Answer(
        differences=tuple(
            f"layer {item.layer} ({item.op}): {item.max_lsb}"
            for item in made.disagreements
            if not item.approximation
        )
    )


def tflite_distance(asked: Asked) -> int | None:
    """Largest difference between our reference and TFLite's, in LSB of an int8 output.

    None for int32 outputs and where TFLite does not take the model.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    translation, case = asked.translation, asked.case
    if translation is None or case.output != "int8":
        return None
    interpreter = Interpreter(
        model_content=case.model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    try:
        interpreter.allocate_tensors()
        source = interpreter.get_input_details()[0]
        inputs = _random_input(tuple(int(n) for n in source["shape"]))
        interpreter.set_tensor(source["index"], inputs)
        interpreter.invoke()
        expected = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
        return _distance(translation, inputs, expected, transposed=case.transpose)
    except (RuntimeError, ValueError, HarnessError, CompilerError):
        return None


def _random_input(shape: tuple[int, ...]) -> npt.NDArray[np.int8]:
    return np.random.default_rng(SEED).integers(-128, 128, shape).astype(np.int8)


def _distance(
    translation: Translation,
    inputs: npt.NDArray[np.int8],
    expected: Sequence[npt.NDArray[Any]],
    *,
    transposed: bool,
) -> int:
    program = translation.program
    swapped = swapped_layers(program) if transposed else (False,) * len(program.layers)
    first = next(i for i, x in enumerate(program.layers) if x.inputs[0].producer == -1)
    maps = to_program(inputs[:1], program.input_dims, transposed=transposed and swapped[first])
    layers = interpret(program, maps).layers
    worst = 0
    for layer, wanted in zip(translation.output_layers, expected, strict=True):
        given = from_program(layers[layer], transposed=swapped[layer])
        worst = max(worst, int(np.abs(given.ravel().astype(int) - wanted.ravel()).max()))
    return worst


def judge(asked: Asked, answer: Answer | None, tflite_lsb: int | None) -> Outcome:
    """Our verdict beside the library's. No answer: there was no program to ask about."""
    verdict = (
        _accepted(answer) if not asked.rule and answer else _refused(asked, answer, tflite_lsb)
    )
    return Outcome(asked.case.operator, asked.case.name, verdict, asked.rule, answer, tflite_lsb)


def _accepted(answer: Answer) -> Verdict:
    if answer.failure:
        return Verdict.HANGS
    if answer.refusal:
        big = refusal_of(answer.code).fault is Fault.TOO_BIG
        return Verdict.TOO_BIG if big else Verdict.LAX
    return Verdict.DIFFERENT if answer.differences else Verdict.EQUAL


def _refused(asked: Asked, answer: Answer | None, tflite_lsb: int | None) -> Verdict:
    if answer is None or answer.failure or answer.refusal:
        return Verdict.REFUSED
    right = not answer.differences and _near(asked.case.operator, tflite_lsb)
    return Verdict.STRICT if right else Verdict.NEEDED


def _near(operator: str, tflite_lsb: int | None) -> bool:
    """Whether a distance is rounding. An unknown one is not held against a case."""
    bound = FIXED_POINT_LSB if operator in _FED_FROM_FIXED_POINT else TFLITE_LSB
    return tflite_lsb is None or tflite_lsb <= bound


class Answers:
    """The library's answers by the hash of the Axon binary, in a file if one is named."""

    def __init__(self, path: Path | None, sdk: Sdk) -> None:
        self._path, self._sdk = path, sdk
        self._known: dict[str, Answer] = {}
        if path is not None and path.is_file():
            self._known = _stored(path, sdk)

    def __len__(self) -> int:
        return len(self._known)

    def of(self, translation: Translation) -> Answer:
        """Known, or asked now."""
        key = hashlib.sha256(encode(translation.program)).hexdigest()
        if key not in self._known:
            self._known[key] = ask(translation, self._sdk)
        return self._known[key]

    def save(self) -> None:
        """Write the file whole."""
        if self._path is not None:
            answers = {key: asdict(answer) for key, answer in sorted(self._known.items())}
            stored = {"versions": self._sdk.facts(), "answers": answers}
            write_bytes(self._path, json_bytes(stored))


def _stored(path: Path, sdk: Sdk) -> dict[str, Answer]:
    """Answers of the same versions; none of others. Raises ConfigError for another file."""
    try:
        stored = json.loads(path.read_text())
        if stored["versions"] != sdk.facts():
            return {}
        return {
            key: Answer(**{**value, "differences": tuple(value["differences"])})
            for key, value in stored["answers"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} holds no answers of an earlier sweep ({error!r}): name another file"
        ) from error


def sweep(cases: Iterable[Case], answers: Answers, minutes: float) -> list[Outcome]:
    """Outcomes in order, as far as the time allows."""
    end = time.monotonic() + 60 * minutes
    outcomes = []
    for number, case in enumerate(cases, start=1):
        if time.monotonic() > end:
            break
        asked = prepare_case(case)
        answer = None if asked.translation is None else answers.of(asked.translation)
        outcomes.append(judge(asked, answer, tflite_distance(asked)))
        if number % 100 == 0:
            answers.save()
    answers.save()
    return outcomes


def sample(cases: Sequence[Case], count: int) -> list[Case]:
    """About `count` cases, evenly from the whole list."""
    return list(cases[:: max(1, len(cases) // count)])


# The table


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Markdown: one row per operator, one column per verdict, and how far TFLite is away."""
    columns = [verdict.value for verdict in Verdict]
    lines = [
        f"| operator | cases | {' | '.join(columns)} | farthest from TFLite |",
        "|---|" + "---|" * (len(columns) + 2),
    ]
    for operator in dict.fromkeys(outcome.operator for outcome in outcomes):
        lines.append(_row(operator, [item for item in outcomes if item.operator == operator]))
    return [*lines, _row("all", outcomes)]


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.verdict for outcome in outcomes)
    accepted = [o for o in outcomes if o.verdict is Verdict.EQUAL and o.tflite_lsb is not None]
    farthest = max((outcome.tflite_lsb or 0 for outcome in accepted), default=0)
    cells = [str(counts[verdict]) for verdict in Verdict]
    return f"| {name} | {len(outcomes)} | {' | '.join(cells)} | {farthest} LSB |"


def listing(outcomes: Sequence[Outcome]) -> list[str]:
    """One line for each case where the two disagree, or where we are far from TFLite."""
    lines = []
    for outcome in outcomes:
        if outcome.verdict in AGREE and not outcome.far_from_tflite:
            continue
        answer = outcome.answer or Answer()
        said = answer.refusal or answer.failure or "; ".join(answer.differences) or "accepted"
        ours = f"; our rule: {outcome.rule}" if outcome.rule else ""
        far = "" if outcome.tflite_lsb is None else f"; {outcome.tflite_lsb} LSB from TFLite"
        place = f"{outcome.operator} {outcome.name}"
        lines.append(f"- {place}: {outcome.verdict.value} ({said}{ours}{far})")
    return lines


def document(outcomes: Sequence[Outcome], sdk: Sdk) -> str:
    """The page for docs/."""
    from harness.golden import runtime_version

    disagreements = listing(outcomes) or ["None."]
    return "\n".join(
        [
            f"# Envelope: our constraints and sdk-edge-ai {sdk.version}",
            "",
            _INTRODUCTION.format(
                sdk=sdk.version,
                library=sdk.compiler_version,
                driver=sdk.driver_version,
                seed=SEED,
                cases=len(outcomes),
                tflite=runtime_version(),
            ),
            *table(outcomes),
            "",
            "## Disagreements",
            "",
            *disagreements,
            "",
        ]
    )


_INTRODUCTION: Final = """\
Written by `benchmarks/envelope.py --write`; do not edit. {cases} legal and borderline models
(seed {seed}) were compiled by axonrig, then by Nordic's compiler library {library}
(driver {driver}, sdk-edge-ai {sdk}), and run in its simulator (`vendor-sim`) on one random
input. Outputs are compared bit for bit, layer by layer, with our reference; softmax may differ as
[vendor-backend.md](vendor-backend.md) says. int8 outputs are also compared with {tflite}, reference
kernels. Nothing here ran on silicon.

- *refused by both*: we refuse, and the library refuses our form too, hangs on it, or there is none.
- *it computes wrongly*: the library takes our form, but its values are not TFLite's or not ours.
- *too big*: the library ran out of one of its buffers; that depends on the whole model.
- *too strict*: the library takes our form and the values are right; we refuse all the same.
- *only it refuses*, *outputs differ*, *hangs or crashes*: faults of axonrig.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the sweep. 0: no disagreement that is a fault of ours; 1: there is one, or no time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--answers", type=Path, help="file that keeps the library's answers")
    parser.add_argument("--minutes", type=float, default=15.0, help="stop after this time")
    parser.add_argument("--sample", type=int, metavar="N", help="about N cases only")
    parser.add_argument("--operator", help="cases of this operator only")
    parser.add_argument("--write", action="store_true", help="write docs/envelope-VERSION.md")
    options = parser.parse_args(words)
    try:
        return _run(options)
    except HarnessError as error:
        print(f"envelope: {error}", file=sys.stderr)
        return int(error.exit_code)


def _run(options: argparse.Namespace) -> int:
    if options.write and (options.sample or options.operator):
        raise ConfigError("--write needs all cases: leave --sample and --operator out")
    sdk = find_sdk()
    cases = [case for case in all_cases() if options.operator in (None, case.operator)]
    if not cases:
        known = ", ".join(family.operator for family in FAMILIES)
        raise ConfigError(f"no cases of {options.operator!r}; --operator takes one of {known}")
    if options.sample:
        cases = sample(cases, options.sample)
    outcomes = sweep(cases, Answers(options.answers, sdk), options.minutes)
    print("\n".join([*table(outcomes), "", *listing(outcomes)]))
    if len(outcomes) < len(cases):
        print(f"envelope: {len(cases) - len(outcomes)} cases left, no time", file=sys.stderr)
        return 1
    if options.write:
        path = ROOT / "docs" / f"envelope-{sdk.version}.md"
        write_bytes(path, document(outcomes, sdk).encode())
    faults = (Verdict.LAX, Verdict.DIFFERENT, Verdict.HANGS)
    return int(any(outcome.verdict in faults for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
