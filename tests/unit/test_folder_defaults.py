"""What folders ask for on behalf of their jobs: what is understood, whose word counts, what is said of faults."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piperd.errors import Code, Failure, JobRefused
from piperd.folderdefaults import MAX_BYTES, FolderFile, layered, read
from piperd.job import JobSpec, Voice
from piperd.jobfields import FolderWishes, Wishes
from piperd.jobfile import Defaults, parse
from piperd.manual import EXAMPLES, folder_template

ROOT = Path(__file__).parents[2]


def voice(name: str, **changes: Any) -> Voice:
    return Voice(name, Path("m.onnx"), Path("m.onnx.json"), "0" * 64, "en", 22_050, **changes)


JOE = "en_US-joe-medium"
MANY = "en_GB-many-low"
VOICES = {JOE: voice(JOE), MANY: voice(MANY, speakers={"anna": 0, "bert": 1}, num_speakers=2)}


def chain(*contents: str) -> list[FolderFile]:
    """Folders in one another, the outermost (the inbox itself) first."""
    return [
        FolderFile(b"/".join([*(b"f%d" % each for each in range(1, depth + 1)), b"piperd.toml"]), content.encode())
        for depth, content in enumerate(contents)
    ]


def job(data: Any, *contents: str, **settings: Any) -> JobSpec:
    """A job, dropped into the innermost of these folders; text is a text file."""
    defaults = layered(Defaults(**settings), chain(*contents))
    if isinstance(data, str):
        return parse("a.txt", data.encode(), defaults, VOICES)
    return parse("a.json", json.dumps(data).encode(), defaults, VOICES)


def failure_of(data: Any, *contents: str, **settings: Any) -> Failure:
    with pytest.raises(JobRefused) as caught:
        job(data, *contents, **settings)
    return caught.value.failure


def refusal_of(content: bytes) -> Failure | None:
    """What is said of a folder's file; None if nothing is wrong with it."""
    try:
        layered(Defaults(), [FolderFile(b"news/piperd.toml", content)])
    except JobRefused as refused:
        return refused.failure
    return None


def broken(content: bytes) -> Failure:
    failure = refusal_of(content)
    assert failure is not None
    return failure


ALL = """\
voice = "en_GB-many-low"
speaker = "bert"
speed = 2
noise_scale = 0.1
noise_w_scale = 0.2
sentence_pause = 0.3
paragraph_pause = 0.4
scene_pause = 0.5
loudness = "off"
format = "wav"
encoding = "pcm24"
sample_rate = 16000
captions = ["srt", "words", "srt"]
joined = false
scene_files = true
priority = 9
timeout = 60
attempts = 1
fallback = "silence"
[lexicon]
NATO = "nay toe"
[lexicon.en]
SQL = "sequel"
"""


def test_everything_that_a_folder_may_give_reaches_the_job() -> None:
    """Each field of `Wishes` has its place in the job that comes of it."""
    assert set(tomllib.loads(ALL)) == set(FolderWishes.model_fields)
    spec = job("One.", ALL)
    scene = spec.scenes[0]
    assert (scene.voice, scene.speaker, scene.speed, scene.noise_scale, scene.noise_w_scale) == (MANY, 1, 2, 0.1, 0.2)
    assert (scene.sentence_pause, scene.paragraph_pause, scene.pause_after) == (0.3, 0.4, 0.5)
    assert (spec.loudness, spec.format, spec.encoding, spec.sample_rate) == (None, "wav", "pcm24", 16_000)
    assert (spec.captions, spec.joined, spec.scene_files) == (("srt", "words"), False, True)
    assert (spec.priority, spec.timeout, spec.attempts, spec.fallback) == (9, 60, 1, "silence")


def test_every_wish_is_a_default() -> None:
    """What a folder may give is what `Defaults` can hold, under the same name."""
    assert set(Wishes.model_fields) < {each.name for each in fields(Defaults)}


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "speed": st.sampled_from([0.25, 0.5, 1, 1.5, 4]),
    "sentence_pause": st.sampled_from([0, 0.2, 60]),
    "priority": st.integers(0, 9),
    "attempts": st.integers(1, 10),
    "fallback": st.sampled_from(["none", "silence"]),
    "captions": st.lists(st.sampled_from(["srt", "vtt", "words"]), max_size=2, unique=True),
}
LAYERS = st.fixed_dictionaries({}, optional=VALUES)


