"""`axonrig data ic01`: fetch, verify and convert a benchmark dataset."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from harness.data_fetch import (
    WORKSPACE_JOBS,
    ArchiveChoice,
    obtain_archive,
    obtain_model,
    write_ic01,
    write_workspace,
)
from harness.errors import ConfigError, ExitCode
from harness.manifest import DatasetEntry, load_manifest


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("dataset", help="ic01; others are described, not converted")
    parser.add_argument("--from", dest="file", type=Path, help="use this archive, download nothing")
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
    entry = manifest.datasets.get(arguments.dataset)
    if entry is None:
        listed = ", ".join(manifest.datasets)
        raise ConfigError(f"unknown dataset '{arguments.dataset}'; known are {listed}")
    if entry.converter != "cifar10":
        raise ConfigError(_by_hand(entry))
    if arguments.model and not arguments.workspace:
        raise ConfigError("--model is for --workspace: without it no model is laid out")
    console = Console(highlight=False, soft_wrap=True)
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
        model = obtain_model(
            manifest.models["ic01"], arguments.model, lambda text: console.print(text, markup=False)
        )
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
    return ExitCode.OK


def _by_hand(entry: DatasetEntry) -> str:
    sources = ", ".join(archive.url for archive in entry.archives)
    return (
        f"axonrig does not convert {entry.name} ({entry.title}); by hand: {entry.recipe}; "
        f"source: {sources}; licence: {entry.licence}"
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
