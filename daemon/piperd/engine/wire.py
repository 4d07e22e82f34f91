"""What pool and workers say to each other: one small JSON object a message. Pure: values in, bytes out.

The channel is a `SOCK_SEQPACKET` socket pair, so a message is whole or not there, and end of file is death. Big
things go by files: the worker writes sound where it was told to, and reads a render plan from `plan.json`.
JSON stays in ASCII, so that lone surrogates (a file name that is not UTF-8, a text that slipped through) survive.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piperd.engine import RenderItem, RenderPlan, RenderScene
from piperd.errors import Failure
from piperd.job import Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIMIT = 128 << 10
"""Bytes of a message. The kernel's usual send buffer (212,992 bytes) holds one at least."""
NAMES_A_MESSAGE = 500
"""File names of 64 characters that stay well under `LIMIT`."""


PATHS = ("model", "config", "tuned")
"""Fields of `VoiceFiles` that are paths."""
ITEM = tuple(each.name for each in fields(RenderItem) if each.name != "file")


class TooLongError(ValueError):
    """A message over `LIMIT` would not fit into the channel."""


class Verb(StrEnum):
    """What a worker can be asked for."""

    WARM = "warm"
    """Load this voice and try it, then say `ready`; without a voice say it at once."""
    SPEAK = "speak"
    RENDER = "render"
    SKIP = "skip"
    """Do not begin with this task, if it has not begun."""
    STOP = "stop"
    """End once all that came before is done."""


class Word(StrEnum):
    """What a worker can say. Each task gets `started` and one of `done` and `failed`, or `skipped` alone."""

    READY = "ready"
    LOADING = "loading"
    """It begins to load a voice: what ends it before `loaded` is the voice's doing."""
    LOADED = "loaded"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    CORRUPT = "corrupt"
    """Some of the files that `failed`, which follows, is about."""


@dataclass(frozen=True, slots=True)
class VoiceFiles:
    """As much of a voice as a worker needs."""

    name: str
    digest: str
    model: Path
    config: Path
    tuned: Path | None = None
    """Folder of the tuned copies (see `piperd.engine.tuning`); None: the model is used as it is."""


@dataclass(frozen=True, slots=True)
class Order:
    """From the pool to a worker."""

    verb: Verb
    ticket: int = 0
    voice: VoiceFiles | None = None
    utterance: Utterance | None = None
    path: Path | None = None
    """Speaking: the file to write. Rendering: the plan."""

    def encode(self) -> bytes:
        """Raises `TooLongError`."""
        data = asdict(self)
        if self.voice is not None:
            files = {"model": self.voice.model, "config": self.voice.config, "tuned": self.voice.tuned}
            data["voice"] |= {name: path and str(path) for name, path in files.items()}
        if self.utterance is not None:  # what was written does not matter to who speaks it
            del data["utterance"]["written"]
        return _encode(data | {"path": None if self.path is None else str(self.path)})

    @classmethod
    def decode(cls, message: bytes) -> Order:
        data = json.loads(message)
        voice, utterance, path = data["voice"], data["utterance"], data["path"]
        return cls(
            verb=Verb(data["verb"]),
            ticket=data["ticket"],
            voice=voice and VoiceFiles(**voice | {name: voice[name] and Path(voice[name]) for name in PATHS}),
            utterance=utterance and Utterance(**utterance),
            path=path and Path(path),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """From a worker to the pool."""

    word: Word
    ticket: int = 0
    seconds: float = 0.0
    """Of work, on the worker's monotonic clock."""
    audio_s: float = 0.0
    voices: tuple[str, ...] = ()
    """Digests of the voices that the worker has loaded now, the one used last at the end."""
    voice: str = ""
    """Digest of the voice that is being loaded, or was."""
    rss: int = 0
    """Bytes of the worker's resident memory, 0 where it is not known."""
    failure: Failure | None = None
    corrupt: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Raises `TooLongError`."""
        return _encode(asdict(self) | {"failure": self.failure and self.failure.as_dict()})

    @classmethod
    def decode(cls, message: bytes) -> Answer:
        data = json.loads(message)
        return cls(
            word=Word(data["word"]),
            ticket=data["ticket"],
            seconds=data["seconds"],
            audio_s=data["audio_s"],
            voices=tuple(data["voices"]),
            voice=data["voice"],
            rss=data["rss"],
            failure=data["failure"] and Failure.from_dict(data["failure"]),
            corrupt=tuple(data["corrupt"]),
        )


def corrupt_answers(ticket: int, names: Sequence[str]) -> Iterator[Answer]:
    """As many messages as it takes to name all of these files."""
    for start in range(0, len(names), NAMES_A_MESSAGE):
        yield Answer(Word.CORRUPT, ticket, corrupt=tuple(names[start : start + NAMES_A_MESSAGE]))


def encode_plan(plan: RenderPlan) -> bytes:
    """The content of `plan.json`."""
    # asdict() would copy every value of a plan that may have a hundred thousand items
    data = {each.name: getattr(plan, each.name) for each in fields(plan)}
    data["items"] = [[item.file and str(item.file), *(getattr(item, name) for name in ITEM)] for item in plan.items]
    data["scenes"] = [[scene.id, scene.name] for scene in plan.scenes]
    data["folder"] = str(plan.folder)
    return json.dumps(data, separators=(",", ":")).encode()


def decode_plan(content: bytes) -> RenderPlan:
    """Undo `encode_plan`."""
    data = json.loads(content)
    return RenderPlan(
        items=[_item(*values) for values in data.pop("items")],
        scenes=[RenderScene(*values) for values in data.pop("scenes")],
        folder=Path(data.pop("folder")),
        captions=tuple(data.pop("captions")),
        **data,
    )


def _item(file: str | None, *rest: Any) -> RenderItem:
    values = dict(zip(ITEM, rest, strict=True))
    written = tuple((start, end, text) for start, end, text in values.pop("written"))
    return RenderItem(None if file is None else Path(file), written=written, **values)


def _encode(data: dict[str, Any]) -> bytes:
    message = json.dumps(data, separators=(",", ":")).encode()
    if len(message) > LIMIT:
        raise TooLongError(f"a message of {len(message)} bytes, over the limit of {LIMIT}")
    return message
