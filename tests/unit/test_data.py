"""`axonrig data`: download, verification, hostile archives, the workspace, and the manifest."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import os
import pickle
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import job_variants, read_jobs
from harness.cli import main
from harness.data import cifar10, download, manifest
from harness.errors import ConfigError, DownloadError
from harness.model_file import DEFAULT_MODEL

PICKLED = "cifar-10-batches-py/test_batch"
BINARY = "cifar-10-batches-bin/test_batch.bin"
SAMPLES = 7


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def planes() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Seven images as the archive holds them: [N, 3072], red plane first."""
    return np.random.default_rng(3).integers(0, 256, (SAMPLES, 3072), dtype=np.uint8)


LABELS = [3, 8, 0, 9, 1, 1, 5]


def tar_of(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]  # str mode
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def pickled_batch(protocol: int = 2, **changes: object) -> bytes:
    batch: dict[bytes, object] = {
        b"batch_label": b"testing batch 1 of 1",
        b"labels": LABELS,
        b"data": planes(),
        b"filenames": [b"a.png"] * SAMPLES,
    }
    batch.update({key.encode(): value for key, value in changes.items()})
    return pickle.dumps(batch, protocol=protocol)


def python_archive() -> bytes:
    return tar_of({"cifar-10-batches-py/readme.html": b"hello", PICKLED: pickled_batch()})


