"""A job as it is performed."""

from __future__ import annotations

from piperd.job import JobSpec, Scene
from piperd.script import Script


def test_the_longest_go_first() -> None:
    """Each sound once, at its first place; those of one length in their order."""
    sentences = ["Go.", "A much longer sentence is here.", "No.", "Go.", "The second longest one."]
    scene = Scene("one", " ".join(sentences), "joe")
    script = Script.of(JobSpec(scenes=(scene,), name="one"), {})
    assert [each.text for each in script.utterances] == sentences
    keys = set(script.keys)
    assert [sentences[place] for place in script.first_places(keys)] == [
        "A much longer sentence is here.",
        "The second longest one.",
        "Go.",
        "No.",
    ]
    assert script.first_places(keys - {script.keys[1], script.keys[0]}) == [4, 2]
