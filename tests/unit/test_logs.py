"""Logs: one event is one line, whatever its values are."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piperd.errors import Code
from piperd.logs import LIBRARIES, Form, configure

if TYPE_CHECKING:
    from collections.abc import Iterator

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
# lone surrogates too: they are how Python shows file names that are no UTF-8
TEXT = st.text(st.characters(exclude_categories=()), max_size=20) | st.text(
    st.sampled_from("\n\r\x1b\x7f\x85\u2028\0= \"'\\a" + BIDI)
)
KEYS = TEXT.filter(lambda key: key != "self")  # which Python keeps to itself
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[str]:
    text = stream.getvalue()
    assert text.endswith("\n") or not text
    return text.split("\n")[:-1]


def log() -> Any:
    return structlog.get_logger("test")


def is_harmless(line: str) -> bool:
    return not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in BIDI for c in line)


@pytest.mark.parametrize("form", ["console", "json"])
def test_one_event_is_one_harmless_line(form: Form) -> None:
    """Whatever stands in event, keys and values: one line, no control or bidi characters; JSON parses."""

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other tests may have the CPUs
    @given(event=TEXT, fields=st.dictionaries(KEYS, VALUES, max_size=4))
    def check(event: str, fields: dict[str, Any]) -> None:
        stream = io.StringIO()
        configure("debug", form, stream)
        log().bind(**fields).info(event)
        (line,) = lines(stream)
        assert is_harmless(line)
        assert line.encode()
        if form == "json":
            assert json.loads(line)["level"] == "info"

    check()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(message=TEXT)
def test_libraries_are_held_to_the_same_form(message: str) -> None:
    """What comes through `logging` is one line too, with the logger's name."""
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("some.library").warning("%s", message)
    (line,) = lines(stream)
    assert is_harmless(line)
    assert json.loads(line) | {"timestamp": "", "event": ""} == {
        "timestamp": "",
        "level": "warning",
        "event": "",
        "logger": "some.library",
    }


def test_json_fields() -> None:
    """Time in UTC, level and event first, then the fields as given; bytes, paths and enums as text."""
    stream = io.StringIO()
    configure("info", "json", stream)
    log().info(
        "job_done", job_id="01J", source=b"caf\xe9.txt", path=Path("/a"), code=Code.TIMEOUT, run_s=1.5, n=[1, None]
    )
    (line,) = lines(stream)
    fields = json.loads(line)
    assert list(fields) == ["timestamp", "level", "event", "job_id", "source", "path", "code", "run_s", "n"]
    assert fields["timestamp"].endswith("Z")
    assert fields["source"] == r"caf\xe9.txt"
    assert (fields["path"], fields["code"], fields["run_s"], fields["n"]) == ("/a", "timeout", 1.5, [1, None])


def test_console_line() -> None:
    """For people: time, level, event, then key=value, quoted where it could be taken for more than one value."""
    stream = io.StringIO()
    configure("info", "console", stream)
    log().info("job_done", source="سلام.txt", name="a job_id=evil", empty="", n=3)
    (line,) = lines(stream)
    assert line.partition(" ")[2] == 'info    job_done source=سلام.txt name="a job_id=evil" empty="" n=3'


def test_auto_goes_by_the_terminal() -> None:
    """On a terminal: console with colours; elsewhere JSON. Console elsewhere has no colours."""
    terminal, pipe, console = Terminal(), io.StringIO(), io.StringIO()
    configure("info", "auto", terminal)
    log().info("job_done")
    configure("info", "auto", pipe)
    log().info("job_done")
    configure("info", "console", console)
    log().info("job_done")
    assert "\x1b[" in terminal.getvalue()
    assert json.loads(pipe.getvalue())["event"] == "job_done"
    assert "\x1b[" not in console.getvalue()
    assert len(lines(terminal)) == len(lines(pipe)) == len(lines(console)) == 1


def test_levels() -> None:
    """What is below the level is not told, ours or a library's; the level of a second call holds at once."""
    stream = io.StringIO()
    configure("warning", "json", stream)
    logger = log()
    logger.info("quiet")
    logging.getLogger("some.library").info("quiet")
    logger.error("loud")
    configure("debug", "json", stream)
    logger.debug("told")
    logging.getLogger("watchdog.observers").debug("never: it would drown ours")
    logging.getLogger("charset_normalizer").warning("never: the status tells it")
    assert [json.loads(line)["event"] for line in lines(stream)] == ["loud", "told"]


def test_exceptions_in_json_take_one_line() -> None:
    """The traceback is a field; its text can't drive a terminal."""
    stream = io.StringIO()
    configure("info", "json", stream)
    try:
        raise ValueError("a\x1b[31m\nb")  # noqa: TRY301 - to have a traceback
    except ValueError:
        log().exception("step_failed", job_id="01J")
    (line,) = lines(stream)
    fields = json.loads(line)
    assert "Traceback" in fields["exception"]
    assert fields["exception"].endswith("ValueError: a\\x1b[31m\nb")
    assert is_harmless(line)


def test_exceptions_on_the_console_are_indented() -> None:
    """No line of a traceback can be taken for an event."""
    stream = io.StringIO()
    configure("info", "console", stream)
    try:
        raise ValueError("a\n2026-11-23T19:03:08.120Z info job_done")  # noqa: TRY301 - to have a traceback
    except ValueError:
        logging.getLogger("some.library").exception("failed")
    first, *more = lines(stream)
    assert " error   failed logger=some.library" in first
    assert more
    assert all(line.startswith("    ") and is_harmless(line) for line in more)


def test_warnings_of_python_are_events() -> None:
    """They don't break the form of the log."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure("info", "json", stream)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = lines(stream)
    assert "old ways" in json.loads(line)["event"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_streams_without_unicode(form: Form) -> None:
    """Where the stream knows ASCII only, names are escaped instead of lost."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    configure("info", form, stream)
    log().info("job_done", source="سلام 😀")
    stream.seek(0)
    line = stream.read()
    assert line.isascii()
    assert "0633" in line
    if form == "json":
        assert json.loads(line)["source"] == "سلام 😀"


def test_an_object_that_can_not_be_shown() -> None:
    """An event is not lost with a value whose own text fails, nor by one that is endless or huge."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    endless: list[Any] = []
    endless.append(endless)
    stream = io.StringIO()
    configure("info", "json", stream)
    log().info("job_done", broken=Broken(), endless=endless, huge="x" * 100_000, number=2**200, nan=float("nan"))
    (line,) = lines(stream)
    fields = json.loads(line)
    assert fields["broken"] == "<Broken>"
    assert fields["nan"] == "nan"
    assert len(line) < 10_000


def test_a_second_call_replaces_the_first() -> None:
    """No event is told twice."""
    first, second = io.StringIO(), io.StringIO()
    configure("info", "json", first)
    configure("info", "json", second)
    log().info("job_done")
    assert lines(first) == []
    assert len(lines(second)) == 1
