"""`make bench` itself, with the measurement that costs least."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_measurement_makes_its_result_and_the_report(tmp_path: Path) -> None:
    """A real daemon takes ten and fifty files, all of which are archived, and the report tells of them."""
    command = [sys.executable, str(BENCHMARKS), "--quick", "--into", str(tmp_path), "jobs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results" / "jobs.json").read_bytes())
    assert result["quick"]
    assert [(each["files"], each["ended"]["median"]) for each in result["values"]["sizes"]] == [(10, 10), (50, 50)]
    assert result["values"]["largest"]["jobs_a_second"]["median"] > 0
    told = (tmp_path / "README.md").read_text()
    assert "Not to be used: jobs" in told
    assert "50 files; their renames took" in told


def test_an_unknown_measurement_is_refused(tmp_path: Path) -> None:
    """What there is to measure is named, and nothing is begun."""
    command = [sys.executable, str(BENCHMARKS), "--into", str(tmp_path), "speed"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "there is no speed" in done.stderr
    assert not list(tmp_path.iterdir())
