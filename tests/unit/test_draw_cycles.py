"""The random layers that the cycle model is tested on."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from benchmarks import draw_cycles
from compiler import AxonProgram, differences, verify
from compiler.arch import load_arch
from compiler.cycles import layer_parts
from compiler.shapes import layer_shape
from tests.support.vendor_sdk import real_sdk


def _with_q3_12(program: AxonProgram) -> AxonProgram:
    """The program with the input of its last layer stored as q3.12. Sigmoids are drawn with another
    one, whose conversion costs cycles and gives values that are not defined."""
    *others, source, last = program.layers
    source = replace(source, output_multiplier=1 << 29, output_shift=17)
    return replace(program, layers=(*others, source, last))


@pytest.mark.parametrize("operator", draw_cycles.DRAWS)
def test_a_seed_draws_the_same_sound_layers(operator: str) -> None:
    first = list(islice(draw_cycles.programs(operator, 7), 20))
    again = list(islice(draw_cycles.programs(operator, 7), 20))
    for program, same in zip(first, again, strict=True):
        verify(_with_q3_12(program) if operator == "sigmoid" else program)
        assert not list(differences(program, same))
        shape = layer_shape(program, len(program.layers) - 1)
        assert layer_parts(shape, load_arch()).cycles > 0


def test_without_an_sdk_it_says_why_it_does_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SDK_EDGE_AI_PATH", raising=False)
    assert draw_cycles.main(["--layers", "1"]) == 0
    assert "skipped: SDK_EDGE_AI_PATH is not set" in capsys.readouterr().err


def test_drawn_layers_are_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    sdk = real_sdk()
    for operator in ("conv", "fc", "mul"):
        drawn, _, _ = draw_cycles.measure(operator, 11, 10, sdk)
        assert sorted(abs(item.error(load_arch())) for item in drawn)[5] < 0.03, operator
    assert draw_cycles.main(["--operator", "fc", "--layers", "2"]) == 0
    assert "fc         0 refused" in capsys.readouterr().out
