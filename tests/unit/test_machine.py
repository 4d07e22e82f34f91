"""What a worker pool may take of a machine, read from made-up /proc and cgroup trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piperd.machine import MIB, Machine, read_machine

if TYPE_CHECKING:
    from pathlib import Path


def write(top: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")


def look(top: Path, cpus: int = 8) -> Machine:
    return read_machine(top / "proc", affinity=cpus)


def test_the_real_machine_has_something() -> None:
    """On any Linux there is a CPU and some memory to report."""
    machine = read_machine()
    assert machine.cpus > 0
    assert machine.memory is not None
    assert machine.memory > MIB


def test_affinity_and_available_memory_without_cgroups(tmp_path: Path) -> None:
    """Where no cgroup limits anything, affinity and MemAvailable count."""
    write(tmp_path, {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    4096 kB"})
    assert look(tmp_path) == Machine(8.0, 4 * MIB)


def test_nothing_readable(tmp_path: Path) -> None:
    """Where /proc tells nothing, memory is unknown and the affinity counts."""
    assert look(tmp_path) == Machine(8.0, None)


def test_the_tightest_group_of_version_2_counts(tmp_path: Path) -> None:
    """A limit on any group above the process holds for it, and reclaimable cache counts as free."""
    group = tmp_path / "cgroup"
    write(
        tmp_path,
        {
            "proc/meminfo": "MemAvailable: 8388608 kB",
            "proc/self/cgroup": "0::/system.slice/piperd.service",
            "proc/self/mountinfo": f"30 20 0:26 / {group} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate",
            "cgroup/system.slice/cpu.max": "150000 100000",
            "cgroup/system.slice/piperd.service/cpu.max": "max 100000",
            "cgroup/system.slice/piperd.service/memory.max": str(1000 * MIB),
            "cgroup/system.slice/piperd.service/memory.high": "max",
            "cgroup/system.slice/piperd.service/memory.current": str(400 * MIB),
            "cgroup/system.slice/piperd.service/memory.stat": f"anon 1\ninactive_file {100 * MIB}",
        },
    )
    assert look(tmp_path) == Machine(1.5, 700 * MIB)


def test_a_container_sees_its_group_as_the_root(tmp_path: Path) -> None:
    """Where the path is the host's and the mount starts at that group, the mount's own files count."""
    group = tmp_path / "cgroup"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/docker/abc",
            "proc/self/mountinfo": f"30 20 0:26 /docker/abc {group} ro - cgroup2 cgroup rw",
            "cgroup/cpu.max": "200000 100000",
        },
    )
    assert look(tmp_path) == Machine(2.0, None)


def test_version_1_and_a_foreign_path(tmp_path: Path) -> None:
    """Version 1 keeps a tree for each controller; a path that leads out of it means its root."""
    write(
        tmp_path,
        {
            "proc/meminfo": "MemAvailable: 8388608 kB",
            "proc/self/cgroup": "4:memory:/../other\n1:cpu,cpuacct:/job\n0::/",
            "proc/self/mountinfo": f"31 20 0:27 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
            f"32 20 0:28 / {tmp_path}/memory rw - cgroup cgroup rw,memory",
            "cpu/job/cpu.cfs_quota_us": "50000",
            "cpu/job/cpu.cfs_period_us": "100000",
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": str(500 * MIB),
            "memory/memory.usage_in_bytes": str(600 * MIB),
        },
    )
    assert look(tmp_path) == Machine(0.5, 0)