def binary_archive() -> bytes:
    records = np.concatenate([np.array(LABELS, np.uint8)[:, None], planes()], axis=1)
    return tar_of({"cifar-10-batches-bin/data_batch_1.bin": b"x" * 3073, BINARY: records.tobytes()})


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def store(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# --- conversion ----------------------------------------------------------------------------------


@pytest.mark.parametrize("archive", [python_archive(), binary_archive()], ids=["python", "binary"])
def test_arrays_are_what_the_mlperf_tiny_reference_loads(archive: bytes, tmp_path: Path) -> None:
    file = store(tmp_path / "a.tar.gz", archive)
    out = tmp_path / "out"
    assert (
        main(["data", "ic01", "--from", str(file), "--sha256", sha(archive), "--out", str(out)])
        == 0
    )
    x = np.load(out / "x_test_ic.npy", allow_pickle=False)
    y = np.load(out / "y_test_ic.npy", allow_pickle=False)
    assert (x.dtype, x.shape) == (np.uint8, (SAMPLES, 32, 32, 3))
    assert (y.dtype, y.shape) == (np.float32, (SAMPLES, 10))
    # The reference: reshape to [N, 3, 32, 32], then roll the colours to the last axis.
    assert np.array_equal(x, np.rollaxis(planes().reshape(-1, 3, 32, 32), 1, 4))
    assert x[2, 5, 7].tolist() == [int(planes()[2, c * 1024 + 5 * 32 + 7]) for c in range(3)]
    assert y.argmax(axis=1).tolist() == LABELS
    assert np.array_equal(y.sum(axis=1), np.ones(SAMPLES))


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol(protocol: int, tmp_path: Path) -> None:
    file = store(tmp_path / "a.tar", tar_of({PICKLED: pickled_batch(protocol)}, "w"))
    images, labels = cifar10.read_test_set(file)
    assert np.array_equal(images.transpose(0, 3, 1, 2).reshape(-1, 3072), planes())
    assert labels.tolist() == LABELS


def test_a_pickle_as_python_2_wrote_it(tmp_path: Path) -> None:
    batch = (
        b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x03K\x08eU\x04dataq\x04"
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07"
        b"(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\t"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x18\x00\x00"
    )
    batch += planes()[:2].tobytes() + b"tbu."
    images, labels = cifar10.read_test_set(store(tmp_path / "a.tar", tar_of({PICKLED: batch}, "w")))
    assert images.shape == (2, 32, 32, 3)
    assert labels.tolist() == [3, 8]


# --- hostile archives ----------------------------------------------------------------------------


class Command:
    """Pickles as a call of os.system."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_a_command_is_refused(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    data = tar_of({PICKLED: pickle.dumps({b"data": Command(marker)}, protocol)}, "w")
    with pytest.raises(
        ConfigError, match=r"refused, not a plain CIFAR-10 batch: it asks for \w+\.system"
    ):
        cifar10.read_test_set(store(tmp_path / "a.tar", data))
    assert not marker.exists()


@pytest.mark.parametrize(
    "batch",
    [
        b"",
        b"\x80\x04",
        b"not a pickle",
        b"\x80\x02cbuiltins\neval\n(U\x031+1tR.",
        b"\x80\x02c__builtin__\nopen\n(U\x01xtR.",
        b"\x80\x02(ios\nsystem\nU\x04true.",  # INST
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
        b"\x80\x02\x82\x01.",  # the extension registry
        b"\x80\x02U\x01xQ.",  # a persistent id
        b"\x80\x02r\xff\xff\xff\x7f.",  # a memo index of two thousand million
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",  # bytes that are not there
        b"\x80\x02}" + b"\x85" * 50_000 + b"K\x01s.",  # deeply nested tuples as a key
        b"\x80\x02})" + b"\x85" * 19_999 + b"K\x01s.",  # as many as are let through
        b"\x80\x02" + b"(" * 10_000 + b".",
        b"\x80\x02]q\x00h\x00a.",  # a list that contains itself
    ],
)
def test_pickles_that_are_no_batch_are_refused(batch: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        cifar10.read_test_set(store(tmp_path / "a.tar", tar_of({PICKLED: batch}, "w")))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"data": planes()[:, :100]}, "'data' is no uint8 array"),
        ({"data": planes().astype(np.float32)}, "pickled array is not sound"),
        ({"data": [1, 2]}, "'data' is no uint8 array"),
        ({"labels": LABELS[:-1]}, "6 labels for 7 images"),
        ({"labels": [10] * SAMPLES}, "labels lie outside 0..9"),
        ({"labels": ["x"] * SAMPLES}, "'labels' is no list"),
        ({"labels": 5}, "'labels' is no list"),
    ],
)
def test_unsound_batches_are_refused(changes: dict[str, Any], part: str, tmp_path: Path) -> None:
    data = tar_of({PICKLED: pickled_batch(**changes)}, "w")
    with pytest.raises(ConfigError, match=part):
        cifar10.read_test_set(store(tmp_path / "a.tar", data))


def test_mutated_batches_never_escape_with_another_error(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    source = pickled_batch()
    head = len(source) - source[::-1].find(planes().tobytes()[::-1][:64])  # past the pixels
    refused = 0
    for _ in range(300):
        data = bytearray(source)
        for _ in range(int(generator.integers(1, 4))):
            at = int(generator.integers(0, 200 if generator.random() < 0.8 else head))
            data[min(at, len(data) - 1)] = int(generator.integers(0, 256))
        try:
            cifar10.read_test_set(store(tmp_path / "a.tar", tar_of({PICKLED: bytes(data)}, "w")))
        except ConfigError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (tar_of({BINARY: b"\x0a" + b"x" * 3072}), "labels lie outside"),
        (tar_of({BINARY: b"x" * 100}), "no whole number of 3073"),
        (tar_of({BINARY: b""}), "empty or cut short"),
        (tar_of({"../../etc/test_batch": b"x"}), "holds neither"),
        (tar_of({"/" + PICKLED: pickled_batch()}), "holds neither"),
        (tar_of({"data_batch_1": b"x"}), "holds neither"),
        (python_archive()[:2000], "not a whole tar archive"),
        (b"plain text, no archive at all", "not a whole tar archive"),
    ],
)
def test_archives_that_are_not_cifar10(data: bytes, part: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=part):
        cifar10.read_test_set(store(tmp_path / "a.tar.gz", data))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz"], "nothing is extracted"


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        link = tarfile.TarInfo(PICKLED)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ConfigError, match="holds neither"):
        cifar10.read_test_set(store(tmp_path / "a.tar", stream.getvalue()))


def test_a_member_that_claims_too_much(tmp_path: Path) -> None:
    info = tarfile.TarInfo(BINARY)
    info.size = cifar10.MAX_MEMBER_BYTES + 1
    with pytest.raises(ConfigError, match="claims"):
        cifar10.read_test_set(store(tmp_path / "a.tar", info.tobuf() + b"\0" * 1024))
    info = tarfile.TarInfo("padding")
    info.size = cifar10.MAX_ARCHIVE_BYTES + 1
    with pytest.raises(ConfigError, match="unpacks to more than"):
        cifar10.read_test_set(store(tmp_path / "b.tar", info.tobuf() + b"\0" * 1024))


# --- download ------------------------------------------------------------------------------------


class Server:
    """A local server for one file. `cut` ends the first replies early; `ranges` allows resuming."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.status = 200
        self.cuts = 0
        self.ranges = True
        self.requests: list[str | None] = []
        self.url = ""

    def reply(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append(wanted)
        start = int(wanted[6:-1]) if wanted and self.ranges else 0
        if self.status != 200 or start > len(self.data):
            handler.send_error(self.status if self.status != 200 else 416)
            return
        body = self.data[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.cuts:
            self.cuts -= 1
            body = body[: len(body) // 2]
        handler.wfile.write(body)


@contextlib.contextmanager
def serving(data: bytes) -> Iterator[Server]:
    state = Server(data)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server calls it by this name
            state.reply(self)

        def log_message(self, *_: object) -> None:
            """Keep the test's output quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}/cifar-10-python.tar.gz"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def own_manifest(path: Path, server: Server, **changes: object) -> Path:
    fields = {"sha256": sha(server.data), "bytes": len(server.data), **changes}
    lines = "".join(f"        {key}: {value}\n" for key, value in fields.items())
    path.write_text(
        "schema: 1\n"
        "models: {}\n"
        "datasets:\n"
        "  ic01:\n"
        "    title: small\n"
        "    converter: cifar10\n"
        "    archives:\n"
        "      - format: cifar10-python\n"
        f"        url: {server.url}\n" + lines
    )
    return path


def test_download_verify_convert_and_reuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(python_archive()) as server:
        listing = own_manifest(tmp_path / "m.yaml", server)
        words = ["data", "ic01", "--manifest", str(listing), "--out", str(tmp_path)]
        assert main(words) == 0
        assert main(words) == 0
    assert server.requests == [None], "the second run takes the verified file from the cache"
    assert np.load(tmp_path / "x_test_ic.npy").shape == (SAMPLES, 32, 32, 3)
    assert f"archive verified (sha256 {sha(server.data)})" in capsys.readouterr().out


def test_a_mirror_with_its_own_hash(tmp_path: Path) -> None:
    with serving(python_archive()) as server:
        words = ["data", "ic01", "--url", server.url, "--sha256", sha(server.data).upper()]
        assert main([*words, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "y_test_ic.npy").is_file()


def test_a_broken_download_is_resumed(tmp_path: Path) -> None:
    data = np.random.default_rng(1).bytes(400_000)
    target = tmp_path / "file"
    with serving(data) as server:
        server.cuts = 2
        seen: list[int] = []
        wanted = download.Wanted(server.url, sha(data), len(data))
        download.download(wanted, target, progress=lambda done, _: seen.append(done))
    assert target.read_bytes() == data
    assert server.requests == [None, "bytes=200000-", "bytes=300000-"]
    assert seen[-1] == len(data)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_server_without_ranges_starts_again(tmp_path: Path) -> None:
    data = np.random.default_rng(1).bytes(100_000)
    with serving(data) as server:
        server.cuts, server.ranges = 1, False
        download.download(download.Wanted(server.url, sha(data)), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data
    assert len(server.requests) == 2


def test_a_part_left_by_another_run_goes_on_and_a_wrong_one_is_dropped(tmp_path: Path) -> None:
    data = np.random.default_rng(1).bytes(1000)
    with serving(data) as server:
        wanted = download.Wanted(server.url, sha(data))
        store(tmp_path / "a.part", data[:600])
        download.download(wanted, tmp_path / "a")
        store(tmp_path / "b.part", data * 2)
        download.download(wanted, tmp_path / "b")
        store(tmp_path / "c.part", b"?" * 600)
        with pytest.raises(ConfigError, match="it was discarded"):
            download.download(wanted, tmp_path / "c")
    assert server.requests == ["bytes=600-", "bytes=2000-", None, "bytes=600-"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_server_that_never_finishes_is_given_up(tmp_path: Path) -> None:
    with serving(b"x" * 1000) as server:
        server.cuts = 100
        with pytest.raises(DownloadError, match=r"the connection ended after .* 4 attempts"):
            download.download(download.Wanted(server.url, "0" * 64), tmp_path / "file")
    assert len(server.requests) == download.ATTEMPTS
    assert (tmp_path / "file.part").exists(), "kept, to resume later"


def test_a_second_process_does_not_write_into_the_same_download(tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "file.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another download"):
            download.download(download.Wanted("http://127.0.0.1:9/x", "0" * 64), tmp_path / "file")


@pytest.mark.parametrize(
    ("status", "code", "part"),
    [(404, 4, "answered 404"), (503, 4, "the server answered 503")],
)
def test_server_errors(
    status: int, code: int, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(b"") as server:
        server.status = status
        words = ["data", "ic01", "--url", server.url, "--out", str(tmp_path / "out")]
        assert main(words) == code
    message = capsys.readouterr().err
    assert part in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_server_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "ic01", "--url", "http://127.0.0.1:9/x", "--out", str(tmp_path)]) == 4
    assert "could not be downloaded" in capsys.readouterr().err


def test_another_file_than_the_known_one_is_discarded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(python_archive()) as server:
        listing = own_manifest(tmp_path / "m.yaml", server, sha256="a" * 64)
        words = ["data", "ic01", "--manifest", str(listing), "--out", str(tmp_path / "out")]
        assert main(words) == 3
        assert f"expected {'a' * 64}" in capsys.readouterr().err
        listing = own_manifest(tmp_path / "m.yaml", server, bytes=10)
        assert main(words) == 3
        assert "not the expected file" in capsys.readouterr().err
    assert list((tmp_path / "cache" / "downloads").iterdir()) == []
    assert not (tmp_path / "out").exists()


# --- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["ic99"], 3, "unknown dataset 'ic99'; known are ic01, kws01, vww01, ad01"),
        (["kws01"], 3, "axonrig does not download kws01"),
        (["ic01", "--url", "file:///etc/passwd"], 3, "no http or https address"),
        (["ic01", "--from", "missing.tar.gz"], 3, "cannot be read"),
        (["ic01", "--from", "."], 3, "cannot be read"),
        (["ic01", "--model", "m.tflite"], 3, "--model is for --workspace"),
        (["ic01", "--manifest", "missing.yaml"], 3, "the manifest missing.yaml cannot be read"),
    ],
)
def test_bad_words(
    words: list[str], code: int, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *words]) == code
    message = capsys.readouterr().err
    assert part in message
    assert message.count("\n") == 1


def test_bad_hash_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["data", "ic01", "--sha256", "xyz"])
    assert caught.value.code == 2
    assert "64 hex digits" in capsys.readouterr().err


def test_a_file_that_is_no_known_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = store(tmp_path / "a.tar.gz", python_archive())
    assert main(["data", "ic01", "--from", str(file)]) == 3
    assert f"has sha256 {sha(file.read_bytes())}, expected c4a38c50" in capsys.readouterr().err
    file = store(tmp_path / "empty", b"")
    assert main(["data", "ic01", "--from", str(file)]) == 3
    assert "is empty" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = python_archive()
    file = store(tmp_path / "a.tar.gz", data)
    words = ["data", "ic01", "--from", str(file), "--sha256", sha(data)]
    assert main([*words, "--out", str(file)]) == 3
    assert "cannot be made" in capsys.readouterr().err
    assert main([*words, "--out", str(file / "below")]) == 3
    assert "cannot be made" in capsys.readouterr().err


# --- the workspace -------------------------------------------------------------------------------


def test_workspace_layout_and_its_job_files(tmp_path: Path) -> None:
    data = binary_archive()
    file = store(tmp_path / "a.tar.gz", data)
    model = store(tmp_path / "given.tflite", b"\x1c\0\0\0TFL3rest")
    folder = tmp_path / "image_classification"
    words = ["data", "ic01", "--from", str(file), "--sha256", sha(data)]
    assert main([*words, "--workspace", str(folder), "--model", str(model)]) == 0
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert found == [
        "data/x_test_ic.npy",
        "data/y_test_ic.npy",
        "ic01_accuracy.yaml",
        "ic01_compile.yaml",
        "pretrainedResnet_quant.tflite",
    ]
    (plain,) = read_jobs(folder / "ic01_compile.yaml")
    (test,) = read_jobs(folder / "ic01_accuracy.yaml")
    assert plain.test_data is None
    assert test.test_data == folder / "data/x_test_ic.npy"
    assert test.test_labels == folder / "data/y_test_ic.npy"
    assert test.test_labels_format == "last_layer_vector"
    for job in (plain, test):
        assert job.tflite_model is not None
        assert job.tflite_model.read_bytes() == model.read_bytes()
        assert [variant.output for variant in job_variants(job)] == ["int8"]
        assert job.notes == ()


def test_the_workspace_model_is_downloaded_and_verified(tmp_path: Path) -> None:
    archive = store(tmp_path / "a.tar.gz", python_archive())
    content = b"\x1c\0\0\0TFL3 the model"
    with serving(content) as server:
        listing = own_manifest(tmp_path / "m.yaml", server)
        text = listing.read_text().replace(
            "models: {}",
            f"models: {{ic01: {{file: net.tflite, url: '{server.url}', sha256: {sha(content)}}}}}",
        )
        listing.write_text(text)
        words = ["data", "ic01", "--manifest", str(listing), "--from", str(archive)]
        words += ["--sha256", sha(archive.read_bytes()), "--workspace", str(tmp_path / "w")]
        assert main(words) == 0
    assert (tmp_path / "w" / "net.tflite").read_bytes() == content


def test_a_workspace_is_not_begun_when_the_archive_is_not_sound(tmp_path: Path) -> None:
    data = tar_of({PICKLED: b"no pickle"})
    file = store(tmp_path / "a.tar.gz", data)
    words = ["data", "ic01", "--from", str(file), "--sha256", sha(data)]
    words += ["--workspace", str(tmp_path / "w"), "--model", str(DEFAULT_MODEL)]
    assert main(words) == 3
    assert not (tmp_path / "w").exists()


def test_many_file_names_in_an_old_protocol(tmp_path: Path) -> None:
    batch = pickled_batch(2, filenames=[b"%05d.png" % index for index in range(10_000)])
    images, _ = cifar10.read_test_set(store(tmp_path / "a.tar", tar_of({PICKLED: batch}, "w")))
    assert len(images) == SAMPLES


def test_a_model_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = python_archive()
    file = store(tmp_path / "a.tar.gz", data)
    words = ["data", "ic01", "--from", str(file), "--sha256", sha(data)]
    words += ["--workspace", str(tmp_path / "w"), "--model", str(file)]
    assert main(words) == 3
    assert "is no .tflite file" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


# --- the manifest --------------------------------------------------------------------------------


def test_the_shipped_manifest_is_complete() -> None:
    shipped = manifest.load_manifest()
    assert list(shipped.datasets) == ["ic01", "kws01", "vww01", "ad01"]
    assert set(shipped.datasets) <= set(shipped.models)
    for model in shipped.models.values():
        assert model.source.url.startswith("https://raw.githubusercontent.com/mlcommons/tiny/")
        assert model.source.url.endswith("/" + model.file)
        assert model.source.sha256 is not None
        assert model.licence.startswith("Apache-2.0")
    for archive in shipped.datasets["ic01"].archives:
        assert archive.sha256 is not None
        assert archive.size_bytes is not None
    assert all(entry.licence != "not stated" for entry in shipped.datasets.values())


def test_the_manifest_names_the_recorded_models() -> None:
    golden = Path(__file__).parents[2].parent / "shared" / "golden"
    if not golden.is_dir():
        pytest.skip("no recorded models beside the project")
    models = manifest.load_manifest().models
    for name, file in {"ic01": "ic", "kws01": "kws", "vww01": "vww", "ad01": "ad"}.items():
        data = (golden / f"{file}.tflite").read_bytes()
        assert models[name].source.sha256 == sha(data)
        assert models[name].source.size_bytes == len(data)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[]", "expected a mapping"),
        ("schema: 9", "schema is 9, expected 1"),
        ("schema: 1\ndatasets: {a: 1}", "datasets.a: expected a mapping"),
        ("schema: 1\ndatasets: {a: {archives: []}}", "at least one archive"),
        ("schema: 1\ndatasets: {a: {archives: [{format: x, url: 5}]}}", "url: expected text"),
        ("schema: 1\nmodels: {a: {file: ../x, url: u}}", "a bare file name"),
        ("schema: 1\nmodels: {a: {file: x, url: u, sha256: zz}}", "expected 64 hex digits"),
        ("schema: 1\nmodels: {a: {file: x, url: u, bytes: -1}}", "expected a positive integer"),
    ],
)
def test_manifests_that_are_not_sound(text: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ConfigError, match=part):
        manifest.load_manifest(tmp_path / "m.yaml")
