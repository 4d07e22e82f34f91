"""Settings: where they come from, what is refused and how it is said."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piperd import manual
from piperd.errors import ConfigurationError
from piperd.machine import MIB, Machine
from piperd.options import Limits, Settings, Watch
from piperd.settings import (
    NAMES,
    NEEDS_RESTART,
    WORKER_BYTES,
    Loaded,
    changed_needs_restart,
    json_schema,
    load,
    resolve_workers,
    toml_template,
)

ROOT = Path(__file__).parents[2]
NOWHERE = Path("/nonexistent/piperd.toml")


def read(
    toml: str | bytes = "", folder: Path | None = None, environ: dict[str, str] | None = None, **overrides: Any
) -> Loaded:
    """Load with this file content, this environment and these overrides, and nothing of the machine's own."""
    if folder is None:
        return load(None, overrides, environ=environ or {}, default_file=NOWHERE)
    file = folder / "piperd.toml"
    file.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    return load(file, overrides, environ=environ or {})


def refusal(*args: Any, **more: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(*args, **more)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return message


def test_defaults_need_no_file() -> None:
    """Without file and environment everything has a value, below the home folder."""
    loaded = read()
    assert loaded.file is None
    assert set(loaded.origins.values()) == {"default"}
    assert set(loaded.origins) == set(NAMES)
    assert loaded.settings.folders.inbox == Path.home() / "piperd" / "inbox"
    assert loaded.settings.folders.state.is_absolute()
    assert loaded.settings.pool.workers == "auto"
    assert loaded.settings.limits.max_file_bytes == 16 * MIB


def test_making_settings_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `load` looks at the environment; a Settings made elsewhere holds what it was given."""
    monkeypatch.setenv("PIPERD_POOL__WORKERS", "7")
    assert Settings().pool.workers == "auto"
    assert load(default_file=NOWHERE).settings.pool.workers == 7


def test_the_stronger_source_wins(tmp_path: Path) -> None:
    """Command line beats environment beats file beats defaults, setting by setting, and each origin is told."""
    loaded = read(
        "[pool]\nworkers = 1\nnice = 1\naging = 1\n[log]\nlevel = 'error'",
        tmp_path,
        {"PIPERD_POOL__WORKERS": "2", "PIPERD_POOL__NICE": "2"},
        pool={"workers": 3, "order": None},
    )
    pool = loaded.settings.pool
    assert (pool.workers, pool.nice, pool.aging, pool.order) == (3, 2, 1.0, "fifo")
    assert loaded.origins["pool.workers"] == "command line"
    assert loaded.origins["pool.nice"] == "environment PIPERD_POOL__NICE"
    assert loaded.origins["pool.aging"] == f"file {tmp_path}/piperd.toml"
    assert loaded.origins["pool.order"] == "default"


def test_the_file_is_found(tmp_path: Path) -> None:
    """The file is the one given, else the variable's, else the usual one if it is there."""
    for name in ("given", "variable", "usual"):
        (tmp_path / name).write_text(f'[speech]\nvoice = "{name}"')
    environ = {"PIPERD_CONFIG": str(tmp_path / "variable")}
    usual = tmp_path / "usual"

    def voice(**how: Any) -> str:
        return load(**how).settings.speech.voice

    assert voice(config=tmp_path / "given", environ=environ, default_file=usual) == "given"
    assert voice(environ=environ, default_file=usual) == "variable"
    assert voice(environ={"PIPERD_CONFIG": ""}, default_file=usual) == "usual"


def test_paths_count_from_where_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's relative paths count from its folder, others from the working directory; ~ is the home folder."""
    monkeypatch.chdir("/usr")
    monkeypatch.setenv("HOME", "/home/someone")
    loaded = read(
        "[folders]\ninbox = 'in'\nfailed = '~/f'\n[voices]\ndirs = ['v', '/w']",
        tmp_path,
        {"PIPERD_FOLDERS__ARCHIVE": "a"},
        folders={"outbox": Path("out")},
    )
    folders = loaded.settings.folders
    assert folders.inbox == tmp_path / "in"
    assert folders.failed == Path("/home/someone/f")
    assert folders.archive == Path("/usr/a")
    assert folders.outbox == Path("/usr/out")
    assert loaded.settings.voices.dirs == (tmp_path / "v", Path("/w"))


def test_lists_in_the_environment() -> None:
    """A list in the environment is JSON or parted by commas."""
    assert read(environ={"PIPERD_WATCH__IGNORE": "*.bak, drafts/"}).settings.watch.ignore == ("*.bak", "drafts/")
    assert read(environ={"PIPERD_WATCH__IGNORE": '["a,b"]'}).settings.watch.ignore == ("a,b",)
    assert read(environ={"PIPERD_VOICES__DIRS": "/v,/w"}).settings.voices.dirs == (Path("/v"), Path("/w"))


def test_special_words(tmp_path: Path) -> None:
    """What stands for "none" or "by itself" can be written down in TOML."""
    read_back = read(
        '[speech]\nnoise_scale = "voice"\nnoise_w_scale = 1\n[output]\nloudness = "off"', tmp_path
    ).settings
    assert read_back.speech.noise_scale is None
    assert read_back.speech.noise_w_scale == 1.0
    assert read_back.output.loudness == "off"


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Editors on Windows put one in front."""
    assert read(b"\xef\xbb\xbf[pool]\r\nworkers = 2\r\n", tmp_path).settings.pool.workers == 2


def test_other_variables_are_left_alone() -> None:
    """A variable that names no section is not ours."""
    assert read(environ={"PIPERD_WORKER_PIPE": "3", "PIPERD": "x", "PATH": "/bin"}).settings == read().settings


REFUSED = [
    (
        "[pool]\nworkers = 0",
        'pool.workers = 0 (file {file}) is not allowed: it must be "auto" or a whole number from 1 to 256.',
    ),
    (
        "[speech]\nspeed = 'fast'",
        'speech.speed = "fast" (file {file}) is not allowed: it must be a number from 0.25 to 4.',
    ),
    ("[speech]\nspeed = true", "speech.speed = true (file {file}) is not allowed: it must be a number from 0.25 to 4."),
    ("[speech]\nspeed = nan", "speech.speed = NaN (file {file}) is not allowed: it must be a number from 0.25 to 4."),
    ("[speech]\nvoice = ''", 'speech.voice = "" (file {file}) is not allowed: it must be a text that is not empty.'),
    (
        "[speech]\nnoise_scale = 3",
        (
            "speech.noise_scale = 3 (file {file}) is not allowed: "
            'it must be "voice" (the voice\'s own) or a number from 0 to 2.'
        ),
    ),
    (
        "[output]\nloudness = 'loud'",
        'output.loudness = "loud" (file {file}) is not allowed: it must be "off" or a number from -40 to -5.',
    ),
    ("[folders]\ninbox = ''", 'folders.inbox = "" (file {file}) is not allowed: it must be a path.'),
    (
        '[folders]\ninbox = "/a\\u0000b"',
        r'folders.inbox = "/a\u0000b" (file {file}) is not allowed: it must be a path.',
    ),
    (
        "[voices]\ndirs = '/v'",
        'voices.dirs = "/v" (file {file}) is not allowed: it must be a list of paths.',
    ),
    (
        "[api]\nlisten = '127.0.0.1:8420'",
        (
            'api.listen = "127.0.0.1:8420" (file {file}) is not allowed: '
            'it must be "", as the control API comes with a later version.'
        ),
    ),
    (
        "[limits]\nmax_text = 0\n[log]\nlevel = 'loud'",
        (
            "limits.max_text = 0 (file {file}) is not allowed: "
            "it must be a whole number of at least 1 (1 more at fault: log.level)."
        ),
    ),
    ("[pool]\nworkres = 3", "There is no setting pool.workres (file {file}); did you mean pool.workers?"),
    ("[limits]\nworkers = 3", "There is no setting limits.workers (file {file}); did you mean pool.workers?"),
    ("workers = 3", "There is no section workers (file {file}); did you mean pool.workers?"),
    ("[poool]\nworkers = 3", "There is no section poool (file {file}); did you mean pool?"),
    (
        "[xyzzy]",
        (
            "There is no section xyzzy (file {file}); the sections are folders, watch, limits, pool, retry, speech, "
            "output, voices, store, retention, api, log."
        ),
    ),
    ("pool = 3", "pool (file {file}) is a section: write [pool] and its settings below it."),
]


@pytest.mark.parametrize(("toml", "message"), REFUSED, ids=[toml.replace("\n", " ") for toml, _ in REFUSED])
def test_refusals_say_what_was_found_and_what_is_allowed(tmp_path: Path, toml: str, message: str) -> None:
    """A wrong setting is named with its source, what was found and what is allowed, in one sentence."""
    assert refusal(toml, tmp_path) == message.format(file=tmp_path / "piperd.toml")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "PIPERD_POOL__WORKERS",
            "many",
            (
                'pool.workers = "many" (environment PIPERD_POOL__WORKERS) is not allowed: '
                'it must be "auto" or a whole number from 1 to 256.'
            ),
        ),
        (
            "PIPERD_WATCH__IGNORE",
            '["a"',
            'watch.ignore = "[\\"a\\"" (environment PIPERD_WATCH__IGNORE) is not allowed: it must be a list of texts.',
        ),
        (
            "PIPERD_POOL__WORKRES",
            "1",
            "There is no setting pool.workres (environment PIPERD_POOL__WORKRES); did you mean pool.workers?",
        ),
        (
            "PIPERD_POL__ORDER",
            "fair",
            "There is no setting pol.order (environment PIPERD_POL__ORDER); did you mean pool.order?",
        ),
        ("PIPERD_POOL", "{}", "PIPERD_POOL names a whole section: set PIPERD_POOL__… one by one."),
    ],
)
def test_refusals_in_the_environment(variable: str, value: str, message: str) -> None:
    """The environment is held to the same rules, and the variable is named."""
    assert refusal(environ={variable: value}) == message


def test_refusals_on_the_command_line() -> None:
    """So is the command line."""
    message = refusal(pool={"workers": 300})
    assert message.startswith("pool.workers = 300 (command line) is not allowed:")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[pool]\nworkers 3", "line 2, column 9"),
        (b"[pool]\nname = [", "line 2, column 9"),
        (b"[pool]\n[pool]", "line 2"),
        (b"[pool]\nx = '\xff'", "not UTF-8 text (at line 2)"),
        (b"x = " + b"9" * 5000, "is not valid TOML"),
        (b"x = " + b"[" * 5000, "is not valid TOML"),
    ],
)
def test_broken_files_name_the_place(tmp_path: Path, content: bytes, expected: str) -> None:
    """A file that is no TOML is refused with its name, the line and the column."""
    message = refusal(content, tmp_path)
    assert expected in message
    assert str(tmp_path / "piperd.toml") in message


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    """A file that was asked for and is not there, or can't be read, is an error; the usual one may be missing."""
    missing = tmp_path / "x.toml"
    with pytest.raises(ConfigurationError, match=r"^The configuration file \S+/x.toml does not exist\.$"):
        load(missing, environ={})
    with pytest.raises(ConfigurationError, match=r"x.toml, which PIPERD_CONFIG names, does not exist\.$"):
        load(environ={"PIPERD_CONFIG": str(missing)})
    with pytest.raises(ConfigurationError, match=r"can't be read: Is a directory\.$"):
        load(tmp_path, environ={})


def test_file_names_can_not_forge_messages(tmp_path: Path) -> None:
    """Names and values from outside stand in messages escaped and cut short."""
    message = refusal(f'[speech]\nspeed = "{"x" * 500}\\u001b[31m"', tmp_path)
    assert len(message) < 400
    assert "\x1b" not in refusal('["a\\u001bb"]', tmp_path)
    assert "\x1b" not in refusal('[pool]\n"a\\u001bb" = 1', tmp_path)


VALUES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=3))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other tests may have the CPUs
@given(st.dictionaries(st.sampled_from([*NAMES, "pool.x", "x.y"]), VALUES, max_size=5))
def test_any_overrides_load_or_are_refused(values: dict[str, Any]) -> None:
    """Whatever is given, the answer is settings or one line of refusal."""
    overrides: dict[str, dict[str, Any]] = {}
    for dotted, value in values.items():
        section, _, name = dotted.partition(".")
        overrides.setdefault(section, {})[name] = value
    try:
        load(None, overrides, environ={}, default_file=NOWHERE)
    except ConfigurationError as error:
        assert "\n" not in str(error)  # noqa: PT017 - a refusal is one of two right outcomes


