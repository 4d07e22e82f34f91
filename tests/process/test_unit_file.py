"""The systemd unit: systemd itself finds no fault with it, and it agrees with the settings."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from piperd.options import Settings

UNIT = Path(__file__).parents[2] / "systemd" / "piperd.service"


def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keeps the case of names
    parser.read_string(UNIT.read_text())
    return parser["Service"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    """`systemd-analyze verify` accepts the unit and says nothing about it."""
    copy = tmp_path / UNIT.name
    # verify wants a program that is there
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text()))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in (result.stdout + result.stderr).splitlines() if UNIT.name in line]
    assert not said
    assert result.returncode == 0, result.stderr


def test_timeouts_leave_room() -> None:
    """The service manager waits longer than piperd's own limits, so that a stop or a slow start is not cut short."""
    pool = Settings().pool
    assert float(service()["TimeoutStartSec"]) > pool.start_timeout
    assert float(service()["TimeoutStopSec"]) > pool.stop_timeout


def test_the_contract_with_the_daemon() -> None:
    """Readiness, watchdog, reload and exit codes are those that the daemon keeps."""
    unit = service()
    assert unit["Type"] == "notify"
    assert unit["ExecStart"].endswith("piperd run --config /etc/piperd/piperd.toml")
    assert unit["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert unit["RestartPreventExitStatus"].split() == ["2", "4"]
    assert unit["KillMode"] == "mixed"
    assert unit["AmbientCapabilities"] == "CAP_LEASE"
