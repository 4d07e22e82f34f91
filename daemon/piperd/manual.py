"""How settings are told to people: what is allowed, how a value is written, the commented file. It reads nothing."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import BaseModel

WIDTH = 100
HEADER = """\
# Settings of piperd, each at its default. To change one, take the # away before its name and edit it.
# Every one can also be given as an environment variable, which is stronger than this file: {variable}=3.
# Relative paths count from the folder of this file; ~ is the home folder of the user that piperd runs as.
# `piperd config` shows what is in effect and where it came from; `systemctl reload piperd` reads this file again.
"""
FOLDER_HEADER = """\
# What a folder asks for. Copy this file into a folder of the inbox, under the name piperd.toml: it counts for all that
# is dropped in that folder and below. The nearest folder wins, and a job's own fields win over all.
# To ask for something, take the # away before its name and edit it. What is shown is what counts without any file, or
# an example. `piperd check` tells whether all is well.
"""
# For what has no value until somebody asks for it.
EXAMPLES = {"speaker": 0, "noise_scale": 0.667, "noise_w_scale": 0.8, "sample_rate": 22_050, "scene_files": True}
LEXICON = """\
#[lexicon]
#NATO = "nay toe"
#[lexicon.en]
#SQL = "sequel"
"""


class Allowed(str):
    """What may be set, in words, where the type does not tell: ``x: Annotated[…, Allowed("…")]``."""

    __slots__ = ()


def sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The sections of the settings, in order."""
    return {name: field.annotation for name, field in model.model_fields.items() if isinstance(field.annotation, type)}


def fields(model: type[BaseModel]) -> Iterator[tuple[str, str, FieldInfo]]:
    """Section, name and field of every setting, in order."""
    for section, part in sections(model).items():
        for name, field in part.model_fields.items():
            yield section, name, field


def flatten(values: BaseModel) -> dict[str, Any]:
    """Dotted names and values of all settings: ``{"pool.workers": "auto", …}``."""
    return {f"{s}.{name}": getattr(getattr(values, s), name) for s, name, _ in fields(type(values))}


def allowed(field: FieldInfo) -> str:
    """What a setting may be, in words that go on from "it must be"."""
    return _describe(field.annotation, field.metadata)


def toml(value: Any) -> str:
    """A value as it is written in TOML, on one line. None is the voice's own: TOML has no null."""
    if value is None:
        return '"voice"'
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(each) for each in value)}]"
    # TOML takes JSON's escapes, but wants DEL escaped too
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def template(model: type[BaseModel], *, variable: str, restart: Iterable[str]) -> str:
    """The commented configuration file. `restart` holds the sections or settings that a reload can't change."""
    parts = [HEADER.format(variable=variable)]
    restart = set(restart)
    for section, part in sections(model).items():
        later = " Changes need a restart." if section in restart else ""
        lines = [*_comment(f"{part.__doc__}{later}"), f"[{section}]"]
        for name, field in part.model_fields.items():
            later = " Needs a restart." if f"{section}.{name}" in restart else ""
            lines += [*_comment(f"{field.description}{_range(field)}{later}"), f"#{name} = {toml(default(field))}"]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def folder_template(model: type[BaseModel], known: Mapping[str, Any]) -> str:
    """The commented file of a folder's defaults, with every field that it may have; `known` has what counts else."""
    lines = [FOLDER_HEADER]
    for name, field in model.model_fields.items():
        if name == "lexicon":
            lines += ["", *_comment(_told(field)), LEXICON]
        else:
            value = known[name] if known[name] is not None else EXAMPLES[name]
            lines += [*_comment(f"{_told(field)}{_range(field)}"), f"#{name} = {toml(value)}"]
    return "\n".join(lines)


def default(field: FieldInfo) -> Any:
    """A setting's default, as it stands in the file: home folders as ``~``."""
    extra = field.json_schema_extra
    return extra["default"] if isinstance(extra, dict) and "default" in extra else field.get_default()


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | model.model_json_schema()


def _comment(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), WIDTH, initial_indent="# ", subsequent_indent="# ")


def _told(field: FieldInfo) -> str:
    """What a field is for; it may stand with the field, or with the type that it has where it is given."""
    marks = [field, *(each for kind in get_args(field.annotation) for each in getattr(kind, "__metadata__", ()))]
    return next(each.description for each in marks if isinstance(each, FieldInfo) and each.description)


def _range(field: FieldInfo) -> str:
    """What is allowed, where that says more than the description and the default do."""
    words = allowed(field)
    if (
        words.startswith(("a list of t", "a list of p", *(PLAIN[kind] for kind in (str, Path))))
        or words in PLAIN.values()
    ):
        return ""
    words = words.removeprefix("a whole number from ").removeprefix("a number from ")
    return f" {words[0].upper()}{words[1:]}."


PLAIN = {bool: "true or false", str: "a text", Path: "a path", int: "a whole number", float: "a number"}


def _describe(kind: Any, metadata: Iterable[Any]) -> str:
    marks = list(_flat(metadata))
    for mark in marks:
        if isinstance(mark, Allowed):
            return str(mark)
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *more = get_args(kind)
        return _describe(inner, [*more, *marks])
    if origin in {Union, UnionType}:
        return _either(_describe(each, marks) for each in get_args(kind) if each is not NoneType)
    if origin is Literal:
        return _either(toml(each) for each in get_args(kind))
    if origin in {tuple, list}:
        return f"a list of {_several(get_args(kind)[0])}"
    return f"{PLAIN[kind]}{_limits(marks)}"


def _several(kind: Any) -> str:
    one = _describe(kind, ())
    return f"any of {one}" if get_origin(kind) is Literal else f"{one.removeprefix('a ')}s"


def _limits(marks: Iterable[Any]) -> str:
    low, high, length = (
        next((getattr(mark, name) for mark in marks if hasattr(mark, name)), None)
        for name in ("ge", "le", "min_length")
    )
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return " that is not empty" if length else ""


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for mark in metadata:
        if isinstance(mark, FieldInfo):
            yield from mark.metadata
        else:
            yield mark


def _either(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
