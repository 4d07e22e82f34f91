"""The `piperd` command. It reads arguments and prints; what it does is done elsewhere.

Modules that take their time to load are imported where they are used: `run` starts its workers before it loads them.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from piperd import __version__, folders, machine, settings, staffing, voices
from piperd.errors import ConfigurationError
from piperd.folders import AlreadyRunningError
from piperd.job import JobState
from piperd.ledger import Ledger
from piperd.names import printable

if TYPE_CHECKING:
    from piperd.job import Job

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_SECOND_DAEMON = 4

app = typer.Typer(
    name="piperd",
    help="A speech spooler: drop a text into a folder, get speech out of another.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file.", envvar="PIPERD_CONFIG", show_default="/etc/piperd/piperd.toml"),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON document.")]


@app.command(epilog="Example: `piperd run --inbox ~/in --outbox ~/out --workers 2 --drain`")
def run(
    config: Config = None,
    inbox: Annotated[Path | None, typer.Option(help="Where texts and jobs are dropped.")] = None,
    outbox: Annotated[Path | None, typer.Option(help="Where results appear.")] = None,
    state: Annotated[Path | None, typer.Option(help="Ledger and store, on a local disk.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of worker processes.")] = None,
    *,
    drain: Annotated[bool, typer.Option("--drain", help="Work until inbox and queue are empty, then exit.")] = False,
) -> None:
    """Run the daemon in the foreground."""
    overrides = _overrides(inbox, outbox, state, workers)
    loaded = settings.load(config, overrides)
    head_start = staffing.HeadStart(loaded.settings)
    # the workers load their voice meanwhile
    from piperd import display, logs
    from piperd.service import Service

    ended: list[Job] = []
    with display.DrainProgress() as progress:
        visible = drain and progress.visible
        # a log between the frames of a progress bar would be in its way; what goes wrong is still said
        logs.configure("warning" if visible else loaded.settings.log.level, loaded.settings.log.format)
        service = Service(
            loaded.settings,
            reload=lambda: settings.load(config, overrides).settings,
            drain=drain,
            show=progress.show if visible else None,
            delivered=ended.append if drain else None,
            engine=head_start.engine,
            mailbox=head_start.mailbox,
        )
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, service.post_signal)
        code = service.run()
    if drain:
        display.console.print(display.results_table(ended, str(loaded.settings.folders.outbox)))
    raise typer.Exit(code)


@app.command(epilog="Example: `piperd submit -t 'Dinner is ready.' --set speed=0.9 --wait`")
def submit(
    files: Annotated[
        list[str] | None, typer.Argument(help="Files to speak; `-` reads a text from standard input.")
    ] = None,
    text: Annotated[str | None, typer.Option("-t", "--text", help="A text to speak.")] = None,
    voice: Annotated[str | None, typer.Option(help="A name from `piperd voices`.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A field of the job file.")
    ] = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; the exit code tells the outcome.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Drop jobs into the inbox as it should be done: complete at once, under a free name."""
    from piperd import display, submission

    places = settings.load(config).settings.folders
    if wait and folders.running(places.state) is None:
        _stop(f"No daemon works with {places.state}; start it with `piperd run`.", EXIT_UNREACHABLE)
    fields = submission.settings_of(set_ or [], voice)
    inputs = _inputs(files or [], text)
    before = _last_seq(places.state) if wait else 0
    names = [submission.drop(places.inbox, *submission.with_settings(name, data, fields)) for name, data in inputs]
    if not wait:
        if as_json:
            display.print_json([str(places.inbox / name) for name in names])
        else:
            for name in names:
                typer.echo(printable(str(places.inbox / name)))
        return
    jobs = _wait(places.state, names, before)
    if as_json:
        display.print_json([display.row(job) for job in jobs])
    else:
        display.console.print(display.jobs_table(jobs))
    raise typer.Exit(0 if all(job.state is JobState.DONE for job in jobs) else EXIT_FAILED)


