"""Writes one audio file in any of the formats, with its tags. Decides nothing about its sound but how it is coded."""

from __future__ import annotations

import contextlib
import unicodedata
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from mutagen import MutagenError
from mutagen.id3 import COMM, ID3, TALB, TIT2, TRCK, Encoding, Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from piperd.engine import RenderPlan

    Samples = NDArray[np.float32]

BLOCK = 32_768
"""Frames that are handed over at a time: libsndfile's Vorbis encoder overflows the stack with some million."""
LONGEST_TAG = 250
"""Characters."""
_JOINERS = "\u200c\u200d"
"""Invisible, but Persian and emoji are written with them."""


def _pcm16(samples: Samples) -> NDArray[np.int16]:
    # Not dithered: what a model speaks has noise enough of its own, and silence stays digital silence.
    levels: NDArray[np.int16] = np.clip(np.rint(samples * 32_767.0), -32_767, 32_767).astype(np.int16)
    return levels


def _pcm24(samples: Samples) -> NDArray[np.int32]:
    # libsndfile takes the upper three bytes
    return np.clip(np.rint(samples.astype(np.float64) * 8_388_607.0), -8_388_607, 8_388_607).astype(np.int32) << 8


def _clipped(samples: Samples) -> Samples:
    # for u-law and A-law libsndfile would look behind the ends of its tables, and die far behind them
    return np.clip(samples, -1.0, 1.0)


def _as_it_is(samples: Samples) -> Samples:
    return samples


@dataclass(frozen=True, slots=True)
class _Form:
    """How soundfile is told of a format."""

    format: str
    subtype: str
    convert: Callable[[Samples], NDArray[np.generic]] = _clipped
    options: Mapping[str, object] = field(default_factory=dict)


_WAVS = {
    "pcm16": _Form("WAV", "PCM_16", _pcm16),
    "pcm24": _Form("WAV", "PCM_24", _pcm24),
    "float32": _Form("WAV", "FLOAT", _as_it_is),
    "ulaw": _Form("WAV", "ULAW"),
    "alaw": _Form("WAV", "ALAW"),
}
# Bit rates of the default voice at its 22,050 Hz (24,000 for Opus), measured
_OTHERS = {
    "flac": _Form("FLAC", "PCM_16", _pcm16),
    # LAME's -V 4, 60 kbit/s. Not a constant rate: LAME leaves its header out where that does not fit into a frame, as
    # at 40 kbit/s and 22,050 Hz, and then nobody can tell the encoder's delay and padding (70 ms) from the sound.
    "mp3": _Form("MP3", "MPEG_LAYER_III", options={"compression_level": 0.4, "bitrate_mode": "VARIABLE"}),
    # quality 6, 64 kbit/s: at 4 single peaks came out 1.7 dB too high
    "ogg": _Form("OGG", "VORBIS", options={"compression_level": 0.4}),
    # 57 kbit/s: with less, Opus codes speech by its other method, which took twice the time and 0.4 LU of the level
    "opus": _Form("OGG", "OPUS", options={"compression_level": 0.8}),
}


class _Unsynced(soundfile.SoundFile):  # type: ignore[misc]  # has no types
    """Closing one does not wait for the disk: ten thousand scenes would, and what is published is synced there."""

    def flush(self) -> None:
        pass


class NotWholeError(OSError):
    """A file has not become what was written to it, and the encoder has not said so."""


class AudioFile:
    """A mono file that is being written; whole when `close` has returned.

    Methods raise OSError, `soundfile.SoundFileError` or AssertionError: libsndfile reports a full disk in a class of
    its own, and soundfile notices a short write by an assertion.
    """

    def __init__(self, path: Path, plan: RenderPlan, tags: Mapping[str, str]) -> None:
        """`tags` by the names that soundfile has for them; what can't be shown is left out of them."""
        self._form = _WAVS[plan.encoding] if plan.format == "wav" else _OTHERS[plan.format]
        self._path = path
        self._frames = 0
        self._file = _Unsynced(
            path, "w", plan.sample_rate, 1, self._form.subtype, format=self._form.format, **self._form.options
        )
        self._tags = {name: shown for name, text in tags.items() if (shown := presentable(text))}
        if plan.format != "mp3":
            for name, text in self._tags.items():
                setattr(self._file, name, text)

    def write(self, samples: Samples) -> None:
        for start in range(0, len(samples), BLOCK):
            block = samples[start : start + BLOCK]
            self._file.write(self._form.convert(block))
            self._frames += len(block)

    def close(self) -> None:
        """Make it whole."""
        self._file.close()
        # what the encoders hold back is written as the file is closed, and not all of them say when that fails
        found = soundfile.info(self._path).frames
        if found != self._frames:
            raise NotWholeError(f"{found} of {self._frames} frames are in {self._path.name}")
        if self._form.format == "MP3":
            self._tag()

    def _tag(self) -> None:
        """Put an ID3 tag in front.

        libsndfile writes UTF-8 into tags that it declares Latin-1, and one behind the sound, which is too much for
        ffmpeg's reckoning where files are short: it then plays the encoder's padding too.
        """
        tags = ID3()
        for name, text in self._tags.items():
            tags.add(_ID3[name](encoding=Encoding.UTF16, text=text))
        try:
            tags.save(self._path, v1=0, v2_version=3, padding=lambda _: 0)
        except MutagenError as error:
            raise NotWholeError(f"{self._path.name} could not be tagged: {error}") from error

    def abandon(self) -> None:
        """Nobody will use it: the error that is on its way matters, not what closing says."""
        with contextlib.suppress(OSError, soundfile.SoundFileError, AssertionError):
            self._file.close()


_ID3: dict[str, Callable[..., Frame]] = {
    "title": TIT2,
    "album": TALB,
    "tracknumber": TRCK,
    "comment": partial(COMM, lang="XXX"),
}
"""The frames that have these tags; nobody says in which language a comment is."""


def presentable(text: str) -> str:
    """A tag of one line: job texts are anybody's, and players print tags as they are."""
    kept = "".join(
        " " if unicodedata.category(char).startswith(("C", "Z")) and char not in _JOINERS else char for char in text
    )
    return " ".join(kept.split())[:LONGEST_TAG].rstrip()
