"""Text to sound with Piper, inside a worker. The only module that imports piper and onnxruntime."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from piper import PhonemeType, PiperConfig, PiperVoice, SynthesisConfig
from piper.phonemize_espeak import ESPEAK_DATA_DIR

from piperd.engine import tuning
from piperd.errors import Code, JobRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from piperd.engine.wire import VoiceFiles
    from piperd.job import Utterance

QUIET = 4
"""ONNX Runtime's severity: fatal errors only. What matters comes as an exception."""
OFFLINE = frozenset({PhonemeType.ESPEAK, PhonemeType.TEXT})
"""Phonemisers that work with what is installed; Piper's Chinese one downloads its model when first used."""

PASSING = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR}
)
"""Why a file that is there can't be read for now: its disk, its share, or this machine."""


@dataclass(frozen=True, slots=True)
class LoadedVoice:
    """A voice in memory. Whoever drops one may not get all of its memory back (ONNX Runtime)."""

    name: str
    piper: PiperVoice


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
        session = onnxruntime.InferenceSession(str(model), _options(), providers=["CPUExecutionProvider"])
        voice = PiperVoice(session=session, config=config)
        voice.phonemize("a")
    except MemoryError:  # not the voice's fault
        raise
    # ONNX Runtime's errors have no base class but Exception, and a broken config can raise nearly any
    except Exception as error:
        if isinstance(error, OSError) and error.errno in PASSING:
            message = f"The voice {files.name!r} could not be read: {_first_line(error)}"
            raise JobRefused(Code.SYNTHESIS_FAILED, message) from error
        raise _broken(files.name, error) from error
    return LoadedVoice(files.name, voice)


def speak(voice: LoadedVoice, utterance: Utterance) -> tuple[NDArray[np.float32], int]:
    """The samples of an utterance (mono, -1 to 1, at the voice's own level) and their rate in hertz.

    No samples where the text has nothing to speak. Raises `JobRefused` with ``speaker_unknown``, ``voice_broken``
    or ``synthesis_failed``.
    """
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
        chunks = [chunk.audio_float_array.reshape(-1) for chunk in voice.piper.synthesize(utterance.text, wish)]
    except InvalidArgument as error:  # the model does not take what its config promises
        raise _broken(voice.name, error) from error
    except Exception as error:
        reason = _first_line(error)
        raise JobRefused(
            Code.SYNTHESIS_FAILED, f"The voice {voice.name!r} could not speak a sentence: {reason}"
        ) from error
    samples = np.concatenate([np.zeros(0, np.float32), *chunks])
    if not np.isfinite(samples).all():
        raise _broken(voice.name, ValueError("the model gives samples that are no numbers"))
    return samples, config.sample_rate


def raw(piper: PiperVoice, phonemes: Sequence[int]) -> NDArray[np.float32]:
    """What the model makes of phoneme numbers without any noise, the same at every call: to compare models by."""
    still = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
    return np.asarray(piper.phoneme_ids_to_audio(list(phonemes), still), np.float32)


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


def _broken(name: str, error: Exception) -> JobRefused:
    return JobRefused(Code.VOICE_BROKEN, f"The voice {name!r} can't be used: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """An exception in one line; libraries put whole stack traces into their messages."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
