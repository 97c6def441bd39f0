"""The compiler's YAML job file becomes `CompileJob`s.

Nordic's own job files are read unmodified (docs/job-files.md lists every key). Nothing here opens
the files that a job names.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import yaml

from compiler.errors import ModelFormatError
from compiler.options import MODEL_NAME_PATTERN
from compiler.plain_yaml import MAX_BYTES, TAG, compose

MAX_VECTOR_INDEX: Final = 10**9

LabelsFormat = Literal["just_labels", "last_layer_vector", "edge_impulse_labels", "custom"]
Conv2dSetting = Literal["local_psum", "inner", "outer"]
PsumPlacement = Literal["interlayer_buffer", "dedicated_memory"]

LABELS_FORMATS: Final[dict[str, LabelsFormat]] = {
    "just_labels": "just_labels",
    "last_layer_vector": "last_layer_vector",
    "edge_impulse_labels": "edge_impulse_labels",
    "custom": "custom",
}
CONV2D_SETTINGS: Final[dict[str, Conv2dSetting]] = {
    "local_psum": "local_psum",
    "inner": "inner",
    "outer": "outer",
}
PSUM_PLACEMENTS: Final[dict[str, PsumPlacement]] = {
    "interlayer_buffer": "interlayer_buffer",
    "dedicated_memory": "dedicated_memory",
    "dedicated_buffer": "dedicated_memory",  # the reference page's word for it
}
LOG_LEVELS: Final[dict[str, int]] = {
    "debug": 10,
    "info": 20,
    "warn": 30,
    "error": 40,
    "critical": 50,
}
"""Names and the numbers that travel in the binary."""

USED_KEYS: Final = frozenset(
    {
        "model_name",
        "tflite_model",
        "float_model",
        "train_data",
        "test_data",
        "test_labels",
        "test_labels_format",
        "classification_labels",
        "test_vectors",
        "header_file_test_vector_cnt",
        "transpose_kernel",
        "disable_op_quantization",
        "skip_softmax_op",
        "normalize_scaleshift",
        "conv2d_setting",
        "psum_buffer_placement",
        "run_all_variants",
        "interlayer_buffer_size",
        "psum_buffer_size",
        "op_radix",
        "user_handle_accuracy_results",
        "user_handle_test_labels",
        "log_level",
        "precision_threshold",
        "precision_margin",
        "reshape_input",
        "get_quantized_data",
    }
)
IGNORED_KEYS: Final[dict[str, str]] = {
    "constants_location": "constants always live in non-volatile memory",
    "no_striping": "the code generator decides about striping",
    "cpu_op_codes_list": "every CPU operator is always available",
    "test_vectors_list": "it only names a default; test_vectors is the key that counts",
    "perform_bit_comparison": "outputs are always compared",
    "get_histogram_plot": "the histogram of differences is always printed",
    "generate_sim_env_hdrs": "headers for the vendor's simulator are not part of a program",
}
"""Keys that job files carry and that change nothing here, with the reason."""
ALIASES: Final = {"conv2d_settings": "conv2d_setting"}

_AXES: Final = {
    "softmax": "skip_softmax_op",
    "skip_softmax_op": "skip_softmax_op",
    "conv2d_settings": "conv2d_setting",
    "conv2d_setting": "conv2d_setting",
    "normalized_scaleshifts": "normalize_scaleshift",
    "normalize_scaleshift": "normalize_scaleshift",
    "op_quantization": "disable_op_quantization",
    "disable_op_quantization": "disable_op_quantization",
    "transpose_kernel": "transpose_kernel",
}
_ALL_AXES: Final = frozenset({"disable_op_quantization", "transpose_kernel"})
_C_IDENTIFIER: Final = re.compile(MODEL_NAME_PATTERN)
_HANDLER: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\.([A-Za-z_][A-Za-z0-9_]*)")
_VECTORS: Final = re.compile(r"\s*(\d{1,12})\s*(?:-\s*(\d{1,12})\s*)?")
_TRUTH: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "false": False,
    "no": False,
    "off": False,
}
_BOTH: Final = (False, True)

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to compile a job's model.

    name: the job's model name plus a suffix for every switch that the job varies.
    """

    name: str
    output: Literal["int8", "int32"] = "int8"
    transpose: bool = False
    skip_softmax: bool = False
    normalize_scaleshift: bool = True
    conv2d_setting: Conv2dSetting = "local_psum"
    psum_placement: PsumPlacement = "interlayer_buffer"


