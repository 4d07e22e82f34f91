"""The pool of workers, made from the settings; also before the rest of the daemon, which takes its time to load."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

from piperd import machine, settings, voices
from piperd.engine.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from piperd.engine import Mail
    from piperd.settings import Settings


def workers(config: Settings, running: int = 0) -> int:
    """How many workers the pool is to have, `running` of which it has already."""
    return settings.resolve_workers(config.pool.workers, machine.read_machine(), running)


def pool(config: Settings, post: Callable[[Mail], None]) -> Pool:
    """Not started yet."""
    wanted = config.pool
    return Pool(
        workers(config),
        post=post,
        utterance_timeout=wanted.utterance_timeout,
        start_timeout=wanted.start_timeout,
        recycle_after=wanted.recycle_after,
        max_rss=wanted.max_rss,
        nice=wanted.nice,
        voices_per_worker=wanted.voices_per_worker,
        tuned=config.folders.state / "voices" if config.voices.tune else None,
    )


class HeadStart:
    """Workers that load their voice while the rest of the daemon is still being loaded.

    They are the main thread's, and end with it.
    """

    def __init__(self, config: Settings) -> None:
        self.mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        """Where they post what they have to say."""
        self._pool = pool(config, self.mailbox.put)
        # what may be wrong with folders and voices is found, and told, by what comes later
        if config.folders.state.is_dir():
            found = voices.installed(config.voices.dirs, config.folders.state / "voices.json").found
            if config.speech.voice in found:
                self._pool.start(found[config.speech.voice])

    def engine(self, _post: Callable[[Mail], None]) -> Pool:
        """An `EngineMaker` for a service with the same mailbox."""
        return self._pool
