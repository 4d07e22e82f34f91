"""The start: until all workers are ready, beside ONNX Runtime that is imported and loads the model, and no more."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import rig
from contenders import MODEL
from figures import cores, spread

if TYPE_CHECKING:
    from figures import Budget

ROUNDS = 5
ALONE = """
import sys
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
onnxruntime.InferenceSession(sys.argv[1], sess_options=options, providers=["CPUExecutionProvider"])
print("loaded", flush=True)
"""


def measure(budget: Budget) -> dict[str, Any]:
    """Seconds, in turns; both from the start of the process, with all files in the kernel's cache."""
    daemon: list[float] = []
    alone: list[float] = []
    for number in budget.rounds(ROUNDS):
        budget.say(f"round {number + 1} of {ROUNDS}")
        alone.append(_alone())
        with rig.Daemon(settled=0.0) as started:
            daemon.append(started.ready_s)
    return {
        "workers": cores(),
        "ready_s": spread(daemon),
        "alone_s": spread(alone),
        "ratio": spread([ours / theirs for ours, theirs in zip(daemon, alone, strict=True)], 2),
    }


def _alone() -> float:
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", ALONE, MODEL], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the model can't be loaded")
        return time.monotonic() - began
