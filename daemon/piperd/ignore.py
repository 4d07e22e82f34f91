"""Which names in the inbox are never touched, and why; it looks at names alone and knows no file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

SYNC_CONFLICT = "sync conflict"
"""The one reason that is worth telling: somebody's changes wait there to be merged."""

# Names as programs leave them: editors, office suites, browsers, copiers, Syncthing, Windows and macOS.
_FILES = (
    ("hidden", re.compile(rb"\.")),
    ("lock", re.compile(rb"~\$|.*\.lock\Z", re.IGNORECASE | re.DOTALL)),
    (SYNC_CONFLICT, re.compile(rb".*\.sync-conflict-", re.IGNORECASE | re.DOTALL)),
    (
        "temporary",
        re.compile(
            rb"~syncthing~|#.*#\Z|.*(~|\.(tmp|temp|part|partial|filepart|crdownload|download|sw[pox]))\Z",
            re.IGNORECASE | re.DOTALL,
        ),
    ),
    ("system", re.compile(rb"(Thumbs\.db|ehthumbs\.db|desktop\.ini)\Z", re.IGNORECASE)),
)
# Where NAS boxes, Windows, macOS and fsck keep what is theirs. All else that starts with a dot is hidden, too.
_SYSTEM_FOLDERS = frozenset(
    name.lower()
    for name in (
        b"@eaDir", b"@Recycle", b"@Recently-Snapshot", b"@SynoResource", b".@__thumb", b"#recycle", b"$RECYCLE.BIN",
        b"System Volume Information", b"__MACOSX", b"lost+found",
    )
)  # fmt: skip
_CONFIGURED = "watch.ignore"


class Ignore:
    """The names that are never touched: those of DESIGN §4 and what `watch.ignore` adds.

    `patterns` are lines as in a .gitignore at the top of the inbox; a wrong one raises ValueError. `marker` is the
    file at the top whose presence tells that the inbox is there.
    """

    def __init__(self, patterns: Sequence[str] = (), *, marker: bytes = b"") -> None:
        self._marker = marker
        # never RE2, which pathspec takes where it is installed: it can't match names that are not UTF-8
        self._patterns = GitIgnoreSpec.from_lines(patterns, backend="simple") if patterns else None

    def file(self, path: bytes) -> str | None:
        """Why a file is left alone; None if it is not. `path` is relative to the inbox."""
        if path == self._marker:
            return "marker"
        name = path.rpartition(b"/")[2]
        for reason, form in _FILES:
            if form.match(name):
                return reason
        return self._configured(path)

    def folder(self, path: bytes) -> str | None:
        """Why a folder is not entered; None if it is."""
        name = path.rpartition(b"/")[2]
        if name.lower() in _SYSTEM_FOLDERS:
            return "system"
        if name.startswith(b"."):
            return "hidden"
        return self._configured(path + b"/")

    def _configured(self, path: bytes) -> str | None:
        if self._patterns is None or not self._patterns.match_file(path.decode("utf-8", "surrogateescape")):
            return None
        return _CONFIGURED
