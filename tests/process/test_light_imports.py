"""What the daemon's own process loads: no model runtime and no sound library, so that it stays small."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

HEAVY = ("numpy", "scipy", "onnxruntime", "piper", "soundfile", "soxr", "pyloudnorm")
LOADED = "import sys, importlib; importlib.import_module(sys.argv[1]); print(*sys.modules)"


@pytest.mark.parametrize("module", ["piperd.cli", "piperd.service", "piperd.testing"])
def test_the_daemon_stays_light(module: str) -> None:
    """Importing the daemon in a fresh interpreter loads none of the heavy libraries."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not there yet")
    result = subprocess.run(
        [sys.executable, "-c", LOADED, module], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert not {name.split(".")[0] for name in result.stdout.split()} & set(HEAVY)