@dataclass(frozen=True, slots=True)
class CompileJob:
    """One model of a job file. Paths are absolute or relative to the working directory.

    test_vectors: ranges of sample indices, None for the whole test set.
    precision_threshold, precision_margin: fractions, 0..1; 0 switches them off.
    notes: what the user should know about keys that were read but change nothing.
    """

    section: str
    folder: Path
    model_name: str
    tflite_model: Path | None
    float_model: Path | None
    train_data: Path | None
    test_data: Path | None
    test_labels: Path | None
    test_labels_format: LabelsFormat | None
    classification_labels: tuple[str, ...]
    test_vectors: tuple[range, ...] | None
    header_vector_count: int
    interlayer_limit_bytes: int
    psum_limit_bytes: int
    op_radix: int
    transpose_kernel: tuple[bool, ...]
    disable_op_quantization: tuple[bool, ...]
    skip_softmax_op: tuple[bool, ...]
    normalize_scaleshift: tuple[bool, ...]
    conv2d_setting: tuple[Conv2dSetting, ...]
    psum_placement: tuple[PsumPlacement, ...]
    user_handle_accuracy_results: str | None
    user_handle_test_labels: str | None
    log_level: str
    precision_threshold: float
    precision_margin: float
    reshape_input: bool
    get_quantized_data: bool
    notes: tuple[str, ...] = ()


