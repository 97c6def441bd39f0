"""ad01 from recordings: the spectrogram against librosa, and what is refused."""

from __future__ import annotations

import io
import sys
import wave
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from harness.cli import main
from harness.errors import ConfigError
from harness.mlperf.spectrogram import log_mel, read_wave

NAMES = ("normal_id_01_00000003", "anomaly_id_02_00000013")


def chirp() -> npt.NDArray[np.int16]:
    """Eleven seconds from 50 Hz up, beyond half the rate and back."""
    t = np.arange(176000) / 16000
    return np.round(16000 * np.sin(2 * np.pi * (50 * t + 300 * t * t))).astype("<i2")


def wave_file(samples: npt.NDArray[np.int16], rate: int = 16000, channels: int = 1) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return stream.getvalue()


def test_values_that_librosa_gave() -> None:
    """librosa 0.11.0, melspectrogram(sr=16000, n_fft=1024, hop_length=512, n_mels=128, power=2.0)
    in dB, frames 50 to 249."""
    found = log_mel(read_wave(wave_file(chirp()), "chirp"), "chirp")
    assert found.shape == (200, 128)
    assert found.dtype == np.float32
    for frame, band, value in (
        (0, 0, -83.1891),
        (0, 30, -56.2961),
        (0, 127, -88.6017),
        (60, 40, -90.9362),
        (100, 64, -89.4507),
        (150, 97, 5.9084),
        (199, 5, -94.0510),
        (199, 110, -64.2797),
    ):
        assert found[frame, band] == pytest.approx(value, abs=2e-4)


def test_the_whole_spectrogram_equals_librosa() -> None:
    librosa = pytest.importorskip("librosa", reason="librosa is not installed")
    noise = np.random.default_rng(1).normal(0, 900, 176000).astype("<i2")
    for samples in (chirp(), noise):
        real = (samples / 32768.0).astype(np.float32)
        energies = librosa.feature.melspectrogram(
            y=real, sr=16000, n_fft=1024, hop_length=512, n_mels=128, power=2.0
        )
        wanted = (10.0 * np.log10(energies + sys.float_info.epsilon))[:, 50:250].T
        assert np.abs(log_mel(samples / 32768.0, "x") - wanted).max() < 1e-4


def test_silence_is_the_floor() -> None:
    assert log_mel(np.zeros(128000), "silence") == pytest.approx(-156.5356, abs=1e-4)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "no whole WAV file"),
        (b"RIFF....WAVE", "no whole WAV file"),
        (wave_file(chirp(), rate=8000), "at 8000 Hz"),
        (wave_file(chirp(), channels=2), "has 2 channels"),
    ],
)
def test_recordings_that_are_not_sound(data: bytes, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        read_wave(data, "x.wav")


def test_a_recording_that_is_too_short() -> None:
    with pytest.raises(ConfigError, match="127999 samples; expected at least 128000"):
        log_mel(np.zeros(127999), "x.wav")


def source(root: Path, *, zipped: bool) -> Path:
    files = {f"ToyCar/test/{name}.wav": wave_file(chirp()[at:]) for at, name in enumerate(NAMES)}
    if zipped:
        path = root / "dev_data_ToyCar.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
            archive.writestr(f"ToyCar/train/{NAMES[0]}.wav", b"another of the same name")
        return path
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def labels_file(root: Path) -> Path:
    path = root / "labels.csv"
    rows = [f"{name}_hist_librosa.bin,2,{label},2560,512\n" for label, name in enumerate(NAMES)]
    path.write_text("".join(rows))
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_the_named_recordings_become_inputs(
    zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--from", str(source(tmp_path, zipped=zipped)), "--out", str(tmp_path / "out")]
    assert main(["data", "ad01", *words, "--labels", str(labels_file(tmp_path))]) == 0
    assert "2 files, a set of your own" in capsys.readouterr().out
    for at, name in enumerate(NAMES):
        found = np.fromfile(tmp_path / "out" / "ad01" / f"{name}_hist_librosa.bin", "<f4")
        wanted = log_mel(chirp()[at:] / 32768.0, name)
        assert np.array_equal(found.reshape(200, 128), wanted)


def test_sources_that_are_not_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = labels_file(tmp_path)
    empty, noise, damaged = tmp_path / "e.zip", tmp_path / "n.zip", tmp_path / "d.zip"
    with zipfile.ZipFile(empty, "w"):
        pass
    noise.write_bytes(b"noise")
    data = bytearray(source(tmp_path, zipped=True).read_bytes())
    data[1000] ^= 255
    damaged.write_bytes(data)
    folder = tmp_path / "nothing"
    folder.mkdir()
    for path, part in (
        (empty, "holds no test/normal_id_01_00000003.wav"),
        (noise, "is no whole zip archive"),
        (damaged, "is damaged"),
        (folder, "holds no normal_id_01_00000003.wav"),
        (tmp_path / "missing.zip", "cannot be read"),
    ):
        words = ["--from", str(path), "--labels", str(labels), "--out", str(tmp_path / "out")]
        assert main(["data", "ad01", *words]) == 3
        assert part in capsys.readouterr().err
    labels.write_text("other.bin,2,1,2560,512\n")
    words = ["--from", str(folder), "--labels", str(labels), "--out", str(tmp_path / "out")]
    assert main(["data", "ad01", *words]) == 3
    assert "ends in _hist_librosa.bin" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
