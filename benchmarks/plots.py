"""The pictures of benchmarks/README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OURS, THEIRS, SECOND = "#1b6ca8", "#b8c4cf", "#c8553d"


def draw(values: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, str]:
    """Draw what there are values for, by measurement; gives the pictures' names and what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, (needed, title, picture) in PICTURES.items():
        (folder / f"{name}.png").unlink(missing_ok=True)
        if needed in values:
            figure = picture(values[needed])
            figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})
            plt.close(figure)
            found[f"{name}.png"] = title
    return found


def _throughput(values: Mapping[str, Any]) -> Any:
    rates = dict(sorted(values["rates"].items(), key=lambda item: item[1]["median"]))
    figure, axis = plt.subplots(figsize=(9, 0.42 * len(rates) + 1), constrained_layout=True)
    middle = [rate["median"] for rate in rates.values()]
    spans = [
        [rate["median"] - rate["min"] for rate in rates.values()],
        [rate["max"] - rate["median"] for rate in rates.values()],
    ]
    colours = [OURS if name.startswith("piperd") else THEIRS for name in rates]
    axis.barh(list(rates), middle, xerr=spans, color=colours, ecolor="#444", capsize=3)
    axis.set_xlabel("seconds of audio a second: median, least and most")
    return figure


def _jobs(values: Mapping[str, Any]) -> Any:
    whole = [each for each in values["sizes"] if each["ended"]["min"] == each["files"]]  # else the time ran out
    sizes = [each["files"] for each in whole]

    def middle(name: str) -> list[float]:
        return [each[name]["median"] for each in whole]

    lines = {"until all are accepted": middle("accepted_s"), "until all are archived": middle("seconds")}
    return _growth("jobs at once", sizes, lines, {"the daemon's most": middle("daemon_peak_mb")})


def _texts(values: Mapping[str, Any]) -> Any:
    def all_of(name: str) -> list[float]:
        return [each[name] for each in values["texts"]]

    memory = {"the daemon's most": all_of("daemon_peak_mb"), "a worker's most": all_of("worker_peak_mb")}
    lines = {"until its final status": all_of("seconds")}
    return _growth("minutes of audio", all_of("minutes"), lines, memory)


def _growth(
    size: str, sizes: Sequence[float], seconds: Mapping[str, Sequence[float]], memory: Mapping[str, Sequence[float]]
) -> Any:
    """Time on the left, both axes logarithmic: a slope of one is a cost that grows as the work does. Memory right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    for (name, line), colour in zip(seconds.items(), (OURS, SECOND), strict=False):
        left.loglog(sizes, line, "o-", color=colour, label=name)
    linear = [seconds[next(iter(seconds))][-1] * each / sizes[-1] for each in sizes]
    left.loglog(sizes, linear, ":", color="#888", label="in proportion")
    left.set_ylabel("seconds")
    for (name, line), colour in zip(memory.items(), (OURS, SECOND), strict=False):
        right.semilogx(sizes, line, "o-", color=colour, label=name)
    right.set_ylabel("MB of resident memory")
    right.set_ylim(0, 1.2 * max(max(line) for line in memory.values()))
    for axis in (left, right):
        axis.set_xlabel(size)
        axis.set_xticks(sizes, [f"{each:,g}" for each in sizes])
        axis.minorticks_off()
        axis.legend(frameon=False)
        axis.grid(color="#eee")
    return figure


def _memory(values: Mapping[str, Any]) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    for axis, name, work in ((left, "worker", "utterances of a worker"), (right, "daemon", "jobs of the daemon")):
        axis.plot(*zip(*values[name], strict=True), "o-", color=OURS, markersize=4)
        axis.set_xlabel(work)
        axis.set_ylabel("MB of resident memory")
        axis.set_ylim(0, 1.2 * max(memory for _, memory in values[name]))
        axis.grid(color="#eee")
    return figure


PICTURES = {
    "throughput": ("throughput", "Throughput of all ways to speak the same texts", _throughput),
    "jobs": ("jobs", "Time and memory against the number of jobs that come at once", _jobs),
    "texts": ("texts", "Time and memory against the length of one text", _texts),
    "memory": ("memory", "Memory against the work done", _memory),
}
