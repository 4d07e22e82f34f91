"""A look at an inbox without taking anything: for `piperd check`, whether or not the daemon runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piperd.descent import Folders
from piperd.ignore import Ignore
from piperd.inbox.filesystems import shared_type
from piperd.inbox.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in an inbox."""

    files: int
    """That may become jobs."""
    ignored: Mapping[str, int]
    """How many are never touched, by reason."""
    foreign: tuple[bytes, ...]
    """Left alone by their names: the first hundred."""


def survey(inbox: Path, ignore: Sequence[str] = ()) -> Survey:
    """Walk through an inbox. Raises OSError if it is not there."""
    tree = Tree(
        inbox, mode="poll", ignore=Ignore(ignore), report=lambda _event, _fields: None, known=lambda _path: False
    )
    with Folders(inbox) as folders:
        found = tree.walk(folders, [b""], whole=True)
    return Survey(len(found), tree.ignored(), tree.foreign())


def network_type(folder: Path) -> str:
    """The type of the network or FUSE file system that a folder lies on; empty for a local one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return shared_type(descriptor)
    finally:
        os.close(descriptor)
