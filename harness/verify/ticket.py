"""What goes into a support ticket: the smallest model, its data, and a text that explains them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import dump, encode
from harness.artefacts import npy_bytes, sha256
from harness.report.versions import versions
from harness.terminal_text import printable
from harness.verify.minimise import NAME, Minimal
from harness.verify.parties import BoardParty
from harness.verify.study import Study

Array = npt.NDArray[Any]

README: Final = f"{NAME}_README.md"


def ticket_files(minimal: Minimal, whole: Study) -> dict[str, bytes]:
    """Files by name. Expected is what the left party gave, actual what the right one did."""
    case = minimal.case
    left, right = _outputs(minimal)
    files = {
        f"{NAME}.tflite": case.model.data,
        f"{NAME}.bin": encode(case.program),
        f"{NAME}_input.npy": npy_bytes(case.inputs),
        f"{NAME}_expected.npy": npy_bytes(left),
        f"{NAME}_actual.npy": npy_bytes(right),
    }
    return {**files, README: _text(minimal, whole, files).encode("utf-8")}


def minimal_facts(minimal: Minimal) -> dict[str, Any]:
    """The entry `minimised` of verify.json."""
    case, pair = minimal.case, minimal.pair
    position, expected, actual = _worst(minimal)
    return {
        "between": list(pair.names),
        "meaning": pair.meaning.value,
        "operators": list(minimal.operators),
        "layers": [layer.op.name.lower() for layer in case.program.layers],
        "input": list(case.inputs.shape),
        "outputs": [list(tensor.shape) for tensor in case.targets],
        "bytes": len(case.model.data),
        "values_differing": pair.differing,
        "max_lsb": pair.comparison.max_lsb,
        "position": list(position),
        "expected": expected,
        "actual": actual,
        "candidates": minimal.tried,
        "steps": list(minimal.steps),
    }


def _outputs(minimal: Minimal) -> tuple[Array, Array]:
    """The output that differs most, [N, ...], from both."""
    sides = zip(minimal.left.outputs, minimal.right.outputs, strict=True)
    return max(sides, key=lambda pair: int(_gap(*pair).max()))


def _gap(left: Array, right: Array) -> npt.NDArray[np.int64]:
    return np.asarray(np.abs(left.astype(np.int64) - right.astype(np.int64)))


def _worst(minimal: Minimal) -> tuple[tuple[int, ...], int, int]:
    """Where the difference is largest, sample first, with both values there."""
    left, right = _outputs(minimal)
    gap = _gap(left, right)
    position = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    return position, int(left[position]), int(right[position])


def _text(minimal: Minimal, whole: Study, files: Mapping[str, bytes]) -> str:
    facts, case = minimal_facts(minimal), minimal.case
    left, right = minimal.pair.names
    backends = {
        item.party.name: printable(f"{item.answer.backend} (source: {item.answer.source})")
        for item in whole.attendance
        if item.answer is not None
    }
    lines = [
        f"# {left} and {right} disagree on {', '.join(minimal.operators)}",
        "",
        f"A model of {len(case.model.data)} bytes on which two executors disagree. Meaning: "
        f"{facts['meaning']}. {minimal.pair.meaning.text}",
        "",
        f"- {facts['values_differing']} of {minimal.pair.values} output values differ, by at most "
        f"{facts['max_lsb']} LSB.",
        f"- The largest difference is at {facts['position']} (sample first, then the model's "
        f"layout): {left} gives {facts['expected']}, {right} gives {facts['actual']}.",
        f"- It was cut from {_code(whole.case.model.path.name)} "
        f"(sha256 {whole.case.model.sha256}): "
        f"{'; '.join(facts['steps']) or 'nothing smaller shows the difference'}.",
        f"- {facts['candidates']} candidates were compiled, run and judged.",
        "",
        "## Executors",
        "",
        f"- expected: {left}, {backends[left]}",
        f"- actual: {right}, {backends[right]}",
        f"- {', '.join(f'{name} {version}' for name, version in versions().items())}",
        "",
        "## Files",
        "",
        "| file | content | sha256 |",
        "|---|---|---|",
        *(f"| `{name}` | {_CONTENT[name]} | {sha256(data)} |" for name, data in files.items()),
        "",
        "## Again",
        "",
        f"    {_command(minimal)}",
        "",
        "## Program",
        "",
        *(f"    {line}".rstrip() for line in dump(case.program).splitlines()),
        "",
    ]
    return "\n".join(lines)


def _code(text: str) -> str:
    """Text of others as Markdown that shows it and nothing else."""
    shown = printable(text).replace("`", "'")
    return f"`{shown}`"


def _command(minimal: Minimal) -> str:
    """What shows the disagreement again."""
    parties = (minimal.pair.left, minimal.pair.right)
    boards = [party.selection for party in parties if isinstance(party, BoardParty)]
    options = "".join(f" --board {board.name}" for board in boards)
    if any(board.target == "npu" for board in boards):
        options += " --target npu"
    return f"axonrig verify {NAME}.tflite --data {NAME}_input.npy{options}"


_CONTENT: Final = {
    f"{NAME}.tflite": "the model",
    f"{NAME}.bin": "the Axon binary that axonrig compiles from it",
    f"{NAME}_input.npy": "int8 samples in the model's layout",
    f"{NAME}_expected.npy": "outputs of the first executor, in the model's layout",
    f"{NAME}_actual.npy": "outputs of the second executor",
}
