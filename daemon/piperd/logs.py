"""How events become lines: one event a line, for people or for programs. It decides no event and no field.

Parts log through structlog; what libraries log through `logging` comes out in the same form. Names and texts come
from whoever may write to the inbox, so no value can end a line, look like two fields or drive a terminal.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

import structlog
from structlog.processors import format_exc_info
from structlog.stdlib import ProcessorFormatter, add_logger_name

from piperd.names import printable

if TYPE_CHECKING:
    from structlog.typing import EventDict

Level = Literal["debug", "info", "warning", "error"]
Form = Literal["auto", "console", "json"]

MAX_CHARACTERS = 4096
"""Of one value; more is cut."""
MAX_DEPTH = 5
LONG_INTEGER = 64
"""Bits; many readers of JSON take no more."""
LIBRARIES = {
    # their debug messages would drown ours
    **dict.fromkeys(("watchdog", "asyncio", "markdown_it"), logging.INFO),
    # a guess at an encoding is told in the job's status
    "charset_normalizer": logging.ERROR,
}
"""The least that they may tell."""
PLAIN_VALUE = re.compile(r"[^\s\"'={}\[\]]+")
"""What the console shows without quotes: it can't be taken for two fields."""
DIM, BOLD, RESET = "\x1b[2m", "\x1b[1m", "\x1b[0m"
COLOURS = {"debug": DIM, "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}


def configure(level: Level = "info", form: Form = "auto", stream: TextIO | None = None) -> None:
    """Send all events of at least `level` to `stream` (standard error) in this form; may be called again.

    `auto` is console on a terminal and JSON elsewhere. Colours appear on terminals only.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    as_json = form == "json" or (form == "auto" and not terminal)
    unicode = (stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")
    render = _Json(ascii_only=not unicode) if as_json else _Console(colours=terminal)
    handler = _Handler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, add_logger_name, _stamp],
            processors=[ProcessorFormatter.remove_processors_meta, _own_exception, format_exc_info, render],
        )
    )
    _attach(handler, level)
    # our own events do not go through `logging`: it takes ten times as long for each, on the main loop's time
    structlog.configure(
        processors=[structlog.processors.add_log_level, _stamp, _own_exception, format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _Lines(handler),
        cache_logger_on_first_use=False,  # a cached logger would keep what it was first configured with
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Known as ours among the root's handlers. A name that the stream can't encode must not lose its line."""

    def format(self, record: logging.LogRecord) -> str:
        return self.fit(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - overrides
        """A line that can't be written is lost; what logging would say of that goes to the same stream."""

    def fit(self, line: str) -> str:
        """The line as the stream can take it."""
        encoding = self.stream.encoding or "utf-8"
        return line.encode(encoding, "backslashreplace").decode(encoding)


class _Lines:
    """Writes the lines of our own events where the handler writes those of libraries, never into one another."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler

    def write(self, line: str) -> None:
        handler = self._handler
        # a full disk behind standard error, or a reader that has gone, costs lines, never the daemon or its threads
        with handler.lock or nullcontext(), suppress(OSError, ValueError):
            handler.stream.write(handler.fit(line) + handler.terminator)
            handler.flush()

    debug = info = warning = error = critical = msg = write


def _attach(handler: _Handler, level: Level) -> None:
    """Make this handler the only one of ours."""
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, least in LIBRARIES.items():
        logging.getLogger(name).setLevel(max(root.level, least))
    logging.captureWarnings(capture=True)


def _stamp(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """UTC with milliseconds, as in status files."""
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _own_exception(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Keep a field that somebody calls `exception` apart from the lines of a real one."""
    if "exception" in event:
        event["exception_"] = event.pop("exception")
    return event


class _Json:
    """One JSON object a line. An exception is one field with its line ends escaped."""

    def __init__(self, *, ascii_only: bool) -> None:
        self._ascii_only = ascii_only

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> str:
        head, fields, trace = _parts(event)
        fields |= {"exception": "\n".join(trace)} if trace else {}
        return json.dumps(head | fields, ensure_ascii=self._ascii_only, separators=(",", ":"), allow_nan=False)


class _Console:
    """``time level event key=value …``; an exception follows on indented lines, which no event begins with."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> str:
        head, fields, trace = _parts(event)
        level, name = str(head["level"]), str(head["event"])
        line = [
            self._in(DIM, str(head["timestamp"])),
            self._in(COLOURS.get(level, ""), f"{level:<7}"),
            self._in(BOLD, _quoted(name) if "=" in name or '"' in name else name),
            *(self._in(DIM, f"{key}=") + _quoted(value) for key, value in fields.items()),
        ]
        return "\n    ".join([" ".join(line), *trace])

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{RESET}" if self._colours and colour else text


def _parts(event: EventDict) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Time, level and event; the other fields in the order given; the lines of an exception. All harmless."""
    trace = [printable(line) for line in str(event.pop("exception", "")).rstrip().split("\n") if line]
    head = {key: _plain(event.pop(key, "")) for key in ("timestamp", "level", "event")}
    fields = _plain(event)
    return head, {key: value for key, value in fields.items() if key not in head}, trace


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON has it, every text in it printable; what JSON does not know is shown as text."""
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        return {str(_scalar(key)): _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < MAX_DEPTH:
        return [_plain(each, depth + 1) for each in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() < LONG_INTEGER else hex(value)[:MAX_CHARACTERS]
    try:
        text = printable(value if isinstance(value, str | bytes) else str(value))
    except Exception:  # noqa: BLE001 - whatever an object's own __str__ raises, the event is worth its line
        return f"<{type(value).__name__}>"
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"


def _quoted(value: Any) -> str:
    """A value for the console: bare if it is one plain word, JSON otherwise."""
    if isinstance(value, str) and PLAIN_VALUE.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
