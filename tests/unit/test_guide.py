"""docs/reading.md: each of its examples is read as it says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from piper.phonemize_espeak import EspeakPhonemizer

from piperd.job import Scene
from piperd.lexicon import flat, parse
from piperd.text import spoken_text, tidy, utterances

GUIDE = (Path(__file__).parents[2] / "docs" / "reading.md").read_text()
ROWS = re.findall(r"^\| `([^|]+)` \| ([^|]+?) \|", GUIDE, re.MULTILINE)
LEXICON = flat(parse(tomllib.loads(re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[0])))


def test_the_examples_are_found() -> None:
    """A table that is laid out otherwise would not be run."""
    assert len(ROWS) == len(re.findall(r"^\| `", GUIDE, re.MULTILINE)) > 35


@pytest.mark.parametrize(("text", "spoken"), ROWS, ids=[text for text, _ in ROWS])
def test_example(text: str, spoken: str) -> None:
    """What the guide says is what is spoken, as one sentence."""
    scene = Scene("1", tidy(text)[0], "joe")
    found = utterances(scene, 0, "en", lexicon=LEXICON)
    assert spoken_text(found) == spoken
    assert len(found) == 1
    assert len(EspeakPhonemizer().phonemize("en-us", spoken)) == 1
