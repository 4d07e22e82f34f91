"""A book of hours costs the daemon no more memory than its text takes; that the renderer streams is tested there."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness import Box, ThreadDaemon

if TYPE_CHECKING:
    from pathlib import Path

MEASURE = """
import json, sys
from pathlib import Path
from piperd import jobfile
from piperd.engine import wire
from piperd.job import Job, JobState, Voice
from piperd.script import rehearse
from piperd.store import Store
from piperd.tasks import render_plan

def peak():
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) << 10

voices = {"en_US-joe-medium": Voice("en_US-joe-medium", Path("m"), Path("c"), "0" * 64, "en", 22050)}

def lead(text):
    defaults = jobfile.Defaults(max_text=10**8, captions=("srt", "words"))
    spec = jobfile.parse("book.txt", text.encode(), defaults, voices)
    spec = type(spec).from_json(spec.as_json())
    job = Job("J", 1, b"book.txt", b"/c", len(text), "", "book", JobState.RUNNING, 5, 1, 0.0, spec=spec)
    script, _ = rehearse(job, voices, 10**6)
    plan = render_plan(job, script, Store(Path("/s")), voices, Path("/w"), 10**6)
    return len(script.utterances), len(wire.encode_plan(plan))

lead("A short text, so that all that is made once is there. It costs $5.")
before = peak()
chapter = "On the 3rd day Dr. Hale had sailed 40 km. Nothing was to be seen but the sea, and nobody spoke a word.\\n\\n"
text = chapter * (int(sys.argv[1]) // len(chapter))
utterances, plan = lead(text)
print(json.dumps({"grown": peak() - before, "utterances": utterances, "plan": plan, "text": len(text)}))
"""


@pytest.mark.parametrize("characters", [300_000, 1_000_000], ids=["five hours", "all that limits.max_text allows"])
def test_a_long_book_costs_its_text(characters: int) -> None:
    """From the file's bytes to the plan of its rendering: some dozens of bytes for each of its characters."""
    asked = subprocess.run(
        [sys.executable, "-c", MEASURE, str(characters)], check=True, capture_output=True, text=True, timeout=120
    )
    found = json.loads(asked.stdout)
    assert found["utterances"] > characters / 100
    assert found["grown"] < 60 * found["text"], found


def test_a_book_of_days_is_refused(tmp_path: Path) -> None:
    """Five million characters, some ninety hours: by its length, before anything is spoken; its neighbour is spoken."""
    box = Box(tmp_path)
    box.drop("days.txt", "It was a long voyage. " * 230_000)
    box.drop("short.txt", "It was short.")
    with ThreadDaemon(box, drain=True) as daemon:
        daemon.join()
    error = box.final("days.json")["error"]
    assert (error["code"], error["retryable"]) == ("text_too_long", False)
    assert "limits.max_text" in error["message"]
    assert box.final("short.json")["state"] == "done"
