"""Figures of repeated measurements, and the files that keep them: one a measurement, in `results/`."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("piperd", "piper-tts", "onnxruntime", "numpy", "watchdog", "sherpa-onnx", "loudness-tts", "flask")


@dataclass(frozen=True)
class Result:
    """What one measurement has found."""

    name: str
    date: str
    quick: bool
    """Measured with small sizes, to try the measurement itself: its figures say nothing."""
    seconds: float
    """That it took."""
    machine: dict[str, Any]
    values: dict[str, Any]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1) + "\n")


def load(folder: Path) -> dict[str, Result]:
    """All results of a folder, by name."""
    found = [Result(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    return {result.name: result for result in found}


class Budget:
    """The time that a measurement may take; it repeats less often where that would take longer."""

    def __init__(
        self,
        seconds: float,
        *,
        quick: bool,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.quick = quick
        self.say = say
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - self._clock()

    def rounds(self, most: int) -> Iterator[int]:
        """Numbers of rounds: one at least, and further ones while they are likely to fit in."""
        longest = 0.0
        for number in range(1 if self.quick else most):
            if number and self.left < longest:
                self.say(f"no time for round {number + 1} of {most}")
                return
            began = self._clock()
            yield number
            longest = max(longest, self._clock() - began)


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, extremes and number of repeated measurements."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "n": len(values),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def cores() -> int:
    """That this process may use: the N of all measurements."""
    return len(os.sched_getaffinity(0))


def machine() -> dict[str, Any]:
    """What the figures were measured on, and with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.machine())
    found: dict[str, Any] = {
        "cpu": model,
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
