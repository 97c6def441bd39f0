"""Log-mel spectrograms of machine sounds, as the anomaly-detection reference computes them.

The recipe is `file_to_vector_array` in benchmark/training/anomaly_detection/common.py of
mlcommons/tiny with the numbers of its baseline.yaml; it rests on librosa's mel spectrogram
(https://librosa.org/doc/latest/generated/librosa.feature.melspectrogram.html, Slaney's mel scale
and area normalization). A test compares this module with librosa where that is installed.
"""

from __future__ import annotations

import io
import wave
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError

Array = npt.NDArray[Any]

RATE_HZ: Final = 16000
MELS: Final = 128
WINDOW: Final = 1024
HOP: Final = 512
FIRST_FRAME: Final = 50
LAST_FRAME: Final = 250
"""The reference keeps the frames from 50 to 249, 6.4 s from the middle of 11 s."""
MAX_SAMPLES: Final = 60 * RATE_HZ


def read_wave(data: bytes, where: str) -> Array:
    """float64 [N] in -1..1 of a mono 16-bit recording at 16 kHz. Raises ConfigError for another."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            frames = file.readframes(min(file.getnframes(), MAX_SAMPLES))
    except (wave.Error, EOFError, ValueError) as error:
        raise ConfigError(f"{where} is no whole WAV file: {error}") from error
    if form != (1, 2, RATE_HZ):
        raise ConfigError(
            f"{where} has {form[0]} channels of {8 * form[1]} bits at {form[2]} Hz; expected 1 of "
            f"16 bits at {RATE_HZ} Hz"
        )
    return np.frombuffer(frames[: len(frames) // 2 * 2], "<i2") / 32768.0


def log_mel(samples: Array, where: str) -> npt.NDArray[np.float32]:
    """float32 [200, 128]: the energies in dB of frames 50 to 249, low frequencies first.

    Frame t is centred at sample 512 t. Raises ConfigError for a recording that is too short.
    """
    needed = (LAST_FRAME - 1) * HOP + WINDOW // 2
    if len(samples) < needed:
        raise ConfigError(f"{where} has {len(samples)} samples; expected at least {needed}")
    starts = np.arange(FIRST_FRAME, LAST_FRAME) * HOP - WINDOW // 2
    frames = samples[starts[:, None] + np.arange(WINDOW)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    energies = power @ _filters().T
    return np.asarray(10.0 * np.log10(energies + np.finfo(np.float64).eps), np.float32)


@cache
def _filters() -> Array:
    """[128, 513]: triangles on Slaney's mel scale, each of the same area."""
    edges = _hertz(np.linspace(0.0, _mel(RATE_HZ / 2), MELS + 2))
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None])


_LINEAR_HZ: Final = 1000.0
_LINEAR_MELS: Final = 15.0
_LOG_STEP: Final = float(np.log(6.4)) / 27.0
"""Slaney's scale: 3 mels per 200 Hz below 1 kHz, 27 for a factor of 6.4 above."""


def _mel(hertz: float) -> float:
    if hertz < _LINEAR_HZ:
        return hertz * _LINEAR_MELS / _LINEAR_HZ
    return _LINEAR_MELS + float(np.log(hertz / _LINEAR_HZ)) / _LOG_STEP


def _hertz(mels: Array) -> Array:
    above = _LINEAR_HZ * np.exp(_LOG_STEP * (mels - _LINEAR_MELS))
    return np.where(mels < _LINEAR_MELS, mels * _LINEAR_HZ / _LINEAR_MELS, above)
