"""Writes benchmarks/README.md and its pictures from the results, so that no figure in it is typed by hand."""

from __future__ import annotations

import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import load
from rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from figures import Result
    from rows import Row

HERE = Path(__file__).parent
REASONS = HERE / "reasons.toml"
HEAD = """# How fast it is

Made by `make bench`, which measures everything again, in less than half an hour, and rewrites this page: nothing here
is typed by hand but the reasons of what was missed. `make bench ARGS="latency jobs"` measures only what is named and
keeps the other results. Ratios are between things measured in one run, in turns; absolute times only describe this
machine. Figures are medians, with the least, the most and the number of measurements behind them.

"""


def write(folder: Path = HERE, reasons: Path = REASONS) -> None:
    """Rewrite the report in this folder from the results in it. Raises ValueError for a reason that is no row's."""
    results = load(folder / "results")
    known = {key: str(reason) for key, reason in tomllib.loads(reasons.read_text()).items()}
    if unknown := known.keys() - {row.key for row in ROWS}:
        raise ValueError(f"{reasons.name} names no row: {', '.join(sorted(unknown))}")
    pictures = _pictures(results, folder / "plots")
    parts = [HEAD, *_warning(results), *_table(results), *_misses(results, known)]
    parts += [f"## {title}\n\n![{title}](plots/{name})\n\n" for name, title in pictures.items()]
    parts += [*_rates(results), *_machine(results), METHOD]
    (folder / "README.md").write_text("".join(parts))


def _pictures(results: Mapping[str, Result], folder: Path) -> dict[str, str]:
    if find_spec("matplotlib") is None:  # the extra `bench` has it, which tests do without
        return {}
    import plots  # noqa: PLC0415

    return plots.draw({name: result.values for name, result in results.items()}, folder)


def _warning(results: Mapping[str, Result]) -> Iterator[str]:
    if quick := [name for name, result in results.items() if result.quick]:
        yield (
            f"**Not to be used: {', '.join(quick)} {'was' if len(quick) == 1 else 'were'} measured with `--quick`, "
            "which only tries the measurements.**\n\n"
        )


def _table(results: Mapping[str, Result]) -> Iterator[str]:
    yield "| what | beside it | goal | measured | |\n| --- | --- | --- | --- | --- |\n"
    for row in ROWS:
        goal = ", ".join(each.asked() for each in row.goals)
        if (values := _values(row, results)) is None:
            measured, verdict = "not measured", ""
        else:
            measured, verdict = row.measured(values), _verdict(row, values)
        yield f"| {row.what} | {row.beside} | {goal} | {measured} | {verdict} |\n"
    yield "\n"


def _verdict(row: Row, values: Mapping[str, Any]) -> str:
    if not row.held(values):
        return "**missed**"
    return "held" if row.whole(values) else "held so far"


def _values(row: Row, results: Mapping[str, Result]) -> Mapping[str, Any] | None:
    """What a row is judged by; None where it was not measured, or by an earlier version that told other figures."""
    if (result := results.get(row.measurement)) is None:
        return None
    try:
        row.measured(result.values)
        row.whole(result.values)
    except KeyError:
        return None
    return result.values


def _misses(results: Mapping[str, Result], reasons: Mapping[str, str]) -> Iterator[str]:
    judged = [(row, _values(row, results)) for row in ROWS]
    missed = [row for row, values in judged if values is not None and not row.held(values)]
    if not missed:
        return
    yield "## What was missed, and why\n\n"
    for row in missed:
        what = f"{row.what}, beside {row.beside}" if row.beside else row.what
        yield f"- **{what}**: {reasons.get(row.key, 'no reason found yet')}\n"
    yield "\n"


def _rates(results: Mapping[str, Result]) -> Iterator[str]:
    if (result := results.get("throughput")) is None:
        return
    yield "## Rates\n\n| who | seconds of audio a second | least | most | n |\n| --- | --- | --- | --- | --- |\n"
    for name, rate in sorted(result.values["rates"].items(), key=lambda item: -item[1]["median"]):
        yield f"| {name} | {rate['median']} | {rate['min']} | {rate['max']} | {rate['n']} |\n"
    yield (
        f"\nA second of audio takes {result.values['gflop_a_second_of_audio']} GFLOP; "
        f"all texts were {result.values['audio_s']} s of audio.\n\n"
    )


def _machine(results: Mapping[str, Result]) -> Iterator[str]:
    yield "## Machine and versions\n\n| measured | on | took |\n| --- | --- | --- |\n"
    for name, result in results.items():
        yield f"| {name} | {result.date}{', quick' if result.quick else ''} | {result.seconds:.0f} s |\n"
    yield "\n"
    described: dict[str, list[str]] = {}
    for name, result in results.items():
        described.setdefault("\n".join(f"- {key}: {each}" for key, each in result.machine.items()), []).append(name)
    for machine, names in described.items():
        if len(described) > 1:
            yield f"{', '.join(names)}:\n\n"
        yield f"{machine}\n\n"


METHOD = """## How it is measured

- Texts: `corpus.py`. 100 texts of 1 to 12 sentences, no sentence twice; a long text of ten minutes.
- Audio counts without the silence that goes between sentences, for all alike.
- The daemon runs as users run it, two seconds after its start, with a fresh ledger and store each time, so that
  nothing comes from the store. It writes its files to the disk of the working copy, with full fsync.
- The voice is the tuned copy (`voices.tune`), made before the clock starts: it is made once for each state folder.
  All others speak with the original.
- piperd and one `piper` command for all speak all texts in each of three rounds. The others speak a third of them in
  each, another one each time, and so does piperd once more in the same round: that is what they are compared with.
- Servers and loops have loaded their voice and spoken their longest text before the clock starts; `piper` commands load
  it, as they do when they are used. What is spoken is written to files by piperd and `piper`; loops throw it away.
- sherpa-onnx gets the voice with the metadata and the tokens file that it asks for, and does not shorten pauses.
  loudness-tts runs with its default threads, without pauses between sentences.
- Bare loops get the utterances as piperd cuts them, dealt out in turns, the longest first; they end when the last ends.
- The arithmetic limit: two operations for each multiplication of the original's convolutions and matrix products,
  counted from the shapes of a real run, over what numpy's matrix product reaches in one process of one thread a core,
  all at once.
- The synthesis itself is the time that the worker reports for that very utterance, so its noise cancels out.
- The scripted engine (`scripted_daemon.py`) speaks a millisecond of tone at no cost; all else is the real daemon. A job
  has ended when it is published, its final status is there, and its input is archived.
- The worker's 5,000 utterances are a word or two, at times a sentence, and each hundredth as long as any; it is never
  replaced. Memory is resident memory, shared pages included, in MB of 10^6 bytes.
- Idle is the CPU time of the daemon and its workers together. The 10,000 files are pictures in 20 folders, which piperd
  leaves alone, as on a share that is used for more.
- A measurement that would take too long is repeated less often: n says how often it was. Where the time was out before
  all the work was done, a goal is "held so far".
"""
