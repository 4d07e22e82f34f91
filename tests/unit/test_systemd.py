"""Talking to systemd, over real datagram sockets."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from piperd.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """A socket as systemd has it, and the environment that names it."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@piperd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        receiver.settimeout(10)
        yield receiver, {"NOTIFY_SOCKET": name}


def test_messages(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """Each message is one datagram in the form of sd_notify(3)."""
    receiver, environ = manager
    notifier = Notifier(environ)
    assert notifier.active
    notifier.ready()
    notifier.status("2 speaking,\n5 queued; سلام \udce9")
    notifier.watchdog()
    notifier.stopping()
    received = [receiver.recv(4096).decode() for _ in range(4)]
    assert received == ["READY=1", "STATUS=2 speaking, 5 queued; سلام \\udce9", "WATCHDOG=1", "STOPPING=1"]


def test_reloading_tells_when(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """A reload carries the monotonic time in microseconds, which systemd wants with it."""
    receiver, environ = manager
    before = time.monotonic_ns() // 1000
    Notifier(environ).reloading()
    reloading, _, usec = receiver.recv(4096).decode().partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(usec) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_systemd_nothing_happens(environ: dict[str, str]) -> None:
    """Started by hand, all of it is silent."""
    notifier = Notifier(environ | {"WATCHDOG_USEC": "1000000"})
    assert not notifier.active
    notifier.ready()
    notifier.status("speaking")
    notifier.reloading()
    notifier.watchdog()
    notifier.stopping()
    assert notifier.watchdog_interval() is None


def test_a_vanished_manager_stops_nothing(tmp_path: Path) -> None:
    """Where nobody listens any more, the message is dropped."""
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_a_manager_that_does_not_read_holds_nothing_up(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """With its queue full, a message is dropped after a moment."""
    receiver, environ = manager
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        filler.connect(receiver.getsockname())
        with suppress(BlockingIOError):
            while True:
                filler.send(b"x")
    Notifier(environ).watchdog()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_interval(environ: dict[str, str], interval: float | None) -> None:
    """The interval is in seconds, and holds for the process that systemd watches only."""
    assert Notifier({"NOTIFY_SOCKET": "/run/notify"} | environ, pid=42).watchdog_interval() == interval
