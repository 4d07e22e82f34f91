"""What a dropped file asks for, and how it is told that it can't have it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piperd import jobfile
from piperd.errors import Code, JobRefused
from piperd.job import JobSpec, Voice
from piperd.jobfields import JobFile, SceneFile
from piperd.jobfile import Defaults, Kind, kind_of, parse
from piperd.strictjson import ends_too_early


def voice(name: str, **changes: Any) -> Voice:
    return Voice(name, Path("m.onnx"), Path("m.onnx.json"), "0" * 64, changes.pop("language", "en"), 22_050, **changes)


JOE = "en_US-joe-medium"
VOICES = {
    JOE: voice(JOE),
    "en_GB-many-low": voice("en_GB-many-low", speakers={"anna": 0, "bert": 1}, num_speakers=2),
    "fa_IR-test-low": voice("fa_IR-test-low", language="fa"),
}


def job(data: Any, **defaults: Any) -> JobSpec:
    """Parse a JSON job; anything but text and bytes is written as JSON first."""
    content = data if isinstance(data, bytes) else data.encode() if isinstance(data, str) else json.dumps(data).encode()
    return parse("story.json", content, Defaults(**defaults), VOICES)


def refused(data: Any, **defaults: Any) -> JobRefused:
    with pytest.raises(JobRefused) as caught:
        job(data, **defaults)
    assert len(caught.value.failure.message) > 10
    return caught.value


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", Kind.TEXT),
        ("A.TXT", Kind.TEXT),
        ("TITLE.MD", Kind.MARKDOWN),
        ("a.markdown", Kind.MARKDOWN),
        ("a.b.json", Kind.JOB),
        ("a.docx", Kind.DOCUMENT),
        ("a.srt", Kind.DOCUMENT),
        ("sedAbC123", Kind.FOREIGN),
        ("4913", Kind.FOREIGN),
        ("a.jpg", Kind.FOREIGN),
        ("piperd.toml", Kind.FOREIGN),
        (".txt", Kind.FOREIGN),
    ],
)
def test_kinds_go_by_the_last_suffix(name: str, kind: Kind) -> None:
    """Letter case does not matter; a name without a suffix is nobody's."""
    assert kind_of(name) is kind


def test_a_text_is_one_scene_with_the_defaults() -> None:
    """The settings count where the file says nothing."""
    spec = parse("My Story.txt", b"Hello. World.", Defaults(speed=1.5, attempts=4, loudness=None), VOICES)
    (scene,) = spec.scenes
    assert (scene.id, scene.text, scene.voice, scene.speed) == ("1", "Hello. World.", JOE, 1.5)
    assert (spec.name, spec.attempts, spec.loudness, spec.warnings) == ("My Story", 4, None, ())


def test_the_nearest_value_wins() -> None:
    """Scene over job over settings."""
    spec = job(
        {
            "speed": 2,
            "voice": "en_GB-many-low",
            "speaker": "bert",
            "scenes": [
                {"text": "One.", "speed": 0.5},
                {"text": "Two.", "voice": JOE, "speaker": 0},
                {"text": "Three."},
            ],
        },
        speed=3.0,
        sentence_pause=0.7,
    )
    assert [scene.speed for scene in spec.scenes] == [0.5, 2, 2]
    assert [scene.voice for scene in spec.scenes] == ["en_GB-many-low", JOE, "en_GB-many-low"]
    assert [scene.speaker for scene in spec.scenes] == [1, None, 1]
    assert {scene.sentence_pause for scene in spec.scenes} == {0.7}
    assert [scene.id for scene in spec.scenes] == ["1", "2", "3"]


def test_the_pause_behind_a_scene_has_two_names() -> None:
    """A scene may say `scene_pause` as a job does; `pause_after` is stronger."""
    scenes = [{"text": "a"}, {"text": "b", "scene_pause": 3}, {"text": "c", "scene_pause": 3, "pause_after": 0}]
    spec = job({"scenes": scenes, "scene_pause": 2})
    assert [scene.pause_after for scene in spec.scenes] == [2, 3, 0]