def read_jobs(path: Path, *, lenient: bool = False) -> tuple[CompileJob, ...]:
    """Every model of the job file at `path`, in the order of the file.

    `lenient` turns unknown keys into notes. Raises ModelFormatError (one sentence with file, line,
    section and key) when the file is no job file, and OSError when it cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    return parse_jobs(data, path, lenient=lenient)


def parse_jobs(data: bytes, path: Path, *, lenient: bool = False) -> tuple[CompileJob, ...]:
    """As `read_jobs`, from bytes; `path` is used for messages and as the base of relative paths."""
    root = compose(data, path)
    jobs = [
        _job(_section(path, name, node, lenient=lenient))
        for name, node in list(_sections(root, path))
        if not _is_blank(node)
    ]
    if not jobs:
        raise ModelFormatError(
            f"{path}: no model to compile: every section is empty; "
            "fill in model_name and tflite_model"
        )
    seen: dict[str, str] = {}
    for job in jobs:
        other = seen.setdefault(job.model_name.lower(), job.section)
        if other != job.section:
            raise ModelFormatError(
                f"{path}: sections '{other}' and '{job.section}' both have the model_name "
                f"'{job.model_name}' and would write the same files; rename one"
            )
    return tuple(jobs)


def job_variants(job: CompileJob) -> tuple[Variant, ...]:
    """Every permutation of the job's variant switches; one variant carries the plain model name.

    Suffixes are those of Nordic's compiler, so that generated symbols keep their names.
    """
    found: dict[str, Variant] = {}
    for conv2d, psum, skip, normalize, transpose, raw in itertools.product(
        job.conv2d_setting,
        job.psum_placement,
        job.skip_softmax_op,
        job.normalize_scaleshift,
        job.transpose_kernel,
        job.disable_op_quantization,
    ):
        dedicated = conv2d != "local_psum" and psum == "dedicated_memory"
        suffixes = (
            (job.conv2d_setting, _CONV2D_SUFFIX[conv2d]),
            (job.psum_placement, "" if conv2d == "local_psum" else _PSUM_SUFFIX[psum]),
            (job.skip_softmax_op, "_softmax_skipped" if skip else "_softmax_enabled"),
            (
                job.normalize_scaleshift,
                "_normalized_scaleshift" if normalize else "_non_normalized_scaleshifts",
            ),
            (job.transpose_kernel, "_transposed_kernel" if transpose else ""),
            (
                job.disable_op_quantization,
                "_op_quantization_disabled" if raw else "_op_quantization_enabled",
            ),
        )
        name = job.model_name + "".join(text for axis, text in suffixes if len(axis) > 1)
        found.setdefault(
            name,
            Variant(
                name=name,
                output="int32" if raw else "int8",
                transpose=transpose,
                skip_softmax=skip,
                normalize_scaleshift=normalize,
                conv2d_setting=conv2d,
                psum_placement="dedicated_memory" if dedicated else "interlayer_buffer",
            ),
        )
    return tuple(found.values())


_CONV2D_SUFFIX: Final = {
    "local_psum": "_local_psum",
    "inner": "_input_inner",
    "outer": "_input_outer",
}
_PSUM_SUFFIX: Final = {
    "interlayer_buffer": "_psum_in_interlayer_buf",
    "dedicated_memory": "_psum_in_psum_buf",
}


def select_vectors(chosen: tuple[range, ...] | None, samples: int) -> npt.NDArray[np.int64]:
    """Indices [n] into a test set of `samples`, in the order listed, each once.

    Ranges include both ends and stop at the end of the set, as job files commonly say `[0-10]` for
    sets of any size. Raises ModelFormatError for a single index outside the set, and when nothing
    is left.
    """
    if chosen is None:
        return np.arange(samples, dtype=np.int64)
    for part in chosen:
        if len(part) == 1 and part.start >= samples:
            raise ModelFormatError(
                f"test_vectors names sample {part.start}, and the test data hold {samples} "
                f"(0 to {samples - 1})"
            )
    kept = (range(part.start, min(part.stop, samples)) for part in chosen)
    picked = np.fromiter(dict.fromkeys(itertools.chain.from_iterable(kept)), dtype=np.int64)
    if picked.size == 0:
        first = min((part.start for part in chosen), default=0)
        raise ModelFormatError(
            f"test_vectors selects nothing: it starts at sample {first} and the test data hold "
            f"{samples} (0 to {samples - 1})"
        )
    return picked


def is_c_identifier(name: str) -> bool:
    """Whether `name` can be part of file names and C symbols, as a model name must."""
    return _C_IDENTIFIER.fullmatch(name) is not None


# --- sections and keys ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Section:
    """One model's keys, lower-cased, empty ones left out."""

    path: Path
    name: str
    nodes: dict[str, yaml.Node]
    notes: tuple[str, ...]

    def fail(self, key: str, text: str) -> ModelFormatError:
        node = self.nodes.get(key)
        line = f":{node.start_mark.line + 1}" if node is not None else ""
        return ModelFormatError(f"{self.path}{line}: '{self.name}', {key}: {text}")

    def text(self, key: str) -> str | None:
        node = self.nodes.get(key)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            raise self.fail(key, "expected one value, found a list or mapping")
        if "\0" in node.value:
            raise self.fail(key, "holds a NUL character")
        return str(node.value).strip()

    def file(self, key: str) -> Path | None:
        text = self.text(key)
        return None if text is None else self.path.parent / text

    def flag(self, key: str) -> bool:
        found = self.flags(key, False)
        if len(found) != 1:
            raise self.fail(key, "expected True or False, found a list")
        return found[0]

    def flags(self, key: str, default: bool) -> tuple[bool, ...]:
        found = []
        for node in self._items(key):
            word = node.value.strip().lower()
            if word not in _TRUTH:
                raise self.fail(key, f"expected True or False, found {_shown(node)}")
            found.append(_TRUTH[word])
        return tuple(dict.fromkeys(found)) or (default,)

    def choices(self, key: str, known: dict[str, Choice], default: Choice) -> tuple[Choice, ...]:
        found = []
        for node in self._items(key):
            value = known.get(node.value.strip().lower())
            if value is None:
                listed = ", ".join(known)
                raise self.fail(key, f"expected one of {listed}, found {_shown(node)}")
            found.append(value)
        return tuple(dict.fromkeys(found)) or (default,)

    def choice(self, key: str, known: dict[str, Choice]) -> Choice | None:
        if key not in self.nodes:
            return None
        first = next(iter(known.values()))
        found = self.choices(key, known, first)
        if len(found) != 1:
            raise self.fail(key, "expected one value, found a list")
        return found[0]

    def integer(self, key: str, default: int, highest: int) -> int:
        text = self.text(key)
        if text is None:
            return default
        if re.fullmatch(r"\d[\d_]{0,15}", text, re.ASCII) is None or int(text) > highest:
            raise self.fail(key, f"expected an integer from 0 to {highest}, found '{text[:40]}'")
        return int(text)

    def number(self, key: str) -> float | None:
        text = self.text(key)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            raise self.fail(key, f"expected a number, found '{text[:40]}'")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """The words as written: an unquoted `yes` is a label, not a truth value."""
        labels = tuple(str(node.value) for node in self._items(key))
        if any(not label or "\0" in label for label in labels):
            raise self.fail(key, "a label is empty or holds a NUL character")
        return labels

    def _items(self, key: str) -> Iterator[yaml.ScalarNode]:
        node = self.nodes.get(key)
        if node is None:
            return
        for item in node.value if isinstance(node, yaml.SequenceNode) else (node,):
            if not isinstance(item, yaml.ScalarNode):
                raise self.fail(key, "expected one value or a list of values")
            yield item


