"""Text to sound with Piper, inside a worker. The only module that imports piper and onnxruntime."""

from __future__ import annotations

import errno
import json
import re
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from piper import PhonemeType, PiperConfig, PiperVoice, SynthesisConfig
from piper.const import BOS, EOS, PAD
from piper.phonemize_espeak import ESPEAK_DATA_DIR

from piperd import alignment
from piperd.engine import tuning
from piperd.engine.stretches import REACH, InStretches
from piperd.errors import Code, JobRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from piperd.engine.wire import VoiceFiles
    from piperd.job import Utterance
    from piperd.spoken import Word

QUIET = 4
"""ONNX Runtime's severity: fatal errors only. What matters comes as an exception."""
OFFLINE = frozenset({PhonemeType.ESPEAK, PhonemeType.TEXT})
"""Phonemisers that work with what is installed; Piper's Chinese one downloads its model when first used."""

STILL = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
PASSING = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR}
)
"""Why a file that is there can't be read for now: its disk, its share, or this machine."""


MOST_PHONEMES = 240
"""Of what is spoken at a time at the common speed, about 14 s of sound: the longest one decides on a worker's memory.

A piece of a sentence in a script with an alphabet has rarely more; in Chinese it could have a thousand.
"""
WORDS_KEPT = 4096
"""Words of a voice whose phonemes are remembered, 2 MB at most: each saves time and 257 leaked bytes (DESIGN §11)."""
_PLAIN = re.compile(r"(?=.*[^\W_])[^\s\[\].,:;!?…،؛؟]+[.,:;!?]?")
"""A word that can't be more than one sentence to espeak."""