@given(st.lists(LAYERS, max_size=5), LAYERS)
def test_the_nearest_wins(folders: list[dict[str, Any]], own: dict[str, Any]) -> None:
    """A job's own word counts before that of its folder, and that before those of the folders above it."""
    contents = ["".join(f"{name} = {json.dumps(value)}\n" for name, value in each.items()) for each in folders]
    spec = job({"text": "One.", **own}, *contents)
    merged: dict[str, Any] = {}
    for each in [*folders, own]:
        merged |= each
    plain = Defaults()
    found = {name: getattr(spec, name) for name in ("priority", "attempts", "fallback")}
    found |= {"speed": spec.scenes[0].speed, "sentence_pause": spec.scenes[0].sentence_pause}
    found |= {"captions": list(spec.captions)}
    expected = {name: merged.get(name, getattr(plain, name)) for name in VALUES}
    assert found == {**expected, "captions": list(expected["captions"])}


WORDS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y", "z"]), max_size=3)


@given(st.lists(st.dictionaries(st.sampled_from(["*", "en", "de"]), WORDS, max_size=3), max_size=4))
def test_lexicons_add_up(folders: list[dict[str, dict[str, str]]]) -> None:
    """A word keeps what a folder further out has said of it until a nearer one says otherwise."""
    contents = []
    for each in folders:
        lines = ["[lexicon]", *(f'{word} = "{spoken}"' for word, spoken in each.get("*", {}).items())]
        for language in ("en", "de"):
            if language in each:
                lines.append(f"[lexicon.{language}]")
                lines += [f'{word} = "{spoken}"' for word, spoken in each[language].items()]
        contents.append("\n".join(lines))
    expected: dict[str, dict[str, str]] = {}
    for each in folders:
        for language, words in each.items():
            expected.setdefault(language, {}).update(words)
    found = layered(Defaults(), chain(*contents)).lexicon
    assert {language: dict(words) for language, words in found.items() if words} == {
        language: words for language, words in expected.items() if words
    }


@given(st.binary(max_size=300))
@example(b"a." * 32_000 + b"a = 1")
@example(b'"a"  .' * 10_000 + b"a = 1")
@example(b"x = {" + b"a." * 30_000 + b"a = 1}")
@example(b"x = " + b"[" * 60_000)
@example(b"x = " + b"{a=" * 20_000)
@example(b"priority = " + b"1" * 60_000)
@example(b"speed = nan")
@example(b"speed = 1e999")
@example(b"voice.a.b.c = 1")
@example(b"lexicon = 7")
@example(b'lexicon.en = ["a"]')
@example(b"lexicon.en.a.b = 1979-05-27")
@example(b'lexicon.a = "\\u0000"')
@example(b"timeout = 07:32:00\nx = 9999-99-99")
@example(b"\x00\xff")
@example(b'voice = "\xe9"')
def test_no_content_raises_anything_but_the_refusal(content: bytes) -> None:
    """And that names the file and carries one code, whatever anybody puts there."""
    failure = refusal_of(content)
    if failure is not None:
        assert failure.code is Code.FOLDER_DEFAULTS_INVALID
        assert failure.message.startswith("news/piperd.toml: ")
        assert len(failure.message) < 1000
        assert failure.as_dict()["hint"]


