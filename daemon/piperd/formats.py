"""Which audio formats there are, and what each can hold. Values only: nothing is encoded here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["wav", "flac", "mp3", "ogg", "opus"]
Encoding = Literal["pcm16", "pcm24", "float32", "ulaw", "alaw"]
"""Of the samples in a WAV file."""
Captions = Literal["srt", "vtt", "words"]
CAPTION_SUFFIXES = {"srt": ".srt", "vtt": ".vtt", "words": ".words.json"}
LOWEST_RATE = 8_000
HIGHEST_RATE = 48_000

# Opus codes at these rates alone (RFC 6716, table 1); MPEG-1, -2 and -2.5 layer III know these
_RATES = {
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}

_BYTES = {"pcm16": 2, "pcm24": 3, "float32": 4, "ulaw": 1, "alaw": 1}
_WAV_BYTES = (1 << 32) - (1 << 16)
"""A WAV file counts its bytes in 32 bits. RF64, which counts in 64, is not understood by most of what plays WAV."""


@dataclass(frozen=True, slots=True)
class RateRefusedError(ValueError):
    """The format can't hold this rate."""

    rate: int
    rates: tuple[int, ...]
    """Those that it can hold."""


def suffix(audio_format: str) -> str:
    """Of the file names of a format: ``.wav``."""
    return f".{audio_format}"


def check_rate(audio_format: str, rate: int) -> None:
    """Raises `RateRefusedError` where the format can't hold this rate (hertz)."""
    rates = _RATES.get(audio_format)
    if rates is not None and rate not in rates:
        raise RateRefusedError(rate, rates)


def rate_for(audio_format: str, rate: int) -> int:
    """The rate (hertz) at which a format holds a voice of this rate: its own, or the next higher one there is."""
    rates = _RATES.get(audio_format)
    if rates is None:
        return rate
    return next((each for each in rates if each >= rate), rates[-1])


def most_frames(audio_format: str, encoding: str) -> int | None:
    """How many frames of one channel a file can hold at the most; None where there is no limit to speak of."""
    return _WAV_BYTES // _BYTES[encoding] if audio_format == "wav" else None
