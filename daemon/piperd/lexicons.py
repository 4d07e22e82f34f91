"""Lexicon files: TOML on disk becomes one checked lexicon, or a `ConfigurationError` that names file and entry."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from piperd import lexicon
from piperd.errors import ConfigurationError
from piperd.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_BYTES = 4 << 20
"""Of one file; 10,000 entries have about 400 KB."""


def load(files: Iterable[Path]) -> dict[str, dict[str, str]]:
    """The entries of all files by language; where two have one word, the later file counts."""
    together: dict[str, dict[str, str]] = {}
    for file in files:
        shown = f"The lexicon {printable(str(file))}"
        tables = _tables(file, shown)
        try:
            together = lexicon.merged(together, lexicon.parse(tables))
        except lexicon.EntryRefusedError as refused:
            raise ConfigurationError(f"{shown} has an entry that can't be used: {refused}") from refused
    return together


def _tables(file: Path, shown: str) -> dict[str, object]:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{shown} can't be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"{shown} is larger than {MAX_BYTES >> 20} MiB.")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{shown} is not UTF-8 text.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{shown} is not valid TOML: {printable(str(error))}.") from error