def test_zero_is_a_value() -> None:
    """A pause or noise of nothing is not the default."""
    spec = job({"text": "x", "sentence_pause": 0, "noise_scale": 0, "priority": 0}, noise_scale=0.5)
    assert (spec.scenes[0].sentence_pause, spec.scenes[0].noise_scale, spec.priority) == (0, 0, 0)


BAD: list[tuple[str, Any, str | None]] = [
    ("cut off", '{"text": "abc', None),
    ("empty object", {}, "text"),
    ("both", {"text": "a", "scenes": [{"text": "b"}]}, "text"),
    ("unknown field", {"text": "a", "sped": 2}, "sped"),
    ("unknown field of a scene", {"scenes": [{"text": "a", "sped": 2}]}, "scenes.0.sped"),
    ("wrong type", {"text": 5}, "text"),
    ("a number as text", {"text": "a", "speed": "1"}, "speed"),
    ("a truth value as number", {"text": "a", "priority": True}, "priority"),
    ("too fast", {"text": "a", "speed": 99}, "speed"),
    ("too loud", {"text": "a", "loudness": 3}, "loudness"),
    ("wrong word", {"text": "a", "loudness": "loud"}, "loudness"),
    ("no scenes", {"scenes": []}, "scenes"),
    ("pause of a scene", {"scenes": [{"text": "a", "pause_after": -1}]}, "scenes.0.pause_after"),
    ("two keys", '{"text":"a","text":"b"}', "text"),
    ("NaN", '{"text":"a","speed":NaN}', None),
    ("Infinity", '{"text":"a","speed":-Infinity}', None),
    ("too large for a float", '{"text":"a","speed":1e999}', "speed"),
    ("deep", '{"text":"a","metadata":' + '{"a":' * 50 + "1" + "}" * 51, None),
    ("absurdly deep", "[" * 200_000, None),
    ("a list", "[]", None),
    ("a string", '"text"', None),
    ("NUL", '{"text":"a\\u0000b"}', None),
    ("half a pair", '{"text":"a\\ud800b"}', None),
    ("half a pair in metadata", '{"text":"a","metadata":{"\\udfff":1}}', None),
    ("absurd number", '{"text":"a","speed":' + "9" * 5_000 + "}", None),
    ("two scenes of one id", {"scenes": [{"id": "x", "text": "a"}, {"id": "x", "text": "b"}]}, "scenes.1.id"),
    ("metadata too large", {"text": "a", "metadata": {"k": "x" * 20_000}}, "metadata"),
    ("comment", '{"text": "a" /* why */}', None),
]


@pytest.mark.parametrize(("data", "field"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_wrong_job_is_refused_and_says_where(data: Any, field: str | None) -> None:
    """Nothing is guessed: `job_file_invalid`, with the field at fault."""
    failure = refused(data).failure
    assert failure.code is Code.JOB_FILE_INVALID
    assert failure.field == field
    assert failure.as_dict()["hint"]


def test_messages_name_what_was_found_and_what_is_allowed() -> None:
    """A person can mend the file from the message alone."""
    assert "Did you mean 'speed'?" in refused({"text": "a", "sped": 2}).failure.message
    assert "voice" in str(refused({"text": "a", "sped": 2}).failure.hint)
    too_fast = refused({"text": "a", "speed": 99}).failure.message
    assert "99" in too_fast
    assert "4" in too_fast


def test_an_unknown_voice_lists_those_that_exist() -> None:
    """Never silently another voice."""
    failure = refused({"text": "a", "voice": "xx_XX-none-low"}).failure
    assert failure.code is Code.VOICE_UNKNOWN
    assert all(name in failure.message for name in VOICES)


@pytest.mark.parametrize("speaker", ["carl", 2, -1])
def test_an_unknown_speaker_lists_those_that_exist(speaker: Any) -> None:
    """Names and numbers alike; the scene is named."""
    failure = refused({"text": "a", "voice": "en_GB-many-low", "speaker": speaker}).failure
    assert failure.code is Code.SPEAKER_UNKNOWN
    assert "anna, bert" in failure.message


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.txt", b"", Code.TEXT_EMPTY),
        ("a.txt", b" \n\t\n", Code.TEXT_EMPTY),
        ("a.txt", b"...", Code.UNSPEAKABLE_TEXT),
        ("a.md", b"---\n\n***\n", Code.UNSPEAKABLE_TEXT),
        ("a.txt", bytes(range(256)) * 9, Code.NOT_TEXT),
        ("a.docx", b"PK\x03\x04", Code.UNSUPPORTED_TYPE),
        ("a.txt", b"word " * 300, Code.TEXT_TOO_LONG),
        ("a.json", b'{"text": "  "}', Code.TEXT_EMPTY),
    ],
)
def test_other_wrong_inputs_have_their_codes(name: str, content: bytes, code: Code) -> None:
    """What people drop by mistake ends in the code that fits."""
    with pytest.raises(JobRefused) as caught:
        parse(name, content, Defaults(max_text=1_000), VOICES)
    assert caught.value.failure.code is code