def test_the_example_file_is_up_to_date() -> None:
    """config/piperd.toml is what the code says; `make config/piperd.toml` writes it anew."""
    assert (ROOT / "config" / "piperd.toml").read_text() == toml_template()


def test_the_example_file_shows_the_defaults(tmp_path: Path) -> None:
    """As it is, and with every setting uncommented, the example file changes nothing but the origins."""
    uncommented = re.sub(r"(?m)^#(?=\w)", "", toml_template())
    assert tomllib.loads(toml_template()) == {section: {} for section in manual.sections(Settings)}
    loaded = read(uncommented, tmp_path)
    assert "default" not in loaded.origins.values()
    assert loaded.settings == Settings()


def test_every_setting_is_explained() -> None:
    """Each has a description, and what is allowed can be said."""
    for _, name, field in manual.fields(Settings):
        assert field.description, name
        assert field.description.endswith((".", "]")), name
        assert manual.allowed(field), name


def test_the_schema_matches_the_settings() -> None:
    """The JSON Schema knows every setting, and is the same on every machine."""
    schema = json_schema()
    named = {
        f"{section}.{name}"
        for section, part in schema["properties"].items()
        for name in schema["$defs"][part["$ref"].rpartition("/")[2]]["properties"]
    }
    assert named == set(NAMES)
    assert str(Path.home()) + "/" not in json.dumps(schema)


