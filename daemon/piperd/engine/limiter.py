"""Holds the peaks of one utterance under a ceiling without a click or a pumping sound; knows nothing of files.

A voice has some 22 dB between its loudness and its highest peak, far more than fits between -16 LUFS and full scale.
Turning the whole job down instead would leave it 8 LU quieter than everything around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

OVERSAMPLING = 4
"""Peaks lie between the samples too (BS.1770-4, annex 2)."""
WINDOW = 0.02
"""Seconds over which the gain goes down before a peak and comes up again behind it: some periods of a voice."""
MARGIN = 10 ** (-0.1 / 20)
"""The gain is smooth, but not constant: what it does to the peaks between samples is held under 0.1 dB."""


def limit(samples: Samples, ceiling: float, rate: int) -> Samples:
    """The same utterance with no true peak above `ceiling` (amplitude, 1 is full scale); `rate` in hertz.

    The gain at a sample is the mean, over a window around it, of the lowest gain that any peak needs within the same
    window: so it is never above what the sample itself needs, and never jumps.
    """
    allowed = ceiling * MARGIN
    needed = np.minimum(1.0, allowed / np.maximum(_peaks(samples, rate), 1e-12))
    if needed.min(initial=1.0) >= 1.0:
        return samples
    window = 2 * round(WINDOW * rate / 2) + 1
    gain = _sliding_mean(_sliding_min(needed, window), window)
    return (samples * gain).astype(np.float32)


def _peaks(samples: Samples, rate: int) -> Samples:
    """The highest amplitude at and around each sample, peaks between samples included."""
    finer = np.abs(soxr.resample(samples, rate, OVERSAMPLING * rate, "HQ"))
    finer = np.pad(finer, (0, max(0, OVERSAMPLING * len(samples) - len(finer))))[: OVERSAMPLING * len(samples)]
    between = finer.reshape(-1, OVERSAMPLING).max(axis=1)
    peaks: Samples = np.maximum(np.abs(samples), np.maximum(between, np.concatenate([between[:1], between[:-1]])))
    return peaks


def _sliding_min(values: Samples, window: int) -> Samples:
    """The least value within the window centred at each place; linear in time (van Herk, 1992)."""
    half = window // 2
    length = len(values) + 2 * half
    padded = np.ones(-(-length // window) * window, np.float32)
    padded[half : half + len(values)] = values
    blocks = padded.reshape(-1, window)
    forward = np.minimum.accumulate(blocks, axis=1).ravel()
    backward = np.minimum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    least: Samples = np.minimum(backward[: len(values)], forward[window - 1 : window - 1 + len(values)])
    return least


def _sliding_mean(values: Samples, window: int) -> NDArray[np.float64]:
    """The mean of the window centred at each place; beyond the ends the last value goes on."""
    half = window // 2
    sums = np.concatenate([[0.0], np.cumsum(np.pad(values, half, mode="edge"), dtype=np.float64)])
    mean: NDArray[np.float64] = (sums[window:] - sums[:-window]) / window
    return mean
