"""A model in two parts sounds as the whole does, and never has more than a stretch in its hands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from piperd.engine.stretches import InStretches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

HOP = 3


class Front:
    """Gives frames, a speaker and durations of as many phonemes as it is asked for."""

    def get_inputs(self) -> Sequence[Any]:
        return [SimpleNamespace(name="input")]

    def get_outputs(self) -> Sequence[Any]:
        return [SimpleNamespace(name=name) for name in ("speaker", "frames", "durations")]

    def run(self, _names: Any, given: Mapping[str, NDArray[Any]], _options: Any = None) -> list[NDArray[Any]]:
        width = int(given["input"][0])
        frames = np.random.default_rng(width).normal(0, 1, (1, 2, width))
        return [np.full((1, 1, 1), 5.0), frames, np.arange(width)]


class Decoder:
    """Each sample depends on the frames around it, as far as it reaches."""

    def __init__(self, reach: int) -> None:
        self.kernel = np.random.default_rng(1).normal(0, 1, 2 * reach + 1)
        self.widths: list[int] = []

    def get_inputs(self) -> Sequence[Any]:
        return [SimpleNamespace(name=name) for name in ("frames", "speaker")]

    def get_outputs(self) -> Sequence[Any]:
        return [SimpleNamespace(name="sound")]

    def run(self, _names: Any, given: Mapping[str, NDArray[Any]], _options: Any = None) -> list[NDArray[Any]]:
        frames, speaker = given["frames"], given["speaker"]
        assert speaker.shape == (1, 1, 1)
        self.widths.append(frames.shape[-1])
        padded = np.pad(frames[0].sum(axis=0), len(self.kernel) // 2)
        sound = np.convolve(padded, self.kernel, mode="valid") * speaker[0, 0, 0]
        return [np.repeat(sound, HOP).reshape(1, 1, 1, -1)]


@given(width=st.integers(2, 200), most=st.integers(1, 50), reach=st.integers(0, 8))
def test_it_sounds_as_the_whole_does(width: int, most: int, reach: int) -> None:
    """Whatever the length; the other outputs follow the sound."""
    decoder = Decoder(reach)
    asked = {"input": np.array([width])}
    (whole, durations) = InStretches(Front(), decoder, reach, 1 << 30).run(None, asked)
    assert decoder.widths == [width]
    decoder.widths.clear()
    (sound, others) = InStretches(Front(), decoder, reach, most).run(None, asked)
    assert sound.shape == whole.shape == (1, 1, 1, HOP * width)
    assert np.allclose(sound, whole, atol=1e-9)
    assert np.array_equal(durations, others)
    assert max(decoder.widths) <= most + 2 * reach


def test_what_reaches_farther_is_heard() -> None:
    """The comparison at the end of tuning would notice: the edges of a stretch are not what they are in the whole."""
    asked = {"input": np.array([100])}
    (whole, _) = InStretches(Front(), Decoder(8), 8, 1 << 30).run(None, asked)
    (sound, _) = InStretches(Front(), Decoder(8), 7, 20).run(None, asked)
    assert not np.allclose(sound, whole, atol=1e-9)
