"""Loops side by side: each in a process of its own, all begun at one moment, timed until the last has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOP = Path(__file__).with_name("loop.py")


def run(
    kind: str, shares: Sequence[Sequence[str]], options: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Run:
    """A loop of this kind for each share of the texts; see `loop.py`."""
    loops = [
        subprocess.Popen(
            [sys.executable, LOOP, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        for _ in shares
    ]
    try:
        for loop, share in zip(loops, shares, strict=True):
            _tell(loop, json.dumps({**options, "texts": list(share)}))
        for loop in loops:
            _hear(loop)
        began = time.monotonic()
        for loop in loops:
            _tell(loop, "go")
        done = sum(json.loads(_hear(loop))["done"] for loop in loops)
        return Run(done, time.monotonic() - began)
    finally:
        for loop in loops:
            loop.kill()
            loop.communicate()


def dealt(texts: Sequence[str], hands: int) -> list[Sequence[str]]:
    """The texts dealt out in turns, the longest first: all hands get about as much."""
    ranked = sorted(texts, key=len, reverse=True)
    return [ranked[hand::hands] for hand in range(min(hands, len(ranked)))]


def _tell(loop: subprocess.Popen[str], line: str) -> None:
    assert loop.stdin is not None
    loop.stdin.write(line + "\n")
    loop.stdin.flush()


def _hear(loop: subprocess.Popen[str]) -> str:
    assert loop.stdout is not None
    if not (line := loop.stdout.readline()):
        raise RuntimeError(f"a loop has ended: exit code {loop.wait()}")
    return line