def _sections(root: yaml.Node, path: Path) -> Iterator[tuple[str, yaml.MappingNode]]:
    if not isinstance(root, yaml.MappingNode):
        raise ModelFormatError(f"{path}: expected a mapping of sections, one per model")
    seen: set[str] = set()
    for key, value in root.value:
        where = f"{path}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode) or not key.tag.startswith(TAG):
            raise ModelFormatError(f"{where}: a section's name must be a plain word")
        name = str(key.value)
        if name in seen:
            raise ModelFormatError(f"{where}: section '{name}' appears twice; rename one")
        seen.add(name)
        if name.lower() == "default_values":
            continue
        if _is_null(value):
            continue
        if not isinstance(value, yaml.MappingNode):
            raise ModelFormatError(
                f"{where}: section '{name}' must hold the keys of one model, found {_shown(value)}"
            )
        yield name, value


def _section(path: Path, name: str, node: yaml.MappingNode, *, lenient: bool) -> _Section:
    nodes: dict[str, yaml.Node] = {}
    notes: list[str] = []
    for key, value, merged in _pairs(path, node):
        if merged and (key in nodes or not _is_known(key)):
            continue
        if not _is_known(key):
            text = (
                f"{path}:{value.start_mark.line + 1}: '{name}': unknown key '{key}'{_nearest(key)}"
            )
            if not lenient:
                raise ModelFormatError(text)
            notes.append(text)
            continue
        if _is_null(value):
            continue
        if not _is_plain(value):
            raise ModelFormatError(
                f"{path}:{value.start_mark.line + 1}: '{name}', {key}: "
                "only plain YAML values are accepted, found a tag"
            )
        if key in IGNORED_KEYS:
            notes.append(f"'{name}': {key} changes nothing: {IGNORED_KEYS[key]}")
        nodes[key] = value
    return _Section(path, name, nodes, tuple(notes))


