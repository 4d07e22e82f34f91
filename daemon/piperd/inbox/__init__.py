"""The inbox: finds files that people and programs drop, and takes each once it has stopped changing.

`Inbox` works on a thread of its own; the functions are for other threads, and for the time when it does not run.
"""

from __future__ import annotations

from piperd.inbox.claim import give_back, orphans
from piperd.inbox.dispose import dispose
from piperd.inbox.survey import Survey, network_type, survey
from piperd.inbox.thread import Inbox
from piperd.inbox.values import Arrival, InboxView
from piperd.settle import Waiting

__all__ = [
    "Arrival",
    "Inbox",
    "InboxView",
    "Survey",
    "Waiting",
    "dispose",
    "give_back",
    "network_type",
    "orphans",
    "survey",
]
