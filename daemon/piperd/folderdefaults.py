"""What a folder of the inbox asks for: the bytes of its `piperd.toml` become defaults for the jobs in and below it.

It reads no file: the inbox hands over what it has read, the outermost folder first.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from piperd import lexicon as lexicons
from piperd import strictjson, text
from piperd.errors import Code, JobRefused
from piperd.fielderrors import shown, wrong_field
from piperd.jobfields import FolderWishes
from piperd.lexicon import ANY
from piperd.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from piperd.jobfile import Defaults

NAME = "piperd.toml"
"""Letter case does not matter, since some shares make no difference."""
MAX_BYTES = 64 << 10
MOST_DOTS = 100
"""In one key. The parser takes seconds for a key of thousands of parts, and all jobs come through its thread."""
_LINE = re.compile(r"\(at line (\d+), ")


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A folder's file as the inbox has found it."""

    path: bytes
    """Relative to the inbox."""
    content: bytes = b""
    problem: str = ""
    """Why it can't be read, as a sentence; empty where it was."""


def layered(defaults: Defaults, files: Iterable[FolderFile]) -> Defaults:
    """Defaults with those of folders over them, the outermost first. Raises `JobRefused` for a broken one."""
    for file in files:
        wishes, lexicon = read(file)
        changes = wishes.model_dump(exclude_none=True, exclude={"lexicon"})
        origin = printable(file.path)
        origins = {**defaults.origins, **dict.fromkeys(changes, origin)}
        if wishes.captions is not None:
            changes["captions"] = tuple(wishes.captions)
        if wishes.loudness == "off":
            changes["loudness"] = None
        if wishes.speaker is not None:
            # a job that chooses another voice than the one beside it has not asked for this speaker
            changes["speaker_of"] = wishes.voice
        words = _together(defaults.lexicon, lexicon, file.path) if lexicon else defaults.lexicon
        defaults = replace(defaults, **changes, lexicon=words, origins=origins)
    return defaults


def read(file: FolderFile) -> tuple[FolderWishes, Mapping[str, Mapping[str, str]]]:
    """What a folder asks for, and its lexicon. Raises `JobRefused`, with the file's name in the message."""
    try:
        wishes = _understood(file)
        return wishes, lexicon_of(wishes.lexicon)
    except JobRefused as refused:
        raise _of_file(file.path, refused) from None


def lexicon_of(table: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    """The words of a `[lexicon]` by language; those that stand in no table of one are for any. Raises `JobRefused`."""
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    bare = {key: value for key, value in table.items() if key not in tables}
    if bare:
        tables[ANY] = {**tables.get(ANY, {}), **bare}
    try:
        return lexicons.parse(tables)
    except lexicons.EntryRefusedError as error:
        raise _refused(error) from None


def _together(
    one: Mapping[str, Mapping[str, str]], other: Mapping[str, Mapping[str, str]], path: bytes
) -> Mapping[str, Mapping[str, str]]:
    try:
        return lexicons.merged(one, other)
    except lexicons.EntryRefusedError as error:
        raise _of_file(path, _refused(error)) from None


def _refused(error: lexicons.EntryRefusedError) -> JobRefused:
    hint = "Correct the entry in [lexicon], or take it out."
    return JobRefused(Code.FOLDER_DEFAULTS_INVALID, f"lexicon: {error}", hint)


def _of_file(path: bytes, refused: JobRefused) -> JobRefused:
    """The same, with the file named."""
    failure = refused.failure
    return JobRefused(Code.FOLDER_DEFAULTS_INVALID, f"{printable(path)}: {failure.message}", failure.hint)


def schema() -> dict[str, Any]:
    """The JSON Schema of a folder's file, for editors that know TOML."""
    return FolderWishes.model_json_schema()


def _understood(file: FolderFile) -> FolderWishes:
    if file.problem:
        raise JobRefused(Code.FOLDER_DEFAULTS_INVALID, file.problem)
    return _validated(_parsed(_decoded(file.content)))


def _decoded(content: bytes) -> str:
    """UTF-8, or another Unicode with its mark, as editors of Windows write it; no guesses, unlike with a text."""
    decoded, warning = text.decode(content)
    if warning is not None:
        raise JobRefused(Code.FOLDER_DEFAULTS_INVALID, "It is not in UTF-8.", "Save it as plain text in UTF-8.")
    return decoded


def _parsed(decoded: str) -> dict[str, Any]:
    lines = decoded.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith("#") and any(part.count(".") > MOST_DOTS for part in line.split("=")):
            raise JobRefused(Code.FOLDER_DEFAULTS_INVALID, f"Line {number} has too many dots.")
    try:
        data = tomllib.loads(decoded)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(str(error), lines) from None
    except RecursionError:
        raise JobRefused(Code.FOLDER_DEFAULTS_INVALID, "Lists and tables are nested too deep.") from None
    except ValueError as error:  # Python refuses integers of thousands of digits, and dates that there are not
        raise JobRefused(Code.FOLDER_DEFAULTS_INVALID, f"A value can't be read: {error}.") from None
    strictjson.check_values(data)
    return data


def _syntax(complaint: str, lines: list[str]) -> JobRefused:
    """What the parser complains of, with the line that it means."""
    while len(lines) > 1 and not lines[-1].strip():
        lines = lines[:-1]
    complaint = complaint.replace("(at end of document)", f"(at line {len(lines)}, its end)")
    match = _LINE.search(complaint)
    line = lines[min(int(match[1]), len(lines)) - 1].strip() if match else ""
    hint = 'Write NAME = VALUE, one on a line, and texts in straight quotes: voice = "en_US-joe-medium".'
    found = f"; the line is {shown(line)}" if line else ""
    return JobRefused(Code.FOLDER_DEFAULTS_INVALID, f"Not valid TOML: {complaint}{found}.", hint)


def _validated(data: dict[str, Any]) -> FolderWishes:
    try:
        return FolderWishes.model_validate(data)
    except ValidationError as error:
        raise wrong_field(
            Code.FOLDER_DEFAULTS_INVALID,
            error.errors(include_url=False)[0],
            what="a setting that a folder can give",
            known=FolderWishes.model_fields,
            allowed=FolderWishes.model_fields,
        ) from None