@given(
    st.dictionaries(
        st.sampled_from([*FolderWishes.model_fields, "sped", "text"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ).filter(lambda value: "null" not in json.dumps(value)),
        max_size=3,
    )
)
def test_no_value_of_any_type_raises_anything_but_the_refusal(data: dict[str, Any]) -> None:
    """Also where TOML is right and the value is absurd."""
    content = "".join(f"{name} = {inline(value)}\n" for name, value in data.items())
    failure = refusal_of(content.encode())
    assert failure is None or failure.code is Code.FOLDER_DEFAULTS_INVALID


def inline(value: Any) -> str:
    """TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inline(name)} = {inline(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(each) for each in value) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value).replace("\x7f", "\\u007f")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sped = 1", ["'sped' is not a setting", "Did you mean 'speed'?"]),
        ("speed = 9", ["'speed'", "less than or equal to 4", "found 9"]),
        ("captions = 'srt'", ["'captions'", "list", 'found "srt"']),
        ("captions = ['srt', 'sub']", ["'captions.1'", "'vtt'", 'found "sub"']),
        ("priority = true", ["'priority'", "found true"]),
        ("voice = joe", ["line 1", "column 9", "'voice = joe'"]),
        ("# first\nvoice = “joe”", ["line 2", "'voice = “joe”'"]),
        ("voice = 'a'\nvoice = 'b'", ["line 2"]),
        ("[speech]\nvoice = 'a'", ["'speech' is not a setting"]),
        ("text = 'Hello.'", ["'text' is not a setting"]),
        ("# ....\nx." + "a." * 100 + "a = 1", ["Line 2 has too many dots"]),
        ("x = {" + "'a' ." * 101 + "a = 1}", ["Line 1 has too many dots"]),
        ("[lexicon]\nSQL = '\\u0000'".replace("'", '"'), ["NUL"]),
        ("lexicon." + "a." * 40 + "a = 1", ["more than 32 deep"]),
        ("[lexicon.en]\nSQL = 5", ["lexicon", '"SQL"', "a text in quotes"]),
    ],
)
def test_messages_say_where_and_what(content: str, said: list[str]) -> None:
    """The file, the key, what was found and what is allowed; for syntax the line."""
    failure = broken(content.encode())
    for words in ["news/piperd.toml: ", *said]:
        assert words in failure.message


def test_a_file_that_could_not_be_read_says_so() -> None:
    """What the inbox found goes to the person as it is."""
    with pytest.raises(JobRefused) as caught:
        layered(Defaults(), [FolderFile(b"a/piperd.toml", problem="This is a pipe, not a file of its own.")])
    failure = caught.value.failure
    assert failure.message == "a/piperd.toml: This is a pipe, not a file of its own."
    assert failure.code is Code.FOLDER_DEFAULTS_INVALID


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_editors_of_windows_are_understood(encoding: str) -> None:
    """A byte order mark and CRLF are no faults; what needs a guess is."""
    content = 'voice = "é"\r\npriority = 3\r\n'.encode(encoding)
    assert read(FolderFile(b"piperd.toml", content))[0].voice == "é"
    assert "UTF-8" in broken('# Für später: das wäre schön\nvoice = "é"'.encode("cp1252")).message


def test_an_empty_file_asks_for_nothing() -> None:
    """Also one with comments only."""
    assert layered(Defaults(), chain("", f"# nothing {'.' * 200}\n")) == Defaults()
    assert MAX_BYTES == 65_536


ORIGINS: list[tuple[str, Any, tuple[str, ...], Code, str]] = [
    ("voice", "One.", ("", "voice = 'xx'"), Code.VOICE_UNKNOWN, "f1/piperd.toml: "),
    ("voice of the folder above", "One.", ("voice = 'xx'", ""), Code.VOICE_UNKNOWN, "piperd.toml: "),
    ("speaker", "One.", (f"voice = '{MANY}'", "speaker = 'carl'"), Code.SPEAKER_UNKNOWN, "f1/piperd.toml: "),
    ("speaker of any voice", {"text": "a", "voice": JOE}, ("speaker = 'anna'",), Code.SPEAKER_UNKNOWN, "piperd.toml: "),
    ("rate", "One.", ("sample_rate = 44100\nformat = 'opus'",), Code.FOLDER_DEFAULTS_INVALID, "piperd.toml: "),
    ("rate and the job's format", {"text": "a", "format": "opus"}, ("sample_rate = 44100",),
     Code.FOLDER_DEFAULTS_INVALID, "piperd.toml: "),
    ("rate and a nearer format", "One.", ("sample_rate = 44100", "format = 'opus'"),
     Code.FOLDER_DEFAULTS_INVALID, "piperd.toml: "),
    ("encoding", "One.", ("format = 'mp3'\nencoding = 'pcm24'",), Code.FOLDER_DEFAULTS_INVALID, "piperd.toml: "),
    ("nearer encoding", "One.", ("format = 'mp3'", "encoding = 'pcm24'"),
     Code.FOLDER_DEFAULTS_INVALID, "f1/piperd.toml: "),
    ("no audio", "One.", ("joined = false\nscene_files = false",), Code.FOLDER_DEFAULTS_INVALID, "piperd.toml: "),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "contents", "code", "begin"), [each[1:] for each in ORIGINS], ids=[o[0] for o in ORIGINS]
)
def test_a_default_that_can_not_be_had_is_the_folders_fault(
    data: Any, contents: tuple[str, ...], code: Code, begin: str
) -> None:
    """The message names the file that asks for it, and no field of the job."""
    failure = failure_of(data, *contents)
    assert (failure.code, failure.field) == (code, None)
    assert failure.message.startswith(begin)
    assert begin.removesuffix(": ") in failure.hint


@pytest.mark.parametrize(
    ("own", "field"),
    [
        ({"voice": "yy"}, "voice"),
        ({"speaker": "carl"}, "speaker"),
        ({"format": "opus", "sample_rate": 44_100}, "sample_rate"),
        ({"format": "mp3", "encoding": "pcm24"}, "encoding"),
        ({"joined": False, "scene_files": False}, "joined"),
    ],
)
def test_the_jobs_own_fault_is_its_own(own: dict[str, Any], field: str) -> None:
    """Whatever its folder says."""
    failure = failure_of(
        {"text": "a", **own}, f"voice = '{MANY}'\nspeaker = 'anna'\nsample_rate = 8000\nformat = 'wav'"
    )
    assert failure.field == field
    assert "piperd.toml" not in failure.message


def test_a_speaker_goes_with_the_voice_beside_it() -> None:
    """A job, or a nearer folder, that chooses another voice has not asked for the speaker of the first."""
    pair = f"voice = '{MANY}'\nspeaker = 'bert'"
    assert job("One.", pair).scenes[0].speaker == 1
    assert job({"text": "a", "voice": JOE}, pair).scenes[0].speaker is None
    assert job("One.", pair, f"voice = '{JOE}'").scenes[0].speaker is None
    assert job("One.", pair, "speaker = 'anna'").scenes[0].speaker == 0
    assert job({"text": "a", "voice": MANY}, "speaker = 'bert'").scenes[0].speaker == 1


def test_what_is_meant_for_wav_files_does_not_forbid_other_formats() -> None:
    """A folder's encoding is for those of its jobs that are WAV files."""
    assert job({"text": "a", "format": "mp3"}, "encoding = 'pcm24'").format == "mp3"
    assert job("One.", "encoding = 'pcm24'", "format = 'mp3'").format == "mp3"
    assert job({"text": "a", "format": "wav"}, "encoding = 'pcm24'", "format = 'mp3'").encoding == "pcm24"


@pytest.mark.parametrize("name", ["piperd.toml.txt", "Piperd.TOML.txt"])
def test_a_half_named_file_is_not_read_aloud(name: str) -> None:
    """Windows hides `.txt`, so people don't see that their settings are a text."""
    with pytest.raises(JobRefused) as caught:
        parse(name, b"priority = 9", Defaults(), VOICES)
    assert caught.value.failure.code is Code.UNSUPPORTED_TYPE
    assert ".txt" in caught.value.failure.hint


def test_the_example_is_up_to_date() -> None:
    """config/folder.toml is what the code says; `make config/folder.toml` writes it anew."""
    assert (ROOT / "config/folder.toml").read_text() == folder_template(FolderWishes, asdict(Defaults()))


def test_the_example_shows_every_field() -> None:
    """As it is it asks for nothing; with all uncommented, for what counts anyway, and for the examples."""
    template = folder_template(FolderWishes, asdict(Defaults()))
    assert layered(Defaults(), chain(template)) == Defaults()
    uncommented = re.sub(r"(?m)^#(?=[\w\[])", "", template)
    assert set(tomllib.loads(uncommented)) == set(FolderWishes.model_fields)
    found = layered(Defaults(), chain(uncommented))
    plain = Defaults()
    for name in Wishes.model_fields:
        assert getattr(found, name) == EXAMPLES.get(name, getattr(plain, name)), name
    assert found.lexicon == {"*": {"NATO": "nay toe"}, "en": {"SQL": "sequel"}}
    assert '"srt", "vtt" or "words"' in template