def _pairs(path: Path, node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node, bool]]:
    """(key, value, whether it came by `<<`): the section's own keys first, they win."""
    merges: list[yaml.MappingNode] = []
    seen: set[str] = set()
    for key, value in node.value:
        where = f"{path}:{key.start_mark.line + 1}"
        if key.tag == TAG + "merge":
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if not all(isinstance(source, yaml.MappingNode) for source in sources):
                raise ModelFormatError(f"{where}: '<<' needs a mapping, or a list of them")
            merges.extend(sources)
            continue
        if not isinstance(key, yaml.ScalarNode):
            raise ModelFormatError(f"{where}: a key must be a plain word")
        word = str(key.value).strip().lower()
        word = ALIASES.get(word, word)
        if word in seen:
            raise ModelFormatError(f"{where}: key '{word}' appears twice; keep one")
        seen.add(word)
        yield word, value, False
    for merge in merges:
        for word, value, _ in _pairs(path, merge):
            if word not in seen:
                seen.add(word)
                yield word, value, True


def _is_known(key: str) -> bool:
    return key in USED_KEYS or key in IGNORED_KEYS


def _nearest(key: str) -> str:
    found = difflib.get_close_matches(key, sorted(USED_KEYS | set(IGNORED_KEYS)), n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else "; docs/job-files.md lists the known keys"


def _is_null(node: yaml.Node) -> bool:
    """Empty values, and empty strings, count as absent."""
    if not isinstance(node, yaml.ScalarNode):
        return isinstance(node, yaml.SequenceNode) and not node.value
    return node.tag == TAG + "null" or not node.value.strip()


def _is_blank(node: yaml.MappingNode) -> bool:
    """A section whose every value is empty is a form nobody filled in."""
    return all(_is_null(value) and key.tag != TAG + "merge" for key, value in node.value)


def _is_plain(node: yaml.Node) -> bool:
    if not node.tag.startswith(TAG) or "python" in node.tag:
        return False
    if isinstance(node, yaml.MappingNode):
        return all(_is_plain(part) for pair in node.value for part in pair)
    return not isinstance(node, yaml.SequenceNode) or all(_is_plain(part) for part in node.value)


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return f"'{str(node.value)[:40]}'"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


# --- one job -------------------------------------------------------------------------------------


def _job(keys: _Section) -> CompileJob:
    axes = _run_all_variants(keys)
    labels_format = keys.choice("test_labels_format", LABELS_FORMATS)
    handler = _handler(keys, "user_handle_test_labels")
    if labels_format == "custom" and handler is None and "test_labels" in keys.nodes:
        raise keys.fail(
            "test_labels_format", "'custom' needs user_handle_test_labels: module.function"
        )
    job = CompileJob(
        section=keys.name,
        folder=keys.path.parent,
        model_name=_model_name(keys),
        tflite_model=keys.file("tflite_model"),
        float_model=keys.file("float_model"),
        train_data=keys.file("train_data"),
        test_data=keys.file("test_data"),
        test_labels=keys.file("test_labels"),
        test_labels_format=labels_format,
        classification_labels=keys.texts("classification_labels"),
        test_vectors=_test_vectors(keys),
        header_vector_count=keys.integer("header_file_test_vector_cnt", 0, 1_000_000),
        interlayer_limit_bytes=keys.integer("interlayer_buffer_size", 125_000, 2**32 - 1),
        psum_limit_bytes=keys.integer("psum_buffer_size", 0, 2**32 - 1),
        op_radix=keys.integer("op_radix", 0, 31),
        transpose_kernel=_axis(keys, axes, "transpose_kernel", False),
        disable_op_quantization=_axis(keys, axes, "disable_op_quantization", False),
        skip_softmax_op=_axis(keys, axes, "skip_softmax_op", False),
        normalize_scaleshift=_axis(keys, axes, "normalize_scaleshift", True),
        conv2d_setting=tuple(CONV2D_SETTINGS.values())
        if "conv2d_setting" in axes
        else keys.choices("conv2d_setting", CONV2D_SETTINGS, "local_psum"),
        psum_placement=keys.choices("psum_buffer_placement", PSUM_PLACEMENTS, "interlayer_buffer"),
        user_handle_accuracy_results=_handler(keys, "user_handle_accuracy_results"),
        user_handle_test_labels=handler,
        log_level=keys.choice("log_level", {name: name for name in LOG_LEVELS}) or "info",
        precision_threshold=_fraction(keys, "precision_threshold"),
        precision_margin=_margin(keys),
        reshape_input=keys.flag("reshape_input"),
        get_quantized_data=keys.flag("get_quantized_data"),
        notes=keys.notes,
    )
    _check_model_source(keys, job)
    return job


def _model_name(keys: _Section) -> str:
    name = keys.text("model_name")
    if name is None:
        raise keys.fail("model_name", "missing; every model needs one")
    if not is_c_identifier(name):
        raise keys.fail(
            "model_name",
            f"'{name[:80]}' is no C identifier; use letters, digits and underscores, not starting "
            "with a digit, at most 64 characters, and no path",
        )
    return name


def _check_model_source(keys: _Section, job: CompileJob) -> None:
    if job.tflite_model is not None:
        return
    if job.float_model is None:
        raise keys.fail("tflite_model", "missing; give it, or float_model together with train_data")
    if job.train_data is None:
        raise keys.fail(
            "train_data", "missing; a float_model without tflite_model is quantized with it"
        )


def _axis(keys: _Section, axes: frozenset[str], key: str, default: bool) -> tuple[bool, ...]:
    return _BOTH if key in axes else keys.flags(key, default)


def _run_all_variants(keys: _Section) -> frozenset[str]:
    """The switches to vary, from False, True, `all`, a name or a list of names.

    True and `all` vary what changes a program: output quantization and transposition.
    """
    axes: set[str] = set()
    for node in keys._items("run_all_variants"):
        word = node.value.strip().lower()
        if word == "all" or word in _TRUTH:
            axes |= _ALL_AXES if _TRUTH.get(word, True) else set()
        elif word in _AXES:
            axes.add(_AXES[word])
        else:
            raise keys.fail(
                "run_all_variants",
                "expected False, True, all, or names among softmax, conv2d_settings, "
                f"normalized_scaleshifts, op_quantization, transpose_kernel; found {_shown(node)}",
            )
    return frozenset(axes)


def _test_vectors(keys: _Section) -> tuple[range, ...] | None:
    found = []
    for node in keys._items("test_vectors"):
        if node.value.strip().lower() == "all":
            return None
        match = _VECTORS.fullmatch(node.value)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < MAX_VECTOR_INDEX:
            raise keys.fail(
                "test_vectors",
                f"expected all, or a list such as [0, 2-6, 10], found {_shown(node)}",
            )
        found.append(range(first, last + 1))
    return tuple(found) or None


def _handler(keys: _Section, key: str) -> str | None:
    text = keys.text(key)
    if text is not None and _HANDLER.fullmatch(text) is None:
        raise keys.fail(key, f"expected module.function, found '{text[:80]}'")
    return text


def _fraction(keys: _Section, key: str) -> float:
    value = keys.number(key) or 0.0
    if not 0.0 <= value <= 1.0:
        raise keys.fail(key, f"expected a number from 0 to 1, found {value:g}")
    return value


def _margin(keys: _Section) -> float:
    """An integer is a percentage (the template), a number with a point a fraction (the manual)."""
    text = keys.text("precision_margin")
    value = keys.number("precision_margin") or 0.0
    fraction = value / 100 if text is not None and text.isdigit() else value
    if not 0.0 <= fraction <= 1.0:
        raise keys.fail(
            "precision_margin",
            f"expected a percentage (integer, 0 to 100) or a fraction (0.0 to 1.0), found {text}",
        )
    return fraction
