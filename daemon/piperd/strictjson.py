"""JSON read as strictly as a contract wants it: what is ambiguous or absurd is refused, not guessed."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, NoReturn

from piperd.errors import Code, JobRefused

MAX_DEPTH = 32
NUMBER_BEGUN = re.compile(r"[-+.0-9eE]*")


def loads(decoded: str) -> Any:
    """Parse JSON as strictly as RFC 8259 allows: what is ambiguous is refused, not guessed."""
    try:
        data = json.loads(decoded, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise JobRefused(
            Code.JOB_FILE_INVALID,
            f"Not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}.",
            "Check the place named; a comma, quote or bracket is missing or too many.",
        ) from None
    except RecursionError:
        _too_deep()
    except ValueError as error:  # Python refuses integers of thousands of digits
        raise JobRefused(Code.JOB_FILE_INVALID, f"A number is too long: {error}.") from None
    check_values(data)
    return data


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise JobRefused(
                Code.JOB_FILE_INVALID,
                f"The key {key!r} is there twice; which one counts is unclear.",
                f"Remove one of the two {key!r}.",
                field=key,
            )
        found[key] = value
    return found


def _no_constant(constant: str) -> NoReturn:
    raise JobRefused(
        Code.JOB_FILE_INVALID,
        f"{constant} is no number that JSON knows.",
        "Write a number such as 1.0, or leave the field out.",
    )


def _too_deep() -> NoReturn:
    raise JobRefused(Code.JOB_FILE_INVALID, f"Objects and lists are nested more than {MAX_DEPTH} deep.")


def check_values(data: Any) -> None:
    """Raise `JobRefused` for deep nesting, and for text that no file could hold, wherever it stands."""
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        following: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                following += value.keys()
                following += value.values()
            elif isinstance(value, list):
                following += value
            elif isinstance(value, str):
                _check_text(value)
        if not following:
            return
        level = following
    _too_deep()


def _check_text(value: str) -> None:
    if "\0" in value:
        raise JobRefused(Code.JOB_FILE_INVALID, r"A text contains a NUL character (\u0000).", "Remove it.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise JobRefused(
            Code.JOB_FILE_INVALID,
            r"A text contains half of a surrogate pair (\ud800 to \udfff), which is no character.",
            "Write the character itself in UTF-8, or both halves.",
        )


def ends_too_early(content: bytes) -> bool:
    """Whether a JSON file looks as if its end were still to be written."""
    try:
        json.loads(content.removeprefix(codecs.BOM_UTF8).decode())
    except json.JSONDecodeError as error:
        rest = error.doc[error.pos :].strip()
        return error.msg.startswith("Unterminated string") or _begins_value(rest)
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    except (ValueError, RecursionError):  # an absurd number or depth: the parser will say what is wrong
        return False
    return False


def _begins_value(rest: str) -> bool:
    """Whether nothing but the beginning of a literal or number is left where the parser stopped."""
    return any(literal.startswith(rest) for literal in ("true", "false", "null")) or bool(NUMBER_BEGUN.fullmatch(rest))
