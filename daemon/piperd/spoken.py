"""The form of a spoken utterance on disk: one JSON line, then the samples. Pure: bytes in, bytes out.

The samples are 32-bit floats, little-endian, mono, in -1 to 1 as the model gave them: no level is decided before
the whole job is known, and none of the model's dynamics is lost to rounding. The line carries a CRC of the samples,
since entries are not fsynced: after a power loss a torn one is noticed and spoken anew.

No other form was faster (benchmarks/store_formats.py; CPU milliseconds to write and to read a minute of audio, which
takes some 5,000 to speak): this one 2.6 and 2.2, WAV 4.0 and 1.5 without any check, WAV of 16 bits 5.7 and 2.7, FLAC of
24 bits 23 and 16, of 16 bits 19 and 15. FLAC would halve the 5.3 MB that the minute takes.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Word = tuple[int, int, int, int]

FORMAT = "piperd-utterance-2"
SAMPLE_BYTES = 4
HEADER_LIMIT = 1 << 20
"""Bytes; a longer first line is no header of ours."""


class CorruptError(Exception):
    """The bytes are not a whole spoken utterance."""


@dataclass(frozen=True, slots=True)
class Header:
    sample_rate: int
    """Hertz."""
    samples: int
    crc32: int
    words: tuple[Word, ...] | None = None
    """Each word of the utterance's text, in order: its first character and the one behind its last, its first sample
    and the one behind its last; None where the voice gives no durations."""

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def pack(samples: bytes, sample_rate: int, words: Sequence[Word] | None = None) -> tuple[bytes, bytes]:
    """The header line and the samples, to be written one after the other.

    `samples` are little-endian 32-bit floats.
    """
    header = {
        "format": FORMAT,
        "sample_rate": sample_rate,
        "samples": len(samples) // SAMPLE_BYTES,
        "crc32": zlib.crc32(samples),
        "words": words,
    }
    return json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode() + b"\n", samples


def unpack(data: bytes | memoryview) -> tuple[Header, memoryview]:
    """Header and samples of a whole entry. Raises `CorruptError` if anything does not fit."""
    view = memoryview(data)
    line, newline, _ = bytes(view[:HEADER_LIMIT]).partition(b"\n")
    try:
        fields = json.loads(line)
        if not newline or fields["format"] != FORMAT:
            raise CorruptError("not a spoken utterance")
        words = fields["words"]
        header = Header(
            sample_rate=fields["sample_rate"],
            samples=fields["samples"],
            crc32=fields["crc32"],
            words=None if words is None else tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in words),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"its header can't be read: {error}") from error
    samples = view[len(line) + 1 :]
    if len(samples) != header.samples * SAMPLE_BYTES:
        raise CorruptError(f"{len(samples)} bytes of samples where {header.samples * SAMPLE_BYTES} belong")
    if zlib.crc32(samples) != header.crc32:
        raise CorruptError("the checksum of its samples differs")
    return header, samples
