"""How loud a signal is (ITU-R BS.1770-4), measured as it streams by; changes no sound, reads no files.

The K-weighting is done by overlap-save convolution with numpy's FFT instead of a recursive filter: scipy's would
add 74 MB and 0.7 s to every worker. Both filters have died away to less than 1e-9 after 0.2 s, so that a quarter
of a second of history gives the recursive filter's output to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

ABSOLUTE_GATE = -70.0
"""LUFS; BS.1770-4, equation 6."""
RELATIVE_GATE = -10.0
"""LU under the loudness of what passed the absolute gate."""
STEPS_A_SECOND = 10
STEPS_A_BLOCK = 4
"""Blocks of 400 ms that overlap by 75 %."""
BLOCKS_A_SECOND = 200
STRETCH = 20 * 4_096
"""Blocks that are worked on at a time, seven minutes; a whole number of steps."""
OVERSAMPLING = 4
"""BS.1770-4, annex 2."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A signal in blocks of 5 ms."""

    size: int
    """Samples in a block; `BLOCKS_A_SECOND` of them are a second, about: a rate need not be a multiple."""
    peaks: Samples
    """The highest true peak of each (amplitude)."""
    energies: Samples
    """The K-weighted sum of squares of each."""

    def loudness(self, factors: Samples | None = None) -> float | None:
        """Integrated, in LUFS, with each block's amplitude times its factor. None where nothing passes the gate."""
        step = BLOCKS_A_SECOND // STEPS_A_SECOND
        sums = []
        # in stretches, since copies of all blocks of a book would add up
        for start in range(0, len(self.energies), STRETCH):
            energies = self.energies[start : start + STRETCH].astype(np.float64)
            if factors is not None:
                energies *= np.square(factors[start : start + STRETCH])
            sums.append(np.add.reduceat(energies, np.arange(0, len(energies), step)))
        steps = np.concatenate([np.zeros(0), *sums])
        whole = len(self.energies) // step
        if whole < STEPS_A_BLOCK:
            energy = float(steps.sum())
            return _lufs(energy / (self.size * len(self.energies))) if energy else None
        return gated(steps[:whole], self.size * step)


