"""A look at an inbox without taking anything: for `piperd check`, whether or not the daemon runs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piperd.descent import Folders
from piperd.ignore import Ignore
from piperd.inbox.defaults import FolderFiles, Unsettled
from piperd.inbox.filesystems import shared_type
from piperd.inbox.tree import Tree
from piperd.inbox.values import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from piperd.folderdefaults import FolderFile

NO_WAIT = Pace(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in an inbox."""

    files: int
    """That may become jobs."""
    ignored: Mapping[str, int]
    """How many are never touched, by reason."""
    foreign: tuple[bytes, ...]
    """Left alone by their names: the first hundred."""
    defaults: Mapping[bytes, tuple[FolderFile, ...]]
    """By folder with a file of its own: the files that count in it, the outermost first."""
    unsettled: tuple[str, ...]
    """Why some folders' files can't be told now."""


def survey(inbox: Path, ignore: Sequence[str] = ()) -> Survey:
    """Walk through an inbox. Raises OSError if it is not there."""
    tree = Tree(inbox, mode="poll", ignore=Ignore(ignore), report=_say_nothing, known=lambda _path: False)
    files = FolderFiles(tree, NO_WAIT, _say_nothing)
    defaults: dict[bytes, tuple[FolderFile, ...]] = {}
    unsettled: dict[str, None] = {}
    with Folders(inbox) as folders:
        found = tree.walk(folders, [b""], whole=True)
        for folder in sorted(tree.with_defaults()):
            chain = files.above(folders, folder, time.monotonic())
            if isinstance(chain, Unsettled):
                unsettled[chain.reason] = None
            else:
                defaults[folder] = chain
    return Survey(len(found), tree.ignored(), tree.foreign(), defaults, tuple(unsettled))


def _say_nothing(_event: str, _fields: Mapping[str, Any]) -> None:
    pass


def network_type(folder: Path) -> str:
    """The type of the network or FUSE file system that a folder lies on; empty for a local one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return shared_type(descriptor)
    finally:
        os.close(descriptor)