def test_a_script_that_the_voice_does_not_speak_is_said() -> None:
    """Persian for an English voice is spoken with a warning; for a Persian one without."""
    persian = "سلام دنیا. این یک متن است."
    english = job({"text": persian})
    assert english.warnings
    assert not job({"text": persian, "voice": "fa_IR-test-low"}).warnings


leaves = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(values)
def test_any_json_is_a_job_or_refused(data: Any) -> None:
    """No JSON value ends in anything but a spec or a refusal."""
    try:
        spec = job(data)
    except JobRefused:
        return
    assert spec.scenes


fields = st.fixed_dictionaries(
    {"text": st.just("Some text.")},
    optional={
        "speed": st.floats(0.25, 4),
        "noise_scale": st.floats(0, 2) | st.none(),
        "sentence_pause": st.integers(0, 60),
        "loudness": st.just("off") | st.floats(-40, -5),
        "priority": st.integers(0, 9),
        "timeout": st.floats(1, 1_000),
        "attempts": st.integers(1, 10),
        "name": st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50),
        "metadata": st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.integers() | st.none()),
    },
)


@given(fields)
def test_every_job_in_range_is_taken_as_it_is(data: dict[str, Any]) -> None:
    """What the table allows is accepted, kept, and survives the ledger's JSON."""
    spec = job(data)
    assert spec.metadata == data.get("metadata", {})
    assert spec.priority == data.get("priority", 5)
    if data.get("speed") is not None:
        assert spec.scenes[0].speed == data["speed"]
    assert JobSpec.from_json(spec.as_json()) == spec


@given(st.binary(max_size=300), st.sampled_from(["a.txt", "a.md", "a.json", "a.pdf", "a"]))
def test_any_bytes_are_a_job_or_refused(content: bytes, name: str) -> None:
    """A drop folder sees everything."""
    with contextlib.suppress(JobRefused):
        assert parse(name, content, Defaults(), VOICES).scenes


WHOLE = json.dumps(
    {"text": "A “quoted” text.", "metadata": {"a": [1, True, None, -2.5e3]}}, ensure_ascii=False
).encode()


@given(st.integers(1, len(WHOLE) - 1))
def test_every_beginning_of_a_job_looks_unfinished(length: int) -> None:
    """A file that is still being written is waited for, wherever the write has got to."""
    assert ends_too_early(WHOLE[:length])


@pytest.mark.parametrize("content", [WHOLE, b'{"text":"a","speed":NaN}', b"{]", b'{"text" "a"}', b"[" * 100_000 + b"x"])
def test_a_finished_file_is_not_waited_for(content: bytes) -> None:
    """Right or wrong, but complete."""
    assert not ends_too_early(content)


def test_the_schema_names_every_field() -> None:
    """`piperd schema job` is the contract for editors."""
    schema = jobfile.schema()
    assert set(schema["properties"]) == set(JobFile.model_fields)
    assert set(schema["$defs"]["SceneFile"]["properties"]) == set(SceneFile.model_fields)
