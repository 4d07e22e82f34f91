"""A model in two parts, whose second one makes sound of frames a stretch at a time: its memory has a limit.

The decoder takes some 100 bytes of memory for each sample of a run, so the longest sentence would decide on the memory
of a worker. A sample depends on the frames around it alone, as far as the decoder's convolutions reach: with so many
more at both ends of a stretch its middle is what it would be in the whole.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[Any]]

MOST_FRAMES = 448
"""In a stretch without what is added at its ends: 5 s at 22,050 Hz and 256 samples a frame."""
REACH = "piperd_reach"
"""In the decoder's metadata: how many frames its convolutions reach to either side."""


class Session(Protocol):
    """What is used of `onnxruntime.InferenceSession`."""

    def run(self, names: Sequence[str] | None, given: Tensors, options: Any = None) -> list[NDArray[Any]]: ...
    def get_inputs(self) -> Sequence[Any]: ...
    def get_outputs(self) -> Sequence[Any]: ...


class InStretches:
    """Both parts, for whoever wants the one model that they were (`piper.PiperVoice`)."""

    def __init__(self, front: Session, decoder: Session, reach: int, most: int = MOST_FRAMES) -> None:
        """`front` gives what `decoder` takes, by the same names, and behind that the outputs that are its own."""
        self._front = front
        self._decoder = decoder
        self._reach = reach
        self._most = most
        self._between = [each.name for each in decoder.get_inputs()]
        self._names = [each.name for each in front.get_outputs()]

    def get_inputs(self) -> Sequence[Any]:
        return self._front.get_inputs()

    def run(self, _names: Sequence[str] | None, given: Tensors, options: Any = None) -> list[NDArray[Any]]:
        """The sound, and the outputs of the front part."""
        found = dict(zip(self._names, self._front.run(None, given, options), strict=True))
        frames = {name: found.pop(name) for name in self._between}
        return [self._sound(frames, options), *found.values()]

    def _sound(self, frames: Tensors, options: Any) -> NDArray[Any]:
        width = max(each.shape[-1] for each in frames.values())
        count = max(1, -(-width // self._most))
        edges = [number * width // count for number in range(count + 1)]
        parts = []
        for start, end in pairwise(edges):
            first, last = max(0, start - self._reach), min(width, end + self._reach)
            # what is the same for all frames, as a speaker is, has another width
            stretch = {
                name: each[..., first:last] if each.shape[-1] == width else each for name, each in frames.items()
            }
            (sound, *_) = self._decoder.run(None, stretch, options)
            hop = sound.shape[-1] // (last - first)
            parts.append(sound[..., (start - first) * hop : (end - first) * hop])
        return np.concatenate(parts, axis=-1) if count > 1 else parts[0]
