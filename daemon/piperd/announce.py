"""What the log tells of workers and voices coming and going; the jobs that they work for are the desk's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from piperd import engine as engines
from piperd.names import printable

if TYPE_CHECKING:
    from piperd.engine import EngineEvent

log = structlog.get_logger()


def announce(event: EngineEvent) -> None:
    """Log an event that is about no task."""
    match event:
        case engines.WorkerReady():
            log.info("worker_ready", worker=event.worker, pid=event.pid, seconds=round(event.seconds, 3))
        case engines.WorkerDied():
            log.warning("worker_died", worker=event.worker, pid=event.pid, reason=event.reason)
        case engines.WorkerRecycled():
            log.info("worker_recycled", worker=event.worker, pid=event.pid, reason=event.reason)
        case engines.StartsFailed():
            log.error(
                "workers_not_starting",
                failures=event.failures,
                reason=event.reason,
                retry_s=round(event.retry_s, 1),
                hint="No job is lost: they wait. If Python or the installation was changed, install piperd again.",
            )
        case engines.VoiceBreakerOpened():
            log.error(
                "voice_breaker_opened",
                voice=printable(event.voice),
                failures=event.failures,
                reason=event.reason,
                rest_s=event.rest_s,
                hint="Its jobs fail at once meanwhile. Install the voice again, then reload piperd.",
            )
        case engines.VoiceBreakerClosed():
            log.info("voice_breaker_closed", voice=printable(event.voice), reason=event.reason)
