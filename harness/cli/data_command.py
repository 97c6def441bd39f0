"""`axonrig data NAME`: fetch, verify and convert a benchmark's dataset, or fetch all models."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from harness.data.cifar10 import read_test_batch
from harness.data.fetch import (
    WORKSPACE_JOBS,
    ArchiveChoice,
    obtain_archive,
    obtain_model,
    write_ic01,
    write_models,
    write_workspace,
)
from harness.data.manifest import DatasetEntry, load_manifest
from harness.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from harness.mlperf.layout import LaidOut


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("dataset", help="ic01, kws01, vww01, ad01, or models")
    parser.add_argument(
        "--from",
        dest="file",
        type=Path,
        metavar="PATH",
        help="ic01: this archive; kws01, vww01, ad01: this folder with y_labels.csv and the files "
        "that it names; ad01 also: dev_data_ToyCar.zip or its unpacked folder; models: this folder",
    )
    parser.add_argument(
        "--stimuli",
        action="store_true",
        help="ic01: also OUT/ic01, the benchmark's 200 images as 'axonrig mlperf --data OUT' and "
        "the MLPerf Tiny runners read them",
    )
    parser.add_argument("--labels", type=Path, help="your copy of the published y_labels.csv")
    parser.add_argument("--index", type=Path, help="ic01: your copy of perf_samples_idxs.npy")
    parser.add_argument("--url", help="download the archive from here (a mirror)")
    parser.add_argument("--sha256", type=_digest, help="expect this archive instead of the known")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the arrays (here)")
    parser.add_argument(
        "--workspace", type=Path, help="lay this folder out with model, data/ and two job files"
    )
    parser.add_argument("--model", type=Path, help="the model for --workspace, not a download")
    parser.add_argument("--manifest", type=Path, help="another manifest than the shipped one")


def execute(arguments: argparse.Namespace) -> int:
    """Run the command. Raises HarnessError."""
    manifest = load_manifest(arguments.manifest)
    console = Console(highlight=False, soft_wrap=True)
    if arguments.dataset == "models":
        write_models(arguments.out, manifest, arguments.file, _printer(console))
        return ExitCode.OK
    entry = manifest.datasets.get(arguments.dataset)
    if entry is None:
        listed = ", ".join([*manifest.datasets, "models"])
        raise ConfigError(f"unknown dataset '{arguments.dataset}'; known are {listed}")
    if entry.converter != "cifar10":
        return _copy_stimuli(entry, arguments, console)
    if arguments.model and not arguments.workspace:
        raise ConfigError("--model is for --workspace: without it no model is laid out")
    console.print(f"{entry.title}. Licence: {entry.licence}.", markup=False)
    choice = ArchiveChoice(arguments.file, arguments.url, arguments.sha256)
    with _bar(entry.name, shown=arguments.file is None) as bar:
        task = bar.add_task(entry.name, total=None)
        archive = obtain_archive(
            entry, choice, lambda done, total: bar.update(task, completed=done, total=total)
        )
    if arguments.workspace:
        if "ic01" not in manifest.models:
            raise ConfigError("the manifest lists no model ic01; a workspace needs one")
        model = obtain_model(manifest.models["ic01"], arguments.model, _printer(console))
        written = write_workspace(arguments.workspace, manifest, model, archive)
        jobs = " or ".join(str(arguments.workspace / name) for name in WORKSPACE_JOBS)
        after = f"next: axonrig compile {jobs}"
    else:
        written = write_ic01(archive, arguments.out)
        after = ""
    console.print(
        f"archive verified (sha256 {written.archive_sha256})\n"
        f"{written.inputs}: uint8 [{written.samples}, 32, 32, 3]\n"
        f"{written.labels}: float32 [{written.samples}, 10], one-hot (last_layer_vector)\n{after}",
        markup=False,
    )
    if arguments.stimuli:
        from harness.mlperf.layout import write_ic01_stimuli

        batch = read_test_batch(archive)
        folder = arguments.out
        _print_laid_out(
            write_ic01_stimuli(batch, folder, entry, arguments.labels, arguments.index), console
        )
    return ExitCode.OK


def _copy_stimuli(entry: DatasetEntry, arguments: argparse.Namespace, console: Console) -> int:
    from harness.mlperf.benchmarks import BENCHMARKS
    from harness.mlperf.layout import copy_stimuli
    from harness.mlperf.stimuli import find_folder

    benchmark = BENCHMARKS.get(entry.name)
    if benchmark is None or arguments.file is None:
        raise ConfigError(_by_hand(entry))
    source, out = arguments.file, arguments.out
    console.print(f"{entry.title}. Licence: {entry.licence}.", markup=False)
    if benchmark.reconstructs and find_folder(source, benchmark, only=True) is None:
        from harness.mlperf.recordings import write_ad01_stimuli

        done = write_ad01_stimuli(source, out, entry, arguments.labels)
    else:
        done = copy_stimuli(source, out, benchmark, entry)
    _print_laid_out(done, console)
    return ExitCode.OK


def _print_laid_out(done: LaidOut, console: Console) -> None:
    stimuli = done.stimuli
    known = {
        True: "the published set, every file verified",
        False: "NOT the published files",
        None: "the published set by its labels; hashes of the files are not published",
    }[stimuli.intact]
    if stimuli.published is None:
        known = "a set of your own"
    console.print(
        f"{done.folder}: {stimuli.total} files, {known} (sha256 of the list {stimuli.set_sha256})",
        markup=False,
    )


def _printer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, markup=False)


def _by_hand(entry: DatasetEntry) -> str:
    sources = ", ".join(archive.url for archive in entry.archives)
    return (
        f"axonrig does not download {entry.name} ({entry.title}): pass the folder of its inputs "
        f"with --from; {entry.recipe}; source: {sources}; licence: {entry.licence}"
    )


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError("expected 64 hex digits")
    return text.lower()


def _bar(name: str, *, shown: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn(name),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )
