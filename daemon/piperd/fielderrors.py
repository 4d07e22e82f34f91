"""A wrong field in words for people: which one, what was found and what is allowed. It validates nothing itself."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from piperd.errors import JobRefused

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic_core import ErrorDetails

    from piperd.errors import Code

LONGEST_SHOWN = 60
"""Characters of a value: what a line of a message holds."""


def wrong_field(
    code: Code, error: ErrorDetails, *, what: str, known: Collection[str], allowed: Collection[str]
) -> JobRefused:
    """One of pydantic's errors. `what` is what an allowed name is: "a field of a job".

    `known` has all field names at any depth, `allowed` those where the error is.
    """
    # the branches of a union stand in the location too; fields and list indexes are what people know
    path = [part for part in error["loc"] if isinstance(part, int) or part in known]
    field = ".".join(map(str, path))
    if error["type"] == "extra_forbidden":
        field = ".".join(map(str, error["loc"]))
        close = difflib.get_close_matches(str(error["loc"][-1]), sorted(allowed), n=1)
        suggestion = f" Did you mean {close[0]!r}?" if close else ""
        return JobRefused(
            code,
            f"{shown(field)} is not {what}.{suggestion}",
            f"Known fields: {', '.join(sorted(allowed))}.",
            field=field,
        )
    found = "it is missing" if error["type"] == "missing" else f"found {written(error['input'])}"
    return JobRefused(code, f"{field!r}: {error['msg']}; {found}.", field=field)


def written(value: Any) -> str:
    """A value as JSON, cut short."""
    return _short(json.dumps(value, ensure_ascii=False, default=str))


def shown(name: str) -> str:
    """A name that somebody has given, in quotes, cut short."""
    return _short(repr(name))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}…"
