"""Where the models of the benchmarks lie on this machine, and what to do about missing ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cache import cache_dir
from harness.data.manifest import Manifest, ModelEntry
from harness.errors import ConfigError
from harness.mlperf.benchmarks import BENCHMARKS, Benchmark
from harness.model_file import ModelFile, read_model


@dataclass(frozen=True, slots=True)
class BenchmarkModel:
    """A model file for a benchmark. published: whether it is the reference, by its hash."""

    benchmark: Benchmark
    file: ModelFile
    published: bool


def find_models(
    places: Sequence[str], benchmarks: Sequence[Benchmark], manifest: Manifest
) -> dict[str, BenchmarkModel]:
    """The models of `benchmarks` that are there, by name.

    places: folders and NAME=FILE words; without any, what `axonrig data models` fetched. In a
    folder a model has the name of its publisher's file, NAME.tflite, or ic, kws, vww, ad.tflite.
    Raises ConfigError for a word that names nothing.
    """
    files, folders = _places(places)
    if not places:
        cache = cache_dir("downloads")
        folders = [] if cache is None else [cache]
    found = {}
    for benchmark in benchmarks:
        entry = manifest.models.get(benchmark.name)
        path = files.get(benchmark.name) or _in_folders(folders, benchmark, entry)
        if path is not None:
            model = read_model(path)
            published = entry is not None and model.sha256 == entry.source.sha256
            found[benchmark.name] = BenchmarkModel(benchmark, model, published)
    return found


def how_to_get(benchmarks: Sequence[Benchmark], manifest: Manifest) -> str:
    """A sentence that says which models are missing and where they are published."""
    names = []
    for benchmark in benchmarks:
        entry = manifest.models.get(benchmark.name)
        names.append(benchmark.name if entry is None else f"{benchmark.name} ({entry.file})")
    return (
        f"no model for {', '.join(names)}: get them with 'axonrig data models --out DIR', or from "
        "https://github.com/mlcommons/tiny, folder benchmark/training, and name the folder with "
        "--models DIR (or one file with --models NAME=FILE)"
    )


def _places(words: Sequence[str]) -> tuple[dict[str, Path], list[Path]]:
    files: dict[str, Path] = {}
    folders: list[Path] = []
    for word in words:
        name, equals, rest = word.partition("=")
        if equals and name in BENCHMARKS:
            files[name] = Path(rest)
        elif Path(word).is_dir():
            folders.append(Path(word))
        else:
            raise ConfigError(
                f"--models {word[:200]}: expected an existing folder, or NAME=FILE with NAME out "
                f"of {', '.join(BENCHMARKS)}"
            )
    return files, folders


def _in_folders(
    folders: Sequence[Path], benchmark: Benchmark, entry: ModelEntry | None
) -> Path | None:
    names = [] if entry is None else [entry.file]
    names += [f"{name}.tflite" for name in benchmark.short_names]
    candidates = (folder / name for folder in folders for name in names)
    return next((path for path in candidates if path.is_file()), None)
