"""The better copy of a voice's model: where it lies, when it is made, and what is done where there is none.

It says how long each phoneme is, and is faster: see `piperd.engine.tuner`, which makes and checks it. That runs as a
program of its own, so that the memory that it takes is given back.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from piperd.machine import cpu_features

if TYPE_CHECKING:
    from pathlib import Path

    from piperd.engine.wire import VoiceFiles

TUNING_VERSION = 3
"""Raised when `piperd.engine.tuner` makes other copies than before."""
PATIENCE = 45
"""Seconds that making a copy may take: less than a worker may take to start."""
MOST_TRIES = 3
"""How often it may take longer, each time at another start of a worker: a machine may have been busy."""
LATE = ".late"
"""Suffix of the file that has a line for each time."""
REFUSED = ".refused"
"""Suffix of the file that says why a model has no copy, or what its copy lacks."""


def copy_of(files: VoiceFiles, folder: Path) -> Path:
    """The model to load: the tuned copy in `folder`, made now if there is none, or the original where none can be made.

    Of several processes one makes it and the others wait for it, so that all speak with the same model.
    """
    target = folder / f"{files.digest[:32]}-{_kind()}.onnx"
    refused = target.with_suffix(REFUSED)
    try:
        if not (target.exists() or refused.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (target.exists() or refused.exists()):
                    _try(files, target, refused)
                for other in folder.glob(f"{files.digest[:32]}-*"):  # 63 MB each, of versions that are no more
                    if not other.name.startswith(f"{target.stem}."):
                        other.unlink(missing_ok=True)
        return target if target.exists() else files.model
    except OSError:  # no room, say: the original will do
        return files.model


def decoder_of(model: Path) -> Path:
    """Where the decoder of a copy is, if it is a model of its own."""
    return model.with_suffix(".decoder.onnx")


def _kind() -> str:
    """What a copy is made for: ONNX Runtime's version, the CPU's abilities, and this program."""
    cpu = hashlib.sha256(" ".join(cpu_features()).encode()).hexdigest()[:8]
    return f"ort{version('onnxruntime')}-{cpu}-{TUNING_VERSION}"


def _try(files: VoiceFiles, target: Path, refused: Path) -> None:
    """Make the copy, or write down why there is none: `piperd check` shows it, and nobody tries again."""
    late = target.with_suffix(LATE)
    try:
        reason = _make(files, target)
    except subprocess.TimeoutExpired:
        with late.open("a") as file:
            file.write(f"more than {PATIENCE} s\n")
        if len(late.read_text().splitlines()) < MOST_TRIES:
            return
        reason = f"it took more than {PATIENCE} s, {MOST_TRIES} times"
    if reason:
        refused.write_text(f"{files.name}: {reason}\n")
    late.unlink(missing_ok=True)


def _make(files: VoiceFiles, target: Path) -> str:
    """Make the copy in a process of its own; gives what of it was not possible, and why.

    Raises `subprocess.TimeoutExpired`.
    """
    command = [sys.executable, "-m", "piperd.engine.tuner", str(files.model), str(files.config), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode == 0:
        return done.stdout.strip()
    return done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
