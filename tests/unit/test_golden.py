"""Host TFLite outputs: named kernel sets, and a cache that never changes a result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import golden as golden_module
from harness.artefacts import npz_bytes
from harness.cache import cache_dir
from harness.errors import ConfigError
from harness.golden import KernelSet, describe, golden_outputs, trace
from harness.model_file import DEFAULT_DATA, DEFAULT_MODEL

MODEL = DEFAULT_MODEL.read_bytes()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    with np.load(DEFAULT_DATA) as archive:
        signed = archive["x"][:70].astype(np.int16) - 128
    return np.asarray(signed, dtype=np.int8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "golden"


def test_graph_of_the_embedded_model() -> None:
    graph = describe(MODEL)
    assert graph.input.shape == (32, 32, 3)
    assert graph.input.dtype == "int8"
    assert [tensor.shape for tensor in graph.outputs] == [(10,)]
    assert graph.outputs[0].elements == 10
    assert graph.operators[-1].name == "SOFTMAX"
    assert graph.device_outputs(skip_softmax=True)[0].index == graph.operators[-1].inputs[0]


def test_samples_keep_their_order_across_threads(images: np.ndarray) -> None:
    whole = golden_outputs(MODEL, images, use_cache=False).outputs[0]
    one_by_one = [golden_outputs(MODEL, images[i : i + 1]).outputs[0] for i in range(0, 70, 7)]
    assert whole.shape == (70, 10)
    assert whole.dtype == np.int8
    assert np.array_equal(whole[::7], np.concatenate(one_by_one))


def test_kernel_sets_are_named_and_differ_by_rounding_only(images: np.ndarray) -> None:
    reference = golden_outputs(MODEL, images, KernelSet.REFERENCE)
    optimised = golden_outputs(MODEL, images, KernelSet.OPTIMISED)
    assert (reference.name, optimised.name) == ("tflite-reference", "tflite-optimised")
    assert reference.runtime.startswith("ai-edge-litert ")
    assert not np.array_equal(reference.outputs[0], optimised.outputs[0])
    same = reference.outputs[0].argmax(1) == optimised.outputs[0].argmax(1)
    assert same.mean() > 0.95


def test_second_call_takes_the_cache(
    images: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = golden_outputs(MODEL, images[:3])
    assert not first.cached
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(golden_module, "_compute", lambda *_: pytest.fail("computed again"))
    calls: list[tuple[int, int]] = []
    second = golden_outputs(MODEL, images[:3], progress=lambda *step: calls.append(step))
    assert second.cached
    assert calls == [(3, 3)]
    assert second.tensors == first.tensors
    assert np.array_equal(first.outputs[0], second.outputs[0])


def test_other_data_model_or_kernels_are_other_entries(images: np.ndarray, cache: Path) -> None:
    golden_outputs(MODEL, images[:2])
    golden_outputs(MODEL, images[2:4])
    golden_outputs(MODEL, images[:2], KernelSet.OPTIMISED)
    golden_outputs(MODEL + b"\0", images[:2])
    golden_outputs(MODEL, images[:2], tensors=describe(MODEL).device_outputs(skip_softmax=True))
    assert len(list(cache.iterdir())) == 5


def _facts(entry: Path) -> np.ndarray:
    with np.load(entry) as archive:
        return np.asarray(archive["facts"])


def _no_tensors(entry: Path) -> bytes:
    facts = json.loads(_facts(entry).tobytes()) | {"tensors": []}
    return npz_bytes({"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)})


DAMAGES: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda entry: entry.read_bytes()[:-40],
    "flipped": lambda entry: (
        entry.read_bytes()[:200] + bytes([entry.read_bytes()[200] ^ 1]) + entry.read_bytes()[201:]
    ),
    "noise": lambda _: b"PK\x03\x04 this is no archive",
    "no tensors": _no_tensors,
    "shape": lambda entry: npz_bytes(
        {"facts": _facts(entry), "output_0": np.zeros((1, 10), np.int8)}
    ),
    "type": lambda entry: npz_bytes(
        {"facts": _facts(entry), "output_0": np.zeros((2, 10), np.int16)}
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_entry_is_computed_again(damage: str, images: np.ndarray, cache: Path) -> None:
    first = golden_outputs(MODEL, images[:2])
    (entry,) = cache.iterdir()
    entry.write_bytes(DAMAGES[damage](entry))
    again = golden_outputs(MODEL, images[:2])
    assert not again.cached
    assert np.array_equal(first.outputs[0], again.outputs[0])
    assert golden_outputs(MODEL, images[:2]).cached


def test_cache_that_cannot_be_written_changes_nothing(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "file"))
    assert golden_outputs(MODEL, images[:2]).outputs[0].shape == (2, 10)


def test_cache_folder_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_dir("golden") == tmp_path / "cache" / "golden"
    monkeypatch.delenv("AXONRIG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_dir("golden") == Path("/x/axonrig/golden")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert cache_dir("golden") == Path("/h/.cache/axonrig/golden")


def test_intermediate_tensors_are_what_the_trace_shows(images: np.ndarray) -> None:
    (logits,) = describe(MODEL).device_outputs(skip_softmax=True)
    golden = golden_outputs(MODEL, images[:1], tensors=(logits,))
    traced = {tensor.info.index: tensor for tensor in trace(MODEL, images[:1])}
    assert traced[logits.index].operator == "FULLY_CONNECTED"
    assert np.array_equal(traced[logits.index].values, golden.outputs[0][0])
    last = golden_outputs(MODEL, images[:1])
    assert np.array_equal(traced[last.tensors[0].index].values, last.outputs[0][0])


def test_progress_counts_samples(images: np.ndarray) -> None:
    calls: list[tuple[int, int]] = []
    golden_outputs(MODEL, images, use_cache=False, progress=lambda *step: calls.append(step))
    assert calls == [(32, 70), (64, 70), (70, 70)]


@pytest.mark.parametrize("data", [b"", b"no model at all", MODEL[:1000]])
def test_a_model_that_the_runtime_refuses_is_one_sentence(data: bytes) -> None:
    with pytest.raises(ConfigError, match="host TFLite cannot run the model: ") as failure:
        describe(data)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("inputs", [np.zeros((1, 8, 8, 3), np.int8), np.zeros((1, 32, 32, 3))])
def test_inputs_that_do_not_fit_are_one_sentence(inputs: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="host TFLite cannot run the model"):
        golden_outputs(MODEL, inputs)