class Dictionary:
    """What words sound like by themselves to a voice: see `piperd.alignment`."""

    def __init__(self, piper: PiperVoice, keep: int = WORDS_KEPT) -> None:
        # adding vowel points to Arabic takes a model of its own; words are found without them
        self._piper = replace(piper, use_tashkeel=False)
        self._keep = keep
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def sounds(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        unknown = [word for word in dict.fromkeys(words) if word not in self._known]
        plain = [word for word in unknown if _PLAIN.fullmatch(word)]
        # espeak reads its voice's file at each call, which takes seven times as long as a word
        found = self._piper.phonemize("\n\n".join(plain)) if plain else []
        if len(found) == len(plain):
            self._known.update(zip(plain, map(alignment.sounds, found), strict=True))
        for word in unknown:
            if word not in self._known:
                parts = self._piper.phonemize(word)
                self._known[word] = alignment.sounds(symbol for part in parts for symbol in [*part, alignment.END])
        for word in words:
            self._known.move_to_end(word)
        sounds = [self._known[word] for word in words]
        while len(self._known) > self._keep:
            self._known.popitem(last=False)
        return sounds


@dataclass(frozen=True, slots=True)
class LoadedVoice:
    """A voice in memory. Whoever drops one may not get all of its memory back (ONNX Runtime)."""

    name: str
    piper: PiperVoice
    dictionary: Dictionary


class Speech(NamedTuple):
    """What came of an utterance."""

    samples: NDArray[np.float32]
    """Mono, -1 to 1, at the voice's own level; none where the text has nothing to speak."""
    rate: int
    """Hertz."""
    words: tuple[Word, ...] | None
    """See `piperd.spoken.Header`; None where the model gives no durations."""


def load(files: VoiceFiles) -> LoadedVoice:
    """Read a voice and try its phonemiser.

    Raises `JobRefused` with ``voice_broken``, or ``synthesis_failed`` where it may be read another time; MemoryError.
    """
    try:
        config = PiperConfig.from_dict(json.loads(files.config.read_bytes()))
        _check_phonemes(config.phoneme_type)
        model = files.model if files.tuned is None else tuning.copy_of(files, files.tuned)
        with model.open("rb") as file:  # ONNX Runtime does not tell a share that hangs from a file that is broken
            file.read(1)
        voice = PiperVoice(session=_model(model), config=config)
        voice.phonemize("a")
    except MemoryError:  # not the voice's fault
        raise
    # ONNX Runtime's errors have no base class but Exception, and a broken config can raise nearly any
    except Exception as error:
        if isinstance(error, OSError) and error.errno in PASSING:
            message = f"The voice {files.name!r} could not be read: {_first_line(error)}"
            raise JobRefused(Code.SYNTHESIS_FAILED, message) from error
        raise _broken(files.name, error) from error
    return LoadedVoice(files.name, voice, Dictionary(voice))


def speak(voice: LoadedVoice, utterance: Utterance) -> Speech:
    """Speak an utterance. Raises `JobRefused` with ``speaker_unknown``, ``voice_broken`` or ``synthesis_failed``."""
    config = voice.piper.config
    speaker = utterance.speaker
    if speaker is not None and not 0 <= speaker < max(1, config.num_speakers):
        # Piper does not look: the model would answer with whatever lies there, or fail
        raise JobRefused(
            Code.SPEAKER_UNKNOWN,
            f"The voice {voice.name!r} has no speaker {speaker}; its speakers are 0 to {config.num_speakers - 1}.",
        )
    wish = SynthesisConfig(
        speaker_id=speaker,
        length_scale=config.length_scale / utterance.speed,
        noise_scale=utterance.noise_scale,
        noise_w_scale=utterance.noise_w_scale,
        normalize_audio=False,
    )
    try:
        sentences = [
            _sentence(voice.piper, run, wish)
            for phonemes in voice.piper.phonemize(utterance.text)
            for run in _runs(phonemes, int(MOST_PHONEMES * min(1.0, utterance.speed)))
        ]
    except InvalidArgument as error:  # the model does not take what its config promises
        raise _broken(voice.name, error) from error
    except Exception as error:
        reason = _first_line(error)
        raise JobRefused(
            Code.SYNTHESIS_FAILED, f"The voice {voice.name!r} could not speak a sentence: {reason}"
        ) from error
    samples = np.concatenate([np.zeros(0, np.float32), *(sentence.samples for sentence in sentences)])
    if not np.isfinite(samples).all():
        raise _broken(voice.name, ValueError("the model gives samples that are no numbers"))
    return Speech(samples, config.sample_rate, _words(voice, utterance.text, sentences))


def raw(piper: PiperVoice, phonemes: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """What the model makes of phoneme numbers without any noise, the same at every call: to compare models by.

    The samples, and the frames of each phoneme where the model gives them.
    """
    samples, lengths = piper.phoneme_ids_to_audio(list(phonemes), STILL, include_alignments=True)
    return np.asarray(samples, np.float32), None if lengths is None else np.asarray(lengths, np.int64)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """What Piper speaks in one run."""

    phonemes: Sequence[str]
    samples: NDArray[np.float32]
    lengths: NDArray[np.int64] | None
    """Of each phoneme number, in samples, as the config has their number in a frame."""


def _runs(phonemes: list[str], most: int) -> Iterator[list[str]]:
    """What is spoken at a time: at most so many, cut between words where there are some, into parts of like length."""
    while len(phonemes) > most:
        target = len(phonemes) // -(-len(phonemes) // most)
        spaces = [place for place in range(1, most) if phonemes[place] == " "]
        place = min(spaces, key=lambda place: abs(place - target), default=target)
        yield phonemes[:place]
        phonemes = phonemes[place:]
    if phonemes:
        yield phonemes


def _sentence(piper: PiperVoice, phonemes: list[str], wish: SynthesisConfig) -> _Sentence:
    """Like `PiperVoice.synthesize`, whose own alignment gives up at a phoneme that the model does not know."""
    samples, lengths = piper.phoneme_ids_to_audio(piper.phonemes_to_ids(phonemes), wish, include_alignments=True)
    return _Sentence(phonemes, np.clip(samples, -1.0, 1.0).astype(np.float32).reshape(-1), lengths)


def _words(voice: LoadedVoice, text: str, sentences: Sequence[_Sentence]) -> tuple[Word, ...] | None:
    """When each word is spoken; None where the model does not tell, or tells what can't be."""
    phones: list[alignment.Phone] = []
    start = 0
    try:
        for sentence in sentences:
            phones += _phones(voice.piper, sentence, start)
            start += len(sentence.samples)
        spans = alignment.tokens(text)
        expected = voice.dictionary.sounds([text[first:last] for first, last in spans])
        found = alignment.align(text, spans, expected, phones)
    except Exception:  # noqa: BLE001 - captions without exact times are better than no speech
        return None
    return None if found is None else tuple(found)


def _phones(piper: PiperVoice, sentence: _Sentence, start: int) -> list[alignment.Phone]:
    """Each phoneme with its samples; the pad behind it lies between it and the next.

    Raises ValueError where the model does not give them.
    """
    lengths = sentence.lengths
    if lengths is None or lengths.ndim != 1 or (lengths < 0).any() or (whole := int(lengths.sum())) == 0:
        raise ValueError("no durations")
    # the config may be wrong about the length of a frame, not about their number
    edges = (start + np.append(0, np.cumsum(lengths)) * len(sentence.samples) // whole).tolist()
    numbers = piper.config.phoneme_id_map
    pad = len(numbers[PAD])
    at = len(numbers[BOS]) + pad
    phones = []
    for phoneme in sentence.phonemes:
        if phoneme in numbers:  # Piper leaves out the others
            end = at + len(numbers[phoneme])
            phones.append(alignment.Phone(phoneme, edges[at], edges[end]))
            at = end + pad
    if at + len(numbers[EOS]) != len(lengths):
        raise ValueError(f"{len(lengths)} durations for {at + len(numbers[EOS])} phonemes")
    return [*phones, alignment.Phone(alignment.END, edges[at], edges[-1])]


def _check_phonemes(kind: PhonemeType) -> None:
    """Raises ValueError or OSError where text of this kind can't be turned into phonemes here."""
    if kind not in OFFLINE:
        raise ValueError(f"its phonemes ({kind.value}) need software that is not installed")
    # espeak ends the process by itself when it does not find its data
    if kind is PhonemeType.ESPEAK and not (ESPEAK_DATA_DIR / "phontab").is_file():
        raise FileNotFoundError(f"espeak-ng's data is missing in {ESPEAK_DATA_DIR}")


def _options() -> onnxruntime.SessionOptions:
    """One thread, and memory as it is needed; measured: DESIGN §11."""
    onnxruntime.set_default_logger_severity(QUIET)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # without the pattern it is as fast, and smaller: no two utterances have one length
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = True
    return options


def session(model: Path) -> onnxruntime.InferenceSession:
    """One model, to be run by one thread."""
    return onnxruntime.InferenceSession(str(model), _options(), providers=["CPUExecutionProvider"])


def _model(path: Path) -> onnxruntime.InferenceSession | InStretches:
    """A model, or both parts of one that is in two parts."""
    whole, second = session(path), tuning.decoder_of(path)
    decoder = session(second) if second.exists() else None
    reach = decoder.get_modelmeta().custom_metadata_map.get(REACH) if decoder is not None else None
    return whole if decoder is None or reach is None else InStretches(whole, decoder, int(reach))


def optimise(source: Path, target: Path) -> None:
    """Write the model that ONNX Runtime makes of another one to work with, on this CPU."""
    options = _options()
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _broken(name: str, error: Exception) -> JobRefused:
    return JobRefused(Code.VOICE_BROKEN, f"The voice {name!r} can't be used: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """An exception in one line; libraries put whole stack traces into their messages."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
