"""Which voices are found, and what is said about those that are not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from piperd import voices

if TYPE_CHECKING:
    from pathlib import Path

EMBEDDED = "en_US-joe-medium"


def install(folder: Path, name: str, model: bytes = b"model", **changes: Any) -> Path:
    """A voice whose config is as Piper's are, but for `changes`."""
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "audio": {"sample_rate": 16_000, "quality": "low"},
        "espeak": {"voice": "fa"},
        "num_symbols": 256,
        "num_speakers": 2,
        "speaker_id_map": {"mary": 0, "reza": 1},
        "phoneme_id_map": {"a": [1]},
        "language": {"code": "fa_IR"},
    } | changes
    path = folder / f"{name}.onnx"
    path.write_bytes(model)
    path.with_name(f"{name}.onnx.json").write_text(json.dumps(config))
    return path


def test_the_embedded_voice_is_found() -> None:
    """It comes with piperd, with its licence from the model card."""
    found = voices.installed([], None)
    voice = found.found[EMBEDDED]
    assert (voice.language, voice.sample_rate, voice.quality, voice.licence) == ("en", 22_050, "medium", "CC0")
    assert voice.speakers == {}
    assert voice.num_speakers == 1
    assert found.problems == ()


def test_voices_in_folders_are_found(tmp_path: Path) -> None:
    """In the folder itself and one level below, no deeper, with all that their config says."""
    model = install(tmp_path, "one")
    install(tmp_path / "sub", "two")
    install(tmp_path / "sub" / "sub", "three")
    found = voices.installed([tmp_path], None)
    assert set(found.found) == {"one", "two", EMBEDDED}
    voice = found.found["one"]
    assert voice.model == model
    assert voice.speakers == {"mary": 0, "reza": 1}
    assert (voice.language, voice.sample_rate, voice.num_speakers, voice.quality) == ("fa", 16_000, 2, "low")
    content = model.read_bytes() + voice.config.read_bytes()
    assert voice.digest == hashlib.sha256(content).hexdigest()


def test_a_folder_voice_stands_in_for_the_embedded_one(tmp_path: Path) -> None:
    """And the first of several folders wins, which is said."""
    model = install(tmp_path / "a", EMBEDDED)
    install(tmp_path / "b", EMBEDDED)
    found = voices.installed([tmp_path / "a", tmp_path / "b"], None)
    assert found.found[EMBEDDED].model == model
    (problem,) = found.problems
    assert "same name" in problem


@pytest.mark.parametrize(
    ("espeak", "code", "language"),
    [("en-us", "en_US", "en"), ("en-gb-x-rp", "en_GB", "en"), ("cmn", "zh_CN", "zh"), ("fa", "", "fa")],
)
def test_the_language_is_known(tmp_path: Path, espeak: str, code: str, language: str) -> None:
    """From espeak's name where that is an ISO 639-1 code, else from the config."""
    install(tmp_path, "v", espeak={"voice": espeak}, language={"code": code})
    assert voices.installed([tmp_path], None).found["v"].language == language


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"audio": {}}, "no 'sample_rate'"),
        ({"audio": {"sample_rate": "fast"}}, "sample rate 'fast'"),
        ({"espeak": {}}, "no 'voice'"),
        ({"num_speakers": None}, "None speakers"),
        ({"speaker_id_map": {"mary": "x"}}, "invalid literal"),
        ({"audio": []}, "list indices"),
    ],
)
def test_a_broken_config_is_skipped_and_reported(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """The others stay; the report names the file and what is wrong."""
    install(tmp_path, "broken", **changes)
    install(tmp_path, "whole")
    found = voices.installed([tmp_path], None)
    assert set(found.found) == {"whole", EMBEDDED}
    (problem,) = found.problems
    assert said in problem
    assert "broken.onnx" in problem


def test_what_is_missing_or_odd_is_reported(tmp_path: Path) -> None:
    """A model without a config, a config that is no JSON, a name of odd bytes, a folder that is not there."""
    (tmp_path / "lone.onnx").write_bytes(b"x")
    install(tmp_path, "text").with_name("text.onnx.json").write_text("no JSON")
    install(tmp_path, os.fsdecode(b"odd\xff\n"))
    found = voices.installed([tmp_path, tmp_path / "missing"], None)
    assert set(found.found) == {EMBEDDED}
    assert len(found.problems) == 4
    assert all(problem.isprintable() for problem in found.problems)


def test_the_licence_comes_from_the_card_of_the_voice(tmp_path: Path) -> None:
    """A card beside several voices says nothing about any one of them."""
    for name in ("a", "b"):
        install(tmp_path, name)
    (tmp_path / "MODEL_CARD").write_text("* License: MIT\n")
    (tmp_path / "a.MODEL_CARD").write_text("# A\n* Licence: CC BY 4.0 \n")
    found = voices.installed([tmp_path], None).found
    assert (found["a"].licence, found["b"].licence) == ("CC BY 4.0", "")


def test_digests_are_remembered_until_a_file_changes(tmp_path: Path) -> None:
    """The cache is trusted for files of the same size, time and inode, and for no others."""
    model = install(tmp_path / "v", "v")
    cache = tmp_path / "voices.json"
    first = voices.installed([tmp_path / "v"], cache).found["v"].digest
    content = json.loads(cache.read_text())
    content["voices"][str(model)][1] = "remembered"
    cache.write_text(json.dumps(content))
    assert voices.installed([tmp_path / "v"], cache).found["v"].digest == "remembered"
    install(tmp_path / "v", "v", model=b"another model")
    second = voices.installed([tmp_path / "v"], cache).found["v"].digest
    assert second not in {first, "remembered"}
    assert voices.installed([tmp_path / "v"], None).found["v"].digest == second


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 1, "voices": 7}', '{"schema": 0, "voices": {}}'])
def test_a_broken_cache_does_no_harm(tmp_path: Path, content: str) -> None:
    """It is written anew."""
    cache = tmp_path / "voices.json"
    cache.write_text(content)
    assert EMBEDDED in voices.installed([], cache).found
    assert json.loads(cache.read_text())["voices"]


def test_a_cache_that_can_not_be_written_does_no_harm(tmp_path: Path) -> None:
    """The next start hashes again."""
    assert EMBEDDED in voices.installed([], tmp_path / "missing" / "voices.json").found


def test_nothing_heavy_is_imported() -> None:
    """The daemon's own process stays small."""
    code = (
        "import sys; from piperd import voices; import piperd.engine.pool; voices.installed([], None);"
        "print(sorted({'numpy', 'onnxruntime', 'piper', 'scipy', 'soundfile', 'soxr'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
