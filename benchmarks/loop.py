"""A bare loop in a process of its own: it says `ready`, waits for a line, works, and says how much it has done.

python benchmarks/loop.py KIND < one line of JSON: {"model": …, "threads": …, "texts": […], …}

Kinds: `bare` is Piper's own voice in a session of ONNX Runtime that is set up as a worker's is; `sherpa` and
`loudness` are sherpa-onnx and loudness-tts; `sgemm` multiplies matrices. It says seconds of audio, or 10^9 operations.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 1024
"""Of the matrices: three of them fit into the caches of today's cores."""


def bare(asked: dict[str, Any]) -> Callable[[str], float]:
    import onnxruntime  # noqa: PLC0415 - each kind needs its own
    from piper import PiperVoice, SynthesisConfig  # noqa: PLC0415
    from piper.config import PiperConfig  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = asked["threads"]
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(asked["model"], sess_options=options, providers=["CPUExecutionProvider"])
    with open(asked["model"] + ".json", encoding="utf-8") as file:  # noqa: PTH123 - it is a string here
        config = PiperConfig.from_dict(json.load(file))
    voice = PiperVoice(session=session, config=config)
    settings = SynthesisConfig(normalize_audio=False)

    def speak(text: str) -> float:
        return sum(len(chunk.audio_float_array) for chunk in voice.synthesize(text, settings)) / config.sample_rate

    return speak


def sherpa(asked: dict[str, Any]) -> Callable[[str], float]:
    import sherpa_onnx  # noqa: PLC0415

    vits = sherpa_onnx.OfflineTtsVitsModelConfig(
        model=asked["model"], tokens=asked["tokens"], data_dir=asked["data_dir"]
    )
    model = sherpa_onnx.OfflineTtsModelConfig(vits=vits, num_threads=asked["threads"])
    # its default shortens the pauses that the model makes, and all audio is to count
    tts = sherpa_onnx.OfflineTts(sherpa_onnx.OfflineTtsConfig(model=model, silence_scale=1.0))

    def speak(text: str) -> float:
        audio = tts.generate(text)
        return len(audio.samples) / int(audio.sample_rate)

    return speak


def loudness(asked: dict[str, Any]) -> Callable[[str], float]:
    from loudness_tts import TTS  # noqa: PLC0415

    # its default number of threads, and no silence between sentences
    tts = TTS(voice=asked["model"], cache_dir=asked["cache"], offline=True)

    def speak(text: str) -> float:
        speech = tts.synthesize(text, pause=0.0)
        return len(speech.samples) / int(speech.sample_rate)

    return speak


def sgemm(_asked: dict[str, Any]) -> Callable[[str], float]:
    import numpy as np  # noqa: PLC0415

    one = np.full((SIDE, SIDE), 0.5, np.float32)
    result = np.empty_like(one)

    def multiply(_text: str) -> float:
        np.matmul(one, one, out=result)
        return 2 * SIDE**3 / 1e9

    return multiply


KINDS = {"bare": bare, "sherpa": sherpa, "loudness": loudness, "sgemm": sgemm}


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    work = KINDS[sys.argv[1]](asked)
    work(max(asked["texts"], key=len))
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    done = sum(work(text) for text in asked["texts"])
    print(json.dumps({"done": done, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()
