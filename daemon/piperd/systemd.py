"""What piperd tells systemd: ready, status, stopping, alive. It only sends; without systemd it does nothing.

The protocol is sd_notify(3): datagrams of ``KEY=value`` lines to the Unix socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SEND_TIMEOUT = 1.0
"""Seconds; a systemd that does not read must not hold up the main loop for longer."""


class Notifier:
    """Tells the service manager how it goes. A message that can't be delivered is dropped: the work goes on."""

    def __init__(self, environ: Mapping[str, str], pid: int | None = None) -> None:
        """`environ` is the process's environment; `pid` its own number, if not the current one."""
        self._pid = os.getpid() if pid is None else pid
        self._environ = environ
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))

    @property
    def active(self) -> bool:
        """True under systemd, with `Type=notify`."""
        return self._address is not None

    def ready(self) -> None:
        """Start or reload is complete."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for people, shown by `systemctl status`."""
        self._send(f"STATUS={' '.join(text.splitlines())}")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` must follow."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """The main loop is alive; due within `watchdog_interval`."""
        self._send("WATCHDOG=1")

    def watchdog_interval(self) -> float | None:
        """Seconds within which systemd wants to hear `watchdog`, or it kills; None: it does not watch this process.

        Notify at half of it, as sd_watchdog_enabled(3) advises.
        """
        watched = self._environ.get("WATCHDOG_PID", "")
        if not self.active or (watched and watched != str(self._pid)):
            return None
        with suppress(ValueError):
            if (microseconds := int(self._environ.get("WATCHDOG_USEC", ""))) > 0:
                return microseconds / 1e6
        return None

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        # a socket for each message: there are few, and one that systemd has made anew is found
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(SEND_TIMEOUT)
            sender.connect(self._address)
            sender.sendall(message.encode("utf-8", "backslashreplace"))


def _address(name: str) -> str | None:
    """The socket's address; ``@`` stands for the NUL byte of an abstract name. Other kinds (vsock) are not ours."""
    if name.startswith("@"):
        return f"\0{name[1:]}"
    return name if name.startswith("/") else None
