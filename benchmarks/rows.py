"""The table: what is measured beside what, what is to be reached, and whether it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Goal:
    """One figure of a measurement, and its bound."""

    path: str
    """To the figure: names parted by ``/``. Of a spread, the median counts."""
    bound: float
    least: bool = False
    """The bound is the least that will do, not the most."""
    unit: str = ""
    digits: int = 2

    def figure(self, values: Mapping[str, Any]) -> float | Mapping[str, float]:
        found: Any = values
        for name in self.path.split("/"):
            found = found[name]
        return found  # type: ignore[no-any-return] # it is what a measurement wrote

    def value(self, values: Mapping[str, Any]) -> float:
        found = self.figure(values)
        return float(found if isinstance(found, int | float) else found["median"])

    def held(self, values: Mapping[str, Any]) -> bool:
        value = self.value(values)
        return value >= self.bound if self.least else value <= self.bound

    def asked(self) -> str:
        return f"{'≥' if self.least else '≤'} {self.bound:g}{self.unit}"

    def measured(self, values: Mapping[str, Any]) -> str:
        """The figure with its spread and how often it was measured."""
        found = self.figure(values)
        text = f"**{self.value(values):.{self.digits}f}**{self.unit}"
        if isinstance(found, int | float):
            return text
        return f"{text} ({found['min']:.{self.digits}f} to {found['max']:.{self.digits}f}, n = {found['n']:g})"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    measurement: str
    what: str
    beside: str
    goals: tuple[Goal, ...]
    note: str = ""
    """May name figures of the measurement in braces."""
    work: Goal | None = None
    """How much work was to be done first, where the time may run out before."""

    def held(self, values: Mapping[str, Any]) -> bool:
        return all(goal.held(values) for goal in self.goals)

    def whole(self, values: Mapping[str, Any]) -> bool:
        """Whether all the work was done."""
        return self.work is None or self.work.held(values)

    def measured(self, values: Mapping[str, Any]) -> str:
        figures = "; ".join(goal.measured(values) for goal in self.goals)
        return f"{figures}: {self.note.format_map(values)}" if self.note else figures


def _rate(key: str, contender: str, beside: str, bound: float, mine: str = "piperd, a third") -> Row:
    note = f"{{rates[{mine}][median]}} against {{rates[{contender}][median]}} × real time"
    goal = Goal(f"ratios/{contender}", bound, least=True, unit=" ×")
    return Row(key, "throughput", "throughput, 100 mixed texts, N = cores", beside, (goal,), note)


ALL = "piperd, all texts"
ROWS = (
    _rate("piper_commands", "two piper commands", "two `piper` commands at a time, one a text", 4),
    _rate("one_piper_command", "one piper command, all texts", "one `piper` command for all, its defaults", 1.6, ALL),
    _rate("http_server", "Piper's HTTP server", "Piper's HTTP server with N clients", 1.4),
    _rate("sherpa_threads", "sherpa-onnx, N threads", "sherpa-onnx with the same voice, N threads", 1.6),
    _rate("sherpa_processes", "sherpa-onnx, N processes", "sherpa-onnx, N processes of one thread", 1.4),
    _rate("loudness_tts", "loudness-tts", "loudness-tts with the same voice", 2),
    _rate("bare_loops", "bare loops", "N bare one-thread loops over the original model", 1.15),
    _rate("arithmetic", "arithmetic limit", "the arithmetic limit: sgemm rate over counted operations", 0.75, ALL),
    Row(
        "long_text",
        "long_text",
        "one text of 10 minutes",
        "one `piper` command",
        (Goal("ratio", 1.6, least=True, unit=" ×"),),
        "{rates[piperd][median]} against {rates[piper][median]} × real time; workers busy for {busy[median]:.1%}",
    ),
    Row(
        "again",
        "long_text",
        "the same text again, after one changed sentence",
        "the first time",
        (Goal("first_over_again", 50, least=True, unit=" ×", digits=1),),
        "{again_s[median]} s against {first_s[median]} s",
    ),
    Row(
        "renamed",
        "latency",
        "rename into the inbox until the WAV is there, one sentence: p50, p95",
        "the synthesis alone",
        (
            Goal("renamed_ms", 50, unit=" ms over it", digits=1),
            Goal("renamed_ms/p95", 100, unit=" ms over it", digits=1),
        ),
    ),
    Row(
        "written",
        "latency",
        "write in place, the same: p50, p95",
        "the synthesis and `watch.settle`",
        (
            Goal("written_ms_over_settle", 100, unit=" ms over them", digits=1),
            Goal("written_ms_over_settle/p95", 100, unit=" ms over them", digits=1),
        ),
    ),
    Row(
        "accepted",
        "jobs",
        "10,000 files at once, scripted engine: all accepted",
        "",
        (Goal("largest/accepted_s", 10, unit=" s", digits=1),),
        "{largest[files]:,} files; their renames took {largest[renamed_s][median]:.2f} s",
        Goal("largest/files", 10_000, least=True),
    ),
    Row(
        "jobs",
        "jobs",
        "the same, end to end with full fsync",
        "",
        (Goal("largest/jobs_a_second", 300, least=True, unit=" jobs/s", digits=0),),
        "{largest[ended][median]:,.0f} jobs, {largest[cpu_s][median]:.1f} s of CPU",
        Goal("largest/ended", 10_000, least=True),
    ),
    Row(
        "worker_memory",
        "memory",
        "memory of a worker, medium voice, after 5,000 utterances; its growth in the second half",
        "",
        (Goal("worker_mb", 320, unit=" MB", digits=1), Goal("worker_growth_percent", 2, unit=" %")),
        "{worker_utterances:,} utterances",
        Goal("worker_utterances", 5_000, least=True),
    ),
    Row(
        "daemon_memory",
        "memory",
        "memory of the daemon after 100,000 jobs",
        "",
        (Goal("daemon_mb", 90, unit=" MB", digits=1),),
        "{daemon_jobs:,} jobs",
        Goal("daemon_jobs", 100_000, least=True),
    ),
    Row(
        "start",
        "start",
        "start until all workers are ready, warm cache",
        "`import onnxruntime` and load alone",
        (Goal("ratio", 1.5, unit=" ×"),),
        "{ready_s[median]:.2f} s against {alone_s[median]:.2f} s",
    ),
    Row(
        "idle_events",
        "idle",
        "idle, with events",
        "",
        (Goal("events_percent", 0.2, unit=" % CPU", digits=3),),
        "over {seconds:g} s; the daemon has {daemon_mb} MB, its workers {worker_mb} MB",
    ),
    Row(
        "idle_polling",
        "idle",
        "idle, polling 10,000 files every 2 s",
        "",
        (Goal("polling_percent", 3, unit=" % CPU"),),
        "{files:,} files over {seconds:g} s; the daemon has {polling_daemon_mb} MB",
    ),
    Row(
        "scaling",
        "scaling",
        "scaling from 1 to N workers",
        "linear in cores",
        (Goal("of_linear/piperd", 0.9, least=True),),
        "{rates[piperd 1][median]} and {rates[piperd N][median]} × real time; bare loops: {of_linear[bare][median]}",
    ),
)
