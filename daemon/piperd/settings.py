"""Where settings come from: the command line, the environment, the TOML file. The only module that reads these.

It looks at no disk but for the configuration file: whether folders exist and fit together is for others to say.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from piperd import manual
from piperd.errors import ConfigurationError
from piperd.machine import MIB
from piperd.names import printable
from piperd.options import DELIMITER, MAX_WORKERS, PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from piperd.machine import Machine

__all__ = [
    "Loaded",
    "Settings",
    "changed_needs_restart",
    "json_schema",
    "load",
    "resolve_workers",
    "toml_template",
]

DEFAULT_FILE = Path("/etc/piperd/piperd.toml")
FILE_VARIABLE = "PIPERD_CONFIG"
NEEDS_RESTART = frozenset(
    {
        *("folders", "watch", "api", "voices.tune", "limits.max_file_bytes"),
        *("pool.utterance_timeout", "pool.start_timeout", "pool.recycle_after", "pool.max_rss", "pool.nice"),
        "pool.voices_per_worker",
    }
)
"""Sections, or single settings by their dotted names, that a reload can't change."""
WORKER_BYTES = 300 * MIB
"""Of one worker in steady use with a tuned voice; 293 MB were measured, 100 of which all workers share."""
SHOWN_CHARACTERS = 80