@app.command("status", epilog="Example: `piperd status 01JDC0T6V3M8X2Z5K7Q9R4W1YB --json`")
def show_status(
    job: Annotated[str | None, typer.Argument(help="A job's id; without it, the whole queue.")] = None,
    config: Config = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show how the queue stands, or one job. Works whether or not the daemon runs."""
    from piperd import display, status

    loaded = settings.load(config)
    ledger = _ledger(loaded.settings.folders.state)
    if job is not None:
        found = ledger.get(job)
        if found is None:
            _stop(f"There is no job {printable(job)}; see `piperd jobs`.", EXIT_USAGE)
        known = voices.installed(loaded.settings.voices.dirs, None).found
        # a status file is for people as much as for programs: both get the same
        sys.stdout.write(status.encode(status.document(found, known, version=__version__)).decode())
        return
    counts = ledger.counts()
    averages = ledger.averages()
    pid = folders.running(loaded.settings.folders.state)
    data = {
        "running": pid is not None,
        "pid": pid,
        "active": counts[JobState.RUNNING],
        **{state.value: counts[state] for state in JobState if state is not JobState.RUNNING},
        "mean_wait_s": averages["wait_s"],
        "mean_run_s": averages["run_s"],
        "workers": settings.resolve_workers(loaded.settings.pool.workers, machine.read_machine()),
        "voice": loaded.settings.speech.voice,
        "inbox": str(loaded.settings.folders.inbox),
        "outbox": str(loaded.settings.folders.outbox),
    }
    if as_json:
        display.print_json(
            {**data, "running_jobs": [display.row(each) for each in ledger.newest(20, [JobState.RUNNING])]}
        )
        return
    made = display.table("", "")
    for name, value in data.items():
        made.add_row(name.replace("_", " "), f"{value:.2f}" if isinstance(value, float) else printable(str(value)))
    display.console.print(made)


@app.command(epilog="Example: `piperd jobs --state failed --limit 5`")
def jobs(
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    config: Config = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the jobs. Works whether or not the daemon runs."""
    from piperd import display

    found = _ledger(settings.load(config).settings.folders.state).newest(limit, [state] if state else ())
    if as_json:
        display.print_json([display.row(job) for job in found])
    else:
        display.console.print(display.jobs_table(found))


@app.command("voices", epilog="Example: `piperd voices --json`")
def show_voices(config: Config = None, *, as_json: AsJson = False) -> None:
    """List the installed voices."""
    from piperd import display

    found = voices.installed(settings.load(config).settings.voices.dirs, None)
    if as_json:
        display.print_json({name: display.voice_row(voice) for name, voice in found.found.items()})
    else:
        display.console.print(display.voices_table(found.found))
    for problem in found.problems:
        typer.echo(f"Left out: {printable(problem)}", err=True)


@app.command(epilog="Example: `piperd check`")
def check(
    config: Config = None,
    *,
    audit: Annotated[bool, typer.Option("--audit", help="Also see whether ledger, folders and files agree.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examine configuration, folders, file systems, voices and this machine; say what to do."""
    from piperd import checks, display

    loaded = settings.load(config)
    findings = [*checks.examine(loaded), *(checks.promises(loaded.settings) if audit else ())]
    if as_json:
        display.print_json([finding.as_dict() for finding in findings])
    else:
        for finding in findings:
            display.console.print(display.finding(finding))
    raise typer.Exit(EXIT_FAILED if any(finding.fault for finding in findings) else 0)


@app.command("config", epilog="Example: `PIPERD_POOL__WORKERS=3 piperd config`")
def show_config(config: Config = None, *, as_json: AsJson = False) -> None:
    """Show the settings in effect, and where each came from."""
    from piperd import display

    loaded = settings.load(config)
    values: dict[str, dict[str, Any]] = loaded.settings.model_dump(mode="json")
    rows = [(f"{section}.{name}", value) for section, part in values.items() for name, value in part.items()]
    if as_json:
        display.print_json({name: {"value": value, "from": loaded.origins[name]} for name, value in rows})
        return
    made = display.table("setting", "value", "from")
    for name, value in rows:
        made.add_row(name, printable(str(value)), printable(loaded.origins[name]))
    display.console.print(made)


@app.command(epilog="Example: `piperd schema job > job.schema.json`")
def schema(what: Annotated[str, typer.Argument(metavar="job|folder|status|config")]) -> None:
    """Print the JSON Schema of job files, of a folder's piperd.toml, of status files or of the settings."""
    from piperd import display, folderdefaults, jobfile, status

    known = {
        "job": jobfile.schema,
        "folder": folderdefaults.schema,
        "status": status.schema,
        "config": settings.json_schema,
    }
    if what not in known:
        _stop(f"There is no schema of {printable(what)}; there are: {', '.join(known)}.", EXIT_USAGE)
    display.print_json(known[what]())


@app.callback(invoke_without_command=True)
def common(*, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    """Speak files: drop a text into the inbox, get speech out of the outbox."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: errors that are the user's to mend end in one sentence and their exit code."""
    try:
        app()
    except ConfigurationError as error:
        typer.echo(f"piperd: {printable(str(error))}", err=True)
        sys.exit(EXIT_USAGE)
    except AlreadyRunningError as error:
        typer.echo(f"piperd: {printable(str(error))}", err=True)
        sys.exit(EXIT_SECOND_DAEMON)


def _overrides(inbox: Path | None, outbox: Path | None, state: Path | None, workers: int | None) -> dict[str, Any]:
    given = {"inbox": inbox, "outbox": outbox, "state": state}
    places = {name: str(path.expanduser().absolute()) for name, path in given.items() if path is not None}
    return {**({"folders": places} if places else {}), **({"pool": {"workers": workers}} if workers else {})}


def _inputs(files: list[str], text: str | None) -> list[tuple[str, bytes]]:
    """Names and contents of what is to be submitted."""
    inputs = []
    for file in files:
        if file == "-":
            inputs.append(("standard-input.txt", sys.stdin.buffer.read()))
            continue
        try:
            inputs.append((Path(file).name, Path(file).read_bytes()))
        except OSError as error:
            _stop(f"{printable(file)} can't be read: {error.strerror}.", EXIT_USAGE)
    if text is not None:
        inputs.append(("text.txt", text.encode(errors="replace")))
    if not inputs:
        _stop("Nothing to submit: name files, or give a text with -t, or `-` for standard input.", EXIT_USAGE)
    return inputs


def _wait(state: Path, names: list[str], after: int) -> list[Job]:
    from piperd import display, submission

    ledger = _ledger(state)
    with display.DrainProgress() as progress:
        jobs = submission.follow(ledger, names, after, progress.count, alive=lambda: folders.running(state) is not None)
    if jobs is None:
        _stop("The daemon has stopped; what was dropped waits for its next start.", EXIT_UNREACHABLE)
    return jobs


def _last_seq(state: Path) -> int:
    ledger = _ledger(state)
    try:
        return ledger.last_seq()
    finally:
        ledger.close()


def _ledger(state: Path) -> Ledger:
    path = state / "ledger.sqlite3"
    if not path.exists():
        _stop(f"There is no ledger in {state}: the daemon has not run yet.", EXIT_UNREACHABLE)
    return Ledger(path, read_only=True)


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(f"piperd: {message}", err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
