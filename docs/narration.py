"""Draw what docs/narration.md shows: the waveform of a spoken job, and over it where its words and captions lie.

python docs/narration.py AUDIO.wav PICTURE.png

Reads AUDIO.words.json and AUDIO.srt beside it. `make docs` speaks the film script of inbox-example/ and draws this.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import soundfile

mpl.use("Agg")

from matplotlib import pyplot as plt

ROW_SECONDS = 10.0
"""Of sound in each row of the picture."""
ROWS = 3
LEAST_SECONDS = 0.5
"""Of a caption in a row, for its text to be written there."""
TIMES = re.compile(r"(\d+):(\d+):(\d+),(\d+) --> (\d+):(\d+):(\d+),(\d+)")


@dataclass(frozen=True)
class Cue:
    """A caption on the screen; seconds."""

    start: float
    end: float
    text: str


def cues(srt: str) -> list[Cue]:
    found = []
    for block in srt.strip().split("\n\n"):
        _, times, *lines = block.split("\n")
        numbers = [int(number) for number in TIMES.fullmatch(times).groups()]  # type: ignore[union-attr] # it is ours
        start, end = (h * 3600 + m * 60 + s + ms / 1000 for h, m, s, ms in (numbers[:4], numbers[4:]))
        found.append(Cue(start, end, " / ".join(lines)))
    return found


def draw(audio: Path, picture: Path) -> None:
    """Rows of the waveform, words above it, captions below."""
    samples, rate = soundfile.read(audio, dtype="float32")
    words = json.loads(audio.with_suffix(".words.json").read_bytes())["words"]
    captions = cues(audio.with_suffix(".srt").read_text())
    figure, rows = plt.subplots(ROWS, 1, figsize=(16, 2.6 * ROWS), constrained_layout=True)
    for number, row in enumerate(rows):
        start = number * ROW_SECONDS
        part = samples[round(start * rate) : round((start + ROW_SECONDS) * rate)]
        row.plot(start + np.arange(len(part)) / rate, part, color="#345", linewidth=0.4)
        for word in words:
            if start <= word["start_s"] < start + ROW_SECONDS:
                row.axvspan(word["start_s"], word["end_s"], ymin=0.15, ymax=0.85, color="#f5a623", alpha=0.25, lw=0)
                row.text(word["start_s"], 0.92, word["word"], fontsize=7, rotation=30, ha="left", va="bottom")
        for cue in captions:
            if cue.start < start + ROW_SECONDS and cue.end > start:
                left, right = max(cue.start, start), min(cue.end, start + ROW_SECONDS)
                row.hlines(-0.92, left, right, color="#c0392b", linewidth=5, alpha=0.8)
                if right - left < LEAST_SECONDS:
                    continue
                row.text(left, -1.0, cue.text, fontsize=8, ha="left", va="top", color="#c0392b", clip_on=False)
        row.set(xlim=(start, start + ROW_SECONDS), ylim=(-1.25, 1.25), yticks=[])
        row.spines[["top", "right", "left"]].set_visible(b=False)
    rows[-1].set_xlabel("seconds")
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    if len(sys.argv) != 3:  # noqa: PLR2004 - the program and its arguments
        sys.exit(__doc__)
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