SECTIONS = manual.sections(Settings)
NAMES = tuple(f"{section}.{name}" for section, name, _ in manual.fields(Settings))
PATHS = frozenset({"folders.inbox", "folders.outbox", "folders.archive", "folders.failed", "folders.state"})
PATH_LISTS = frozenset({"voices.dirs", "speech.lexicon"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in effect, and where they came from."""

    settings: Settings
    file: Path | None
    """The configuration file that was read; None where there is none."""
    origins: Mapping[str, str]
    """For each dotted name ``default``, ``file /etc/…``, ``environment PIPERD_…`` or ``command line``."""


def load(
    config: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    *,
    environ: Mapping[str, str] | None = None,
    default_file: Path = DEFAULT_FILE,
) -> Loaded:
    """Read the settings; stronger first: `overrides`, environment, file, defaults.

    `overrides` are those of the command line, by section and name; None counts as not given. The file is `config`, or
    the one that the variable PIPERD_CONFIG names, or `default_file` if it exists. Relative paths count from the folder
    of the file that names them, elsewhere from the working directory. Raises `ConfigurationError` for the first fault.
    """
    environ = os.environ if environ is None else environ
    file, content = _read_file(config, environ, default_file)
    here = Path.cwd()
    sources = [  # weakest first
        _Source(content, lambda _: f"file {printable(str(file))}", file.parent if file else here),
        _Source(_variables(environ), lambda name: f"environment {_variable(name)}", here),
        _Source(overrides, lambda _: "command line", here),
    ]
    merged: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    origins = dict.fromkeys(NAMES, "default")
    for source in sources:
        for section, name, value in source.checked():
            merged[section][name] = value
            origins[f"{section}.{name}"] = source.origin(f"{section}.{name}")
    try:
        settings = Settings(**merged)  # type: ignore[arg-type]  # validated right here
    except ValidationError as error:
        raise ConfigurationError(_explain(error, merged, origins)) from error
    except RuntimeError as error:  # Path.home() finds none
        raise ConfigurationError(
            "The user that piperd runs as has no home folder: set all of [folders] in the configuration file."
        ) from error
    return Loaded(settings, file, MappingProxyType(origins))


def resolve_workers(setting: Literal["auto"] | int, machine: Machine, running: int = 0) -> int:
    """How many workers `pool.workers` means on this machine.

    The memory of `running` workers counts as free, since it is theirs. Half a CPU of a quota is worth a worker.
    """
    if setting != "auto":
        return setting
    cpus = int(machine.cpus + 0.5)
    fit = MAX_WORKERS if machine.memory is None else machine.memory // WORKER_BYTES + running
    return max(1, min(cpus, fit, MAX_WORKERS))


def changed_needs_restart(old: Settings, new: Settings) -> list[str]:
    """Dotted names of the settings that differ and can't change at run time."""
    before, after = manual.flatten(old), manual.flatten(new)
    return [name for name in NAMES if before[name] != after[name] and {name, name.partition(".")[0]} & NEEDS_RESTART]


def toml_template() -> str:
    """The content of config/piperd.toml: every setting, explained, commented at its default."""
    return manual.template(Settings, variable=_variable("pool.workers"), restart=NEEDS_RESTART)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file."""
    return manual.json_schema(Settings)


def _read_file(
    config: Path | None, environ: Mapping[str, str], default_file: Path
) -> tuple[Path | None, Mapping[str, Any]]:
    named = environ.get(FILE_VARIABLE)
    path = Path.cwd() / os.path.expanduser(config or named or default_file)  # noqa: PTH111 - leaves ~nobody as it is
    shown = f"The configuration file {printable(str(path))}"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        if config is None and not named:
            return None, {}
        by = "" if config else f", which {FILE_VARIABLE} names,"
        raise ConfigurationError(f"{shown}{by} does not exist.") from error
    except OSError as error:
        raise ConfigurationError(f"{shown} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{shown} is not UTF-8 text (at line {line}).") from error
    try:
        return path, tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        lines = text.split("\n")
        end = f"at the end, line {len(lines)}, column {len(lines[-1]) + 1}"
        fault = printable(str(error)).replace("at end of document", end)
        raise ConfigurationError(f"{shown} is not valid TOML: {fault}.") from error


class _Environment(EnvSettingsSource):
    """Variables like ``PIPERD_POOL__WORKERS``, taken from a mapping."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self.env_vars = {name.lower(): value for name, value in variables.items()}

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        """Lists are JSON, or simply parted by commas."""
        if not str(value).lstrip().startswith("["):
            return [part for each in str(value).split(",") if (part := each.strip())]
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value  # no list, and refused as such


def _variable(name: str) -> str:
    return PREFIX + name.replace(".", DELIMITER).upper()


def _variables(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """The settings in the environment, by section and name."""
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name != FILE_VARIABLE}
    for variable in given:
        section, delimiter, name = variable.removeprefix(PREFIX).lower().partition(DELIMITER)
        if delimiter and section not in SECTIONS:  # pydantic-settings would pass over it
            raise _unknown(f"{section}.{name}", f"environment {printable(variable)}")
        if section in SECTIONS and not delimiter:
            raise ConfigurationError(f"{variable} names a whole section: set {variable}{DELIMITER}… one by one.")
    return _Environment({name: value for name, value in given.items() if DELIMITER in name})()


@dataclass(frozen=True, slots=True)
class _Source:
    """Settings from one place."""

    values: Mapping[str, Any]
    origin: Callable[[str], str]
    """How to call that place, for each dotted name."""
    base: Path
    """Where relative paths count from."""

    def checked(self) -> Iterable[tuple[str, str, Any]]:
        """Section, name and value of each setting; only these exist. Paths are absolute, values unchecked."""
        for section, values in self.values.items():
            if section not in SECTIONS:
                raise _unknown(section, self.origin(section))
            if not hasattr(values, "items"):
                raise ConfigurationError(
                    f"{section} ({self.origin(section)}) is a section: write [{section}] and its settings below it."
                )
            for name, value in values.items():
                dotted = f"{section}.{name}"
                if dotted not in NAMES:
                    raise _unknown(dotted, self.origin(dotted))
                if value is not None:
                    yield section, name, self._anchored(dotted, value)

    def _anchored(self, name: str, value: Any) -> Any:
        if name in PATH_LISTS and isinstance(value, list | tuple):
            return [self._path(each) for each in value]
        return self._path(value) if name in PATHS else value

    def _path(self, value: Any) -> Any:
        """An absolute path, or what was given where it is none: that is refused later, with the setting's name."""
        if not isinstance(value, str | Path) or not str(value):
            return value
        try:
            return self.base / Path(value).expanduser()
        except RuntimeError:  # ~nobody
            return value


def _unknown(name: str, origin: str) -> ConfigurationError:
    """There is no such section or setting; the nearest one that exists is named."""
    section, _, leaf = name.rpartition(".")
    elsewhere = [known for known in NAMES if known.endswith(f".{leaf}")]
    near = elsewhere or difflib.get_close_matches(name, NAMES if section else (*SECTIONS, *NAMES), n=1)
    if not near and difflib.get_close_matches(section, SECTIONS, n=1):
        near = difflib.get_close_matches(section, SECTIONS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the sections are {', '.join(SECTIONS)}."
    kind = "setting" if section else "section"
    return ConfigurationError(f"There is no {kind} {printable(name)} ({origin}); {hint}")


def _explain(error: ValidationError, values: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str]) -> str:
    """One sentence for the first fault: which setting, from where, what was found and what is allowed."""
    faults = {(str(fault["loc"][0]), str(fault["loc"][1])): None for fault in error.errors(include_url=False)}
    (section, name), *others = faults
    found = printable(manual.toml(values[section][name]))
    if len(found) > SHOWN_CHARACTERS:
        found = f"{found[:SHOWN_CHARACTERS]}…"
    must = manual.allowed(SECTIONS[section].model_fields[name])
    more = f" ({len(others)} more at fault: {', '.join('.'.join(other) for other in others)})" if others else ""
    dotted = f"{section}.{name}"
    return f"{dotted} = {found} ({origins[dotted]}) is not allowed: it must be {must}{more}."
