"""What the commands print: tables and progress for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from piperd import __version__, results, status
from piperd.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from piperd.checks import Finding
    from piperd.job import Job, Voice
    from piperd.service import View

STYLES = {"done": "green", "failed": "red", "running": "cyan", "queued": "yellow", "cancelled": "magenta"}

PIPE_WIDTH = 500
"""Characters; so that no cell is folded where a program reads."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
"""For results."""


def print_json(data: Any) -> None:
    """For programs: one JSON document."""
    json.dump(data, sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table; columns whose name ends in a unit hold figures."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        figures = column.endswith(" s")
        made.add_column(column, justify="right" if figures else "left", overflow="fold", no_wrap=column == "job")
    return made


def row(job: Job) -> dict[str, Any]:
    """A job in one line, for tables and `--json`."""
    folder = f"{job.folder}/" if job.folder else ""
    files = [results.published(job.stem, file) for file, _ in results.files(job.result)] if job.result else []
    return {
        "job_id": job.job_id,
        "source": printable(job.source),
        "state": job.state.value,
        "accepted_at": status.timestamp(job.accepted_at),
        "audio_s": round(job.result["duration_s"], 2) if job.result else None,
        "wait_s": None if job.wait_s is None else round(job.wait_s, 2),
        "run_s": round(job.run_s, 2),
        "attempt": job.attempt,
        "priority": job.priority,
        "result": f"{folder}{files[0]}" if files else None,
        "status": f"{folder}{job.stem}.json",
        "error": job.failure.message if job.failure else None,
    }


def jobs_table(jobs: Iterable[Job]) -> Table:
    """Jobs with where their results lie."""
    made = table("job", "file", "state", "audio s", "wait s", "run s", "result")
    for job in jobs:
        cells = row(job)
        style = STYLES[cells["state"]]
        made.add_row(
            cells["job_id"],
            escape(cells["source"]),
            f"[{style}]{cells['state']}[/]",
            figure(cells["audio_s"]),
            figure(cells["wait_s"]),
            figure(cells["run_s"]),
            escape(cells["error"] or cells["result"] or ""),
        )
    return made


def results_table(jobs: Sequence[Job], outbox: str) -> Table:
    """What a drain has come to, in order of acceptance."""
    made = table("file", "state", "audio s", "wait s", "run s", "result", title=f"Results in {escape(outbox)}")
    for job in sorted(jobs, key=lambda job: job.seq):
        cells = row(job)
        style = STYLES[cells["state"]]
        notes = list(job.spec.warnings) if job.spec else []
        if job.failure is not None:
            notes = [f"{job.failure.code}: {job.failure.message}"]
        made.add_row(
            escape(cells["source"]),
            f"[{style}]{cells['state']}[/]",
            figure(cells["audio_s"]),
            figure(cells["wait_s"]),
            figure(cells["run_s"]),
            escape("\n".join([*([cells["result"]] if cells["result"] else []), *map(printable, notes)])),
        )
    return made


def voice_row(voice: Voice) -> dict[str, Any]:
    """A voice for `--json`."""
    return {
        "language": voice.language,
        "quality": voice.quality,
        "sample_rate": voice.sample_rate,
        "speakers": voice.speakers,
        "num_speakers": voice.num_speakers,
        "bytes": voice.model.stat().st_size,
        "licence": voice.licence,
        "digest": voice.digest,
        "model": str(voice.model),
    }


def voices_table(voices: Mapping[str, Voice]) -> Table:
    """The installed voices."""
    made = table("voice", "language", "quality", "rate", "speakers", "MB", "licence")
    for name, voice in sorted(voices.items()):
        made.add_row(
            escape(name),
            voice.language,
            voice.quality,
            str(voice.sample_rate),
            str(voice.num_speakers),
            f"{voice.model.stat().st_size / 1e6:.0f}",
            escape(voice.licence),
        )
    return made


def figure(value: float | None) -> str:
    """A number for a table; nothing where there is none."""
    return "" if value is None else f"{value:.2f}"


def finding(found: Finding) -> str:
    """One line of `piperd check`, with the hint under it."""
    mark = "[red]fault[/]" if found.fault else "[green]ok[/]   "
    hint = f"\n       [dim]{escape(found.hint)}[/]" if found.hint else ""
    return f"{mark}  {escape(found.what)}: {escape(printable(found.message))}{hint}"


class DrainProgress:
    """The progress bar of `run --drain`; shows nothing where there is no terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} jobs"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(f"piperd {__version__}", total=None)
        self.visible = sys.stderr.isatty()

    def __enter__(self) -> Self:
        if self.visible:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.visible:
            self._progress.stop()

    def show(self, view: View) -> None:
        """Bring it up to date."""
        ended = view.done + view.failed
        speaking = f"speaking {view.spoken}/{view.utterances}" if view.utterances else "waiting for files to settle"
        if view.held:
            speaking = f"no files are taken: {view.held}"
        self._progress.update(
            self._task,
            description=speaking,
            completed=ended,
            total=ended + view.active + view.queued + view.waiting_files,
        )

    def count(self, ended: int, total: int) -> None:
        """The same for a few jobs that somebody waits for."""
        self._progress.update(self._task, completed=ended, total=total)
