"""What the machine lets this process use: CPUs and memory. Only reads /proc and the cgroups; decides nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")
MIB = 1 << 20
MOUNT_FIELDS = 6  # before the optional ones, see proc_pid_mountinfo(5)


@dataclass(frozen=True, slots=True)
class Machine:
    """What is left for workers."""

    cpus: float
    """CPUs that the process may use at a time; a fraction where a cgroup's quota is one."""
    memory: int | None
    """Bytes that may still be taken before the kernel reclaims or kills; None where nothing tells."""


def read_machine(proc: Path = PROC, affinity: int | None = None) -> Machine:
    """Look at the machine as it is now.

    CPUs: those of the affinity mask, or `affinity`, and no more than any cgroup above the process grants. Memory:
    `MemAvailable`, and no more than each of those cgroups has left.
    """
    cpus = float(affinity or len(os.sched_getaffinity(0)))
    room = [] if (available := _mem_available(proc)) is None else [available]
    for group in _groups(proc, "cpu"):
        cpus = min(cpus, *_cpu_quota(group))
    for group in _groups(proc, "memory"):
        room += _memory_left(group)
    return Machine(cpus, max(0, min(room)) if room else None)


def cpu_features(proc: Path = PROC) -> tuple[str, ...]:
    """What the CPUs can do, in the kernel's words, and their architecture: what is made for one may suit no other."""
    for line in _lines(proc / "cpuinfo"):
        name, _, rest = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return (os.uname().machine, *sorted(rest.split()))
    return (os.uname().machine,)


def _mem_available(proc: Path) -> int | None:
    for line in _lines(proc / "meminfo"):
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return None


def _cpu_quota(group: Path) -> list[float]:
    """CPUs that one cgroup grants, of either version; infinity where there is no limit."""
    period: float | None
    quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    quotas = [quota / period] if quota and period and quota > 0 else []
    for line in _lines(group / "cpu.max"):
        share, period_us = line.split()
        if share != "max":
            quotas.append(int(share) / int(period_us))
    return [float("inf"), *quotas]


def _memory_left(group: Path) -> list[int]:
    """Bytes until the limits of one cgroup; its page cache that can go at once does not count as used."""
    left = []
    for limit_names, usage_name, cache_name in (
        (("memory.max", "memory.high"), "memory.current", "inactive_file"),
        (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limits = [limit for name in limit_names if (limit := _number(group / name)) is not None]
        usage = _number(group / usage_name)
        if limits and usage is not None:
            stat = dict(line.split(maxsplit=1) for line in _lines(group / "memory.stat"))
            left.append(min(limits) - usage + int(stat.get(cache_name, 0)))
    return left


def _groups(proc: Path, controller: str) -> Iterator[Path]:
    """The folders of the process's cgroup and of all above it, version 2 and version 1 of the controller."""
    places = [line.split(":", 2) for line in _lines(proc / "self" / "cgroup")]
    for kind, options, root, mounted in _mounts(proc):
        for _, controllers, place in places:
            ours = not controllers if kind == "cgroup2" else controller in controllers.split(",")
            if not ours or (kind == "cgroup" and controller not in options):
                continue
            # a container often sees the host's path of a group that is mounted as the root of its own tree
            inside = Path(place.removeprefix(root.rstrip("/")).lstrip("/"))
            group = mounted / inside
            if ".." in inside.parts or not group.is_dir():
                group = mounted
            yield group
            while group != mounted:
                group = group.parent
                yield group


def _mounts(proc: Path) -> Iterator[tuple[str, list[str], str, Path]]:
    """Each mounted cgroup tree: type, options, which folder of the tree is mounted, and where."""
    for line in _lines(proc / "self" / "mountinfo"):
        first, _, second = line.partition(" - ")
        fields, kind_and_options = first.split(), second.split()
        if len(fields) >= MOUNT_FIELDS and kind_and_options and kind_and_options[0] in {"cgroup", "cgroup2"}:
            yield kind_and_options[0], kind_and_options[-1].split(","), fields[3], Path(fields[4])


def _number(file: Path) -> int | None:
    """The number that a file holds; None where there is none, or `max`."""
    for line in _lines(file):
        with suppress(ValueError):
            return int(line)
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:  # not every kernel has every file
        return []
