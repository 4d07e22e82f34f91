"""Writes benchmarks/README.md from the results, so that no figure in it is typed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

README = Path(__file__).with_name("README.md")

HEAD = """# How fast it is

Made by `make bench`, which measures everything again and rewrites this page; nothing here is typed by hand.
Ratios are between things measured in the same run, in turns; absolute times only describe this machine.
`make bench ARGS="latency burst"` measures only what is named.

"""


def write(results: dict[str, Any]) -> None:
    """Rewrite the report."""
    rows = [*_latency(results), *_throughput(results), *_long_text(results), *_footprint(results), *_burst(results)]
    table = ["| what | goal | measured |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
    machine = [f"- {name}: {value}" for name, value in results["machine"].items()]
    README.write_text(HEAD + "\n".join(table) + "\n\n## The machine\n\n" + "\n".join(machine) + "\n\n" + METHOD)


def _latency(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = results.get("latency")
    if not found:
        return []
    over = found["over_synthesis_ms"]
    measured = f"{over['median']} ms (p95 {found['p95_ms']}, {over['min']} to {over['max']}, {over['n']} notes)"
    what = "rename into the inbox until the WAV is published, one sentence, daemon idle, over the synthesis itself"
    return [(what, "≤ 100 ms", measured)]


def _throughput(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = results.get("throughput")
    if not found:
        return []
    rates = found["x_real_time"]

    def rate(name: str) -> str:
        return f"{rates[name]['median']} times real time ({rates[name]['min']} to {rates[name]['max']})"

    return [
        ("20 texts: piperd, 2 workers, from the first drop to the last final status", "", rate("piperd")),
        (
            "the same with two `piper` commands at a time, one a text",
            "piperd ≥ 3.3 times that",
            f"{rate('two piper commands')}; piperd is **{found['to_two_piper_commands']} times** as fast",
        ),
        (
            "the same utterances in two bare one-thread ONNX Runtime loops",
            "piperd ≥ 0.95 of that",
            f"{rate('two bare loops')}; piperd reaches **{found['to_two_bare_loops']}**",
        ),
    ]


def _long_text(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = results.get("long_text")
    if not found:
        return []
    busy = ", ".join(f"{share:.1%}" for share in found["busy"].values())
    measured = f"{busy} of {found['speaking_s']} s ({found['audio_s']} s of audio, {found['seconds']} s in all)"
    return [("one long text alone: both workers busy while it is spoken", "> 95 %", measured)]


def _footprint(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = results.get("footprint")
    if not found:
        return []
    workers = ", ".join(f"{each} MB" for each in found["worker_rss_mb"])
    inside = ", ".join(found["in_process"]) or "none"
    return [
        ("the daemon's own process: resident memory after 20 texts", "≤ 80 MB", f"{found['rss_mb']} MB"),
        ("numpy, ONNX Runtime, espeak or scipy mapped into it", "none", inside),
        ("CPU of the idle daemon over 30 s", "≤ 0.2 %", f"{found['idle_cpu_percent']} %"),
        ("resident memory of its workers", "", workers),
    ]


def _burst(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = results.get("burst")
    if not found:
        return []
    order = "in order" if found["in_order"] else "out of order"
    measured = f"{found['accepted_s']} s, {order} (the renames alone took {found['renames_s']} s)"
    return [(f"{found['files']:,} small files at once: all accepted with full fsync", "≤ 5 s, order kept", measured)]


METHOD = """## How it is measured

- Corpus: `corpus.py`; 20 texts of mixed length, about 105 s of audio, and a long text of ten minutes.
- Audio counts without the silence that piperd puts between sentences, for all alike.
- The daemon runs as users run it, two seconds after its start, with a fresh ledger and store each time, so that
  nothing comes from the store.
- The voice is the tuned copy (`voices.tune`), made before the clock starts: it is made once for each state folder.
- The synthesis itself is the time that the worker reports for that very utterance, so its noise cancels out.
- The bare loops get the utterances as piperd cuts them, dealt out in turns; their voices are loaded and have
  spoken their longest text before the clock starts, and they end when the slower one ends.
- `piper` loads its voice for every text and uses all cores for each: that is how it is commonly called.
"""