def test_what_needs_a_restart_is_told() -> None:
    """Of the changed settings, those that can't change at run time are named."""
    old = Settings()
    new = Settings(watch=Watch(settle=1.0), limits=Limits(max_text=5))
    assert changed_needs_restart(old, old) == []
    assert changed_needs_restart(old, new) == ["watch.settle"]
    known = {*NAMES, *manual.sections(Settings)}
    assert known >= NEEDS_RESTART


@pytest.mark.parametrize(
    ("setting", "machine", "running", "workers"),
    [
        (5, Machine(1.0, 0), 0, 5),
        ("auto", Machine(4.0, None), 0, 4),
        ("auto", Machine(1.5, None), 0, 2),
        ("auto", Machine(0.2, None), 0, 1),
        ("auto", Machine(8.0, 3 * WORKER_BYTES + 1), 0, 3),
        ("auto", Machine(8.0, 3 * WORKER_BYTES), 2, 5),
        ("auto", Machine(8.0, 0), 0, 1),
        ("auto", Machine(1000.0, None), 0, 256),
    ],
)
def test_workers_by_the_machine(setting: Any, machine: Machine, running: int, workers: int) -> None:
    """A number counts as it is; auto is the CPUs, held down by memory, at least one."""
    assert resolve_workers(setting, machine, running) == workers