class Meter:
    """Integrated loudness and true peak of a mono signal, and the same block by block."""

    def __init__(self, rate: int) -> None:
        """`rate` in hertz."""
        self._weighting = _Weighting(rate)
        self._rate = rate
        self._steps: list[float] = []
        """Energy (sum of squares) of each whole step."""
        self._energy = 0.0
        self._position = 0
        self._block = max(1, rate // BLOCKS_A_SECOND)
        self._peaks = _Folded(np.maximum, OVERSAMPLING * self._block)
        self._energies = _Folded(np.add, self._block)
        self._oversampler = soxr.ResampleStream(rate, OVERSAMPLING * rate, 1, dtype="float32", quality="HQ")

    def add(self, samples: Samples) -> None:
        """Take in the next stretch of the signal."""
        # in stretches of a second, since oversampling takes four times the memory
        for start in range(0, len(samples), self._rate):
            stretch = samples[start : start + self._rate]
            self._peaks.add(np.abs(self._oversampler.resample_chunk(stretch)))
            self._add_weighted(self._weighting.filter(stretch))

    def finish(self) -> tuple[float | None, float | None]:
        """Loudness in LUFS and true peak in dBTP; None where there is only silence. No `add` may follow."""
        self._peaks.add(np.abs(self._oversampler.resample_chunk(np.zeros(0, np.float32), last=True)))
        self._add_weighted(self._weighting.finish())
        return self._loudness(), decibels(float(self.blocks.peaks.max(initial=0.0)))

    @property
    def blocks(self) -> Blocks:
        """Block by block, once it is finished."""
        energies, peaks = self._energies.all(), self._peaks.all()
        missing = len(energies) - len(peaks)
        return Blocks(self._block, np.pad(peaks, (0, missing)) if missing > 0 else peaks, energies)

    def _add_weighted(self, weighted: Samples) -> None:
        squares = np.square(weighted)
        self._energies.add(squares)
        while True:
            # each step's end is computed anew: 100 ms are no whole number of samples at 11,025 Hz
            missing = (len(self._steps) + 1) * self._rate // STEPS_A_SECOND - self._position
            self._energy += float(squares[:missing].sum())
            if len(squares) < missing:
                self._position += len(squares)
                return
            self._position += missing
            squares = squares[missing:]
            self._steps.append(self._energy)
            self._energy = 0.0

    def _loudness(self) -> float | None:
        steps = np.array(self._steps)
        if len(steps) < STEPS_A_BLOCK:
            # too short for a gate: one block of its own length
            energy = float(steps.sum()) + self._energy
            return _lufs(energy / self._position) if energy else None
        return gated(steps, self._rate / STEPS_A_SECOND)


class _Folded:
    """A signal that streams by, each block of it folded into one value: 4 bytes for 5 ms, 14 MB for five hours."""

    def __init__(self, fold: np.ufunc, size: int) -> None:
        self._fold = fold
        self._size = size
        self._rest: Samples = np.zeros(0, np.float32)
        self._folded: Samples = np.zeros(1024, np.float32)
        self._count = 0

    def add(self, values: Samples) -> None:
        if len(self._rest):
            values = np.concatenate([self._rest, values])
        whole = len(values) // self._size * self._size
        if whole:
            self._keep(self._fold.reduceat(values[:whole], np.arange(0, whole, self._size)))
        self._rest = values[whole:].copy()

    def all(self) -> Samples:
        """The values, the last one of what is left over. Nothing may be added any more."""
        if len(self._rest):
            self._keep(self._fold.reduce(self._rest, keepdims=True))
            self._rest = self._rest[:0]
        return self._folded[: self._count]

    def _keep(self, folded: NDArray[Any]) -> None:
        if self._count + len(folded) > len(self._folded):
            # by half: pages that nothing has been written to take no memory
            self._folded.resize(max(self._count + len(folded), len(self._folded) * 3 // 2), refcheck=False)
        self._folded[self._count : self._count + len(folded)] = folded
        self._count += len(folded)


def gated(steps: NDArray[np.float64], samples: float) -> float | None:
    """Integrated loudness in LUFS of a signal given as K-weighted energies of four steps at least, `samples` in each.

    None where nothing passes the gate.
    """
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    blocks = (sums[STEPS_A_BLOCK:] - sums[:-STEPS_A_BLOCK]) / (STEPS_A_BLOCK * samples)
    audible = blocks[blocks >= _power(ABSOLUTE_GATE)]
    if not len(audible):
        return None
    counted = audible[audible > float(audible.mean()) * 10 ** (RELATIVE_GATE / 10)]
    return _lufs(float(counted.mean()))


class _Weighting:
    """K-weighting by overlap-save: what goes in comes out later, sample for sample."""

    def __init__(self, rate: int) -> None:
        self._history = rate // 4
        """Samples of the past in each window: a quarter of a second, see above."""
        size = 1 << rate.bit_length()
        """Of a window: one to two seconds."""
        self._response = _k_response(rate, size)
        self._window = np.zeros(size, np.float32)
        self._filled = self._history

    def filter(self, samples: Samples) -> Samples:
        """What has become ready by this stretch of the signal."""
        ready = []
        while len(samples):
            room = len(self._window) - self._filled
            taken = samples[:room]
            self._window[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            samples = samples[room:]
            if self._filled == len(self._window):
                ready.append(self._turn())
        return np.concatenate(ready) if ready else np.zeros(0, np.float32)

    def finish(self) -> Samples:
        """The rest."""
        rest = self._filled - self._history
        self._window[self._filled :] = 0.0
        return self._turn()[:rest]

    def _turn(self) -> Samples:
        weighted = np.fft.irfft(np.fft.rfft(self._window) * self._response)
        self._window[: self._history] = self._window[-self._history :]
        self._filled = self._history
        return np.asarray(weighted[self._history :], np.float32)


@cache
def _k_response(rate: int, size: int) -> NDArray[np.complex64]:
    """Frequency response of the K-weighting at the points of a real FFT of `size`.

    Analogue prototypes whose bilinear transform gives the coefficients of BS.1770-4's tables 1 and 2 at 48 kHz
    (B. De Man, "Evaluation of Implementations of the EBU R128 Loudness Measurement", AES 145, 2018); libebur128
    and ffmpeg use the same for other rates.
    """
    k = math.tan(math.pi * 1681.974450955533 / rate)
    q = 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = [high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]
    shelf_poles = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    k = math.tan(math.pi * 38.13547087602444 / rate)
    q = 0.5003270373238773
    # BS.1770 leaves the numerator of the second filter as it is: 1, -2, 1
    scale = 1 + k / q + k * k
    high_pass_poles = [1.0, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale]
    response = (
        np.fft.rfft(shelf, size)
        / np.fft.rfft(shelf_poles, size)
        * np.fft.rfft([1, -2, 1], size)
        / np.fft.rfft(high_pass_poles, size)
    )
    return np.asarray(response, np.complex64)


def decibels(amplitude: float) -> float | None:
    """None for nothing at all."""
    return 20 * math.log10(amplitude) if amplitude > 0 else None


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))
