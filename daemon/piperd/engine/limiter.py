"""Brings a job to its loudness and holds its peaks under a ceiling, by one gain and a smooth dip at each peak.

A voice has some 22 dB between its loudness and its highest peak, far more than fits between -16 LUFS and full scale.
Turning the whole job down instead would leave it 8 LU quieter than everything around it. All decisions are made on
blocks of 5 ms, of which five hours have 3.6 million: the samples themselves are read once to measure, once to write.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from piperd.engine.loudness import STRETCH, decibels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from piperd.engine.loudness import Blocks

    Samples = NDArray[np.float32]

REACH = 3
"""Blocks before and behind a peak that go down with it: 15 ms, some periods of a voice, so that nothing is torn."""
MARGIN_DB = 0.5
"""A gain that moves may raise the peaks between samples: by 0.1 dB for a voice, by 0.4 dB for single clicks."""
MOST_LIMITING_DB = 18.0
"""A job whose peaks would have to be lowered by more stays quieter than asked for."""
ROUNDS = 8
CLOSE_ENOUGH_LU = 0.05


@dataclass(frozen=True, slots=True)
class Level:
    """How to level a job, and what it comes to."""

    gain_db: float
    dips: Samples | None
    """A factor for each block, between whose middles it runs straight; None where no peak is too high."""
    block: int
    """Samples in a block."""
    loudness: float | None
    """LUFS of the result; None for silence."""
    true_peak: float | None
    """dBTP of the result."""

    def apply(self, samples: Samples, position: int) -> Samples:
        """A stretch of the job at its level; `position` is that of its first sample in the job."""
        factor = 10 ** (self.gain_db / 20)
        if self.dips is None:
            return (samples * np.float32(factor)).astype(np.float32, copy=False)
        first = max(0, position // self.block - 1)
        last = (position + len(samples)) // self.block + 2
        dips = self.dips[first:last]
        middles = (np.arange(first, first + len(dips)) + 0.5) * self.block
        curve = np.interp(np.arange(position, position + len(samples)), middles, dips)
        return (samples * (curve * factor)).astype(np.float32)


def level(blocks: Blocks, loudness: float | None, target: float | None, ceiling: float) -> Level:
    """Find the gain that brings a job of this `loudness` to `target` (LUFS) with no true peak over `ceiling` (dBTP).

    What limiting takes from the loudness, more gain gives back. With no target, or nothing to hear, nothing changes.
    """
    peak = decibels(float(blocks.peaks.max(initial=0.0)))
    if target is None or loudness is None or peak is None:
        return Level(0.0, None, blocks.size, loudness, peak)
    before = blocks.loudness()
    most = ceiling - peak + MOST_LIMITING_DB
    gain = min(target - loudness, most)
    if peak + gain <= ceiling:
        return Level(gain, None, blocks.size, loudness + gain, peak + gain)
    dips = _dips(blocks.peaks, gain, ceiling)
    lost = 0.0
    for _ in range(ROUNDS):
        after = blocks.loudness(dips)
        lost = 0.0 if before is None or after is None else before - after
        better = min(gain + target - (loudness + gain - lost), most)
        if abs(better - gain) < CLOSE_ENOUGH_LU:
            break
        gain = better
        dips = _dips(blocks.peaks, gain, ceiling)
    highest = _highest(blocks.peaks, dips) * 10 ** (gain / 20)
    return Level(gain, dips, blocks.size, loudness + gain - lost, decibels(highest))


def _dips(peaks: Samples, gain: float, ceiling: float) -> Samples:
    """The mean, over the blocks around each, of the lowest factor that any peak near those needs.

    A block's own peak is near all the blocks that count for its factor and for its neighbours' (between which the
    factor runs straight), so nowhere is it above what the peak needs, and it never jumps.
    """
    allowed = 10 ** ((ceiling - MARGIN_DB - gain) / 20)
    dips = np.ones(len(peaks), np.float32)
    smooth = REACH - 1
    margin = REACH + smooth
    for start in range(0, len(peaks), STRETCH):  # in stretches, since copies of all blocks of a book would add up
        first, last = max(0, start - margin), start + STRETCH + margin
        needed = np.minimum(1.0, allowed / np.maximum(peaks[first:last], 1e-12)).astype(np.float32)
        lowest = _windows(np.pad(needed, REACH, constant_values=1.0), REACH).min(axis=1)
        mean = _windows(np.pad(lowest, smooth, mode="edge"), smooth).mean(axis=1, dtype=np.float32)
        dips[start : start + STRETCH] = mean[start - first :][:STRETCH]
    return dips


def _windows(values: Samples, around: int) -> Samples:
    """Each value with so many on both sides, where there are as many."""
    return np.lib.stride_tricks.sliding_window_view(values, 2 * around + 1)


def _highest(peaks: Samples, dips: Samples) -> float:
    """The highest peak that can be left: each with the highest factor that any sample of its block can get."""
    highest = 0.0
    for start in range(0, len(peaks), STRETCH):
        stretch = peaks[start : start + STRETCH]
        padded = np.pad(dips[max(0, start - 1) : start + STRETCH + 1], 1, mode="edge")
        widest = _windows(padded, 1).max(axis=1)[min(start, 1) :][: len(stretch)]
        highest = max(highest, float((stretch * widest).max()))
    return highest


def rounded(value: float | None) -> float | None:
    """For people: hundredths of a decibel."""
    return None if value is None or not math.isfinite(value) else round(value, 2)
