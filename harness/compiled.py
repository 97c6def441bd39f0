"""What a compilation leaves behind: NAME.bin, NAME.txt and NAME.json (docs/job-files.md)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from compiler import AxonProgram, CompileOptions, Dims, Layer, Quantization, dump, encode
from harness.artefacts import json_bytes, sha256, write_together
from harness.errors import ConfigError
from harness.footprint import Footprint, footprint
from harness.report.versions import versions

SCHEMA: Final = 1
BINARY_VERSION: Final = "1.3.1"
"""Of the Axon binary; see docs/axon-binary.md."""

_DTYPES: Final = {1: "int8", 2: "int16", 4: "int32"}


@dataclass(frozen=True, slots=True)
class Source:
    """What was compiled: the file's name and bytes."""

    file: str
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A program, its binary, and what it needs on the device."""

    name: str
    program: AxonProgram
    options: CompileOptions
    source: Source
    binary: bytes
    footprint: Footprint

    @property
    def files(self) -> tuple[str, str, str]:
        """Names of the files that `write_compiled` writes."""
        return f"{self.name}.bin", f"{self.name}.json", f"{self.name}.txt"


def gather(name: str, program: AxonProgram, options: CompileOptions, source: Source) -> Compiled:
    """A program with its binary and footprint. `name` is the stem of its files."""
    return Compiled(name, program, options, source, encode(program), footprint(program))


def write_compiled(
    folder: Path,
    compiled: Compiled,
    more_files: Mapping[str, bytes] | None = None,
    more_facts: Mapping[str, Any] | None = None,
) -> tuple[Path, ...]:
    """Write the three files, each whole or not at all, the JSON last; return their paths.

    more_files: written and hashed with them. more_facts: further keys of the JSON.
    Raises ConfigError when the folder cannot be written.
    """
    binary_name, json_name, text_name = compiled.files
    text = dump(compiled.program).encode()
    files = {binary_name: compiled.binary, text_name: text, **(more_files or {})}
    facts = {**describe(compiled), **(more_facts or {})}
    facts["files"] = {
        name: {"bytes": len(data), "sha256": sha256(data)} for name, data in files.items()
    }
    return write_files(folder, {**files, json_name: json_bytes(facts)})


def write_files(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write `files` into `folder`: all are stored under temporary names before any is renamed.

    Raises ConfigError; a full disk or a folder in a file's place then changes nothing.
    """
    paths = tuple(folder / name for name in files)
    for path in paths:
        if path.is_dir():
            raise ConfigError(f"{path} cannot be written: Is a directory")
    try:
        write_together(dict(zip(paths, files.values(), strict=True)))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error
    return paths


def open_output(folder: Path) -> Path:
    """`folder`, made if need be and known to be writable. Raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"the output folder {folder} cannot be written ({error.strerror}): choose another "
            "with -o"
        ) from error
    return folder


def describe(compiled: Compiled) -> dict[str, Any]:
    """The content of NAME.json without the hashes of the other files."""
    program, options = compiled.program, compiled.options
    return {
        "schema": SCHEMA,
        "kind": "compiled-program",
        "name": compiled.name,
        "program_name": program.name,
        "source": {
            "file": compiled.source.file,
            "bytes": len(compiled.source.data),
            "sha256": sha256(compiled.source.data),
        },
        "variant": {
            "output": options.output,
            "transposed": options.transpose,
            "skip_softmax": options.skip_softmax,
            "normalize_scaleshift": options.normalize_scaleshift,
            "cheaper_layers": options.cheaper_layers,
            "op_radix": options.op_radix,
        },
        "input": {
            **_tensor(program.input_dims),
            "quantization": _quantization(program.input_quantization),
        },
        "outputs": [_output(program, index) for index in program.output_layers],
        "labels": list(program.labels),
        "limits": asdict(program.options),
        "sizes": {
            "binary_bytes": len(compiled.binary),
            "constant_bytes": sum(_constant_bytes(layer) for layer in program.layers),
            **asdict(compiled.footprint),
        },
        "layers": [_layer(index, layer) for index, layer in enumerate(program.layers)],
        "versions": {**versions(), "axon_binary": BINARY_VERSION},
    }


def _output(program: AxonProgram, index: int) -> dict[str, Any]:
    """The program's last output carries the model's dequantization."""
    facts: dict[str, Any] = {"layer": index, **_tensor(program.layers[index].output_dims)}
    if index == program.output_layers[-1]:
        facts["dequantization"] = _quantization(program.output_dequantization)
    return facts


def _layer(index: int, layer: Layer) -> dict[str, Any]:
    return {
        "index": index,
        "op": layer.op.name.lower(),
        "runs_on": "cpu" if layer.op.on_cpu else "npu",
        "inputs": [operand.producer for operand in layer.inputs],
        "output": _tensor(layer.output_dims),
        "activation": layer.activation.name.lower(),
        "constant_bytes": _constant_bytes(layer),
    }


def _tensor(dims: Dims) -> dict[str, Any]:
    """Shape as the device has it, [channels, height, width], and element type."""
    return {"shape_chw": list(dims.shape), "dtype": _DTYPES.get(dims.byte_width, "unknown")}


def _quantization(values: Quantization) -> dict[str, Any]:
    return {
        "multiplier": values.multiplier,
        "shift": values.shift,
        "zero_point": values.zero_point,
    }


def _constant_bytes(layer: Layer) -> int:
    """Bytes of a layer's constants in the binary; each array is padded to four."""
    arrays = (layer.filter, layer.bias, layer.multipliers, layer.shifts, layer.cpu_attributes)
    return sum(-(-array.nbytes // 4) * 4 for array in arrays if array is not None)
