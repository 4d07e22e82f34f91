"""Jobs with several files: a sound for each scene, captions beside each, and names that are taken."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from harness import Box, ThreadDaemon
from piperd import audit, results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STORY = {
    "scenes": [{"id": "intro", "text": "Welcome."}, {"id": "a/b", "text": "Here it is. And good."}, {"text": "Bye."}],
    "captions": ["srt", "vtt", "words"],
}
NAMES = ("01-intro", "02-a_b", "03")
KINDS = (".wav", ".srt", ".vtt", ".words.json")
WHOLE = {f"story{kind}" for kind in KINDS} | {f"story/{name}{kind}" for name in NAMES for kind in KINDS}


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def drain(box: Box) -> None:
    with ThreadDaemon(box, drain=True) as daemon:
        daemon.join()


def audited(box: Box) -> set[str]:
    """The kinds of what the auditor finds."""
    folders = (box.inbox, box.outbox, box.archive, box.failed, box.state)
    return {finding.kind for finding in audit.audit(audit.Places(*folders), drained=True).findings}


def tell(box: Box, job: dict[str, Any], name: str = "story.json", faults: set[str] | None = None) -> dict[str, Any]:
    """Drop a job, wait for its end, and give its status; all that it names is there, and the auditor finds `faults`."""
    box.drop(name, job)
    drain(box)
    box.check_outputs()
    (found,) = [each for each in box.statuses().values() if each["source"] == name]
    assert found["state"] == "done", found["error"]
    assert audited(box) == (faults or set())
    return found


def test_each_scene_has_its_files(box: Box) -> None:
    """All under the job's own name, named in the status with their lengths and sums."""
    found = tell(box, STORY, "tales/story.json")
    assert box.files(box.outbox) == {f"tales/{name}" for name in (*WHOLE, "story.json")}
    assert found["audio"]["file"] == "story.wav"
    assert found["captions"] == {"srt": "story.srt", "vtt": "story.vtt", "words": "story.words.json"}
    assert [scene["file"] for scene in found["scenes"]] == [f"story/{name}.wav" for name in NAMES]
    assert found["scenes"][1]["captions"]["words"] == "story/02-a_b.words.json"
    assert [scene["id"] for scene in found["scenes"]] == ["intro", "a/b", "3"]
    starts = [scene["start_s"] for scene in found["scenes"]]
    ends = [scene["start_s"] + scene["duration_s"] for scene in found["scenes"]]
    assert starts[1:] == pytest.approx([end + 1.0 for end in ends[:-1]])
    assert ends[-1] == pytest.approx(found["audio"]["duration_s"])
    assert found["scenes"][0]["bytes"] == (box.outbox / "tales/story/01-intro.wav").stat().st_size


def test_a_job_may_have_files_of_scenes_alone(box: Box) -> None:
    """Then there is no audio of the whole, and no captions of it."""
    found = tell(box, STORY | {"joined": False, "captions": ["srt"]})
    assert (found["audio"], found["captions"]) == (None, {})
    files = {f"story/{name}{kind}" for name in NAMES for kind in (".wav", ".srt")}
    assert box.files(box.outbox) == {"story.json", *files}


def test_a_job_may_have_one_file_alone(box: Box) -> None:
    """No folder is made for it."""
    found = tell(box, STORY | {"scene_files": False, "captions": []})
    assert [(scene["file"], scene["sha256"], scene["captions"]) for scene in found["scenes"]] == [(None, None, {})] * 3
    assert {path.name for path in box.outbox.iterdir()} == {"story.json", "story.wav"}


def test_a_text_has_one_file(box: Box) -> None:
    """Its one scene is the whole."""
    found = tell(box, {"text": "Hello."})
    assert box.files(box.outbox) == {"story.json", "story.wav"}
    assert found["scenes"][0]["file"] is None


def plant_folder(box: Box) -> None:
    (box.outbox / "Story").mkdir()
    (box.outbox / "Story/mine.txt").write_text("mine")


def plant_file(box: Box) -> None:
    (box.outbox / "story").write_text("mine")


def plant_link(box: Box) -> None:
    (box.outbox / "story").symlink_to(box.archive)


def plant_scene(box: Box) -> None:
    (box.outbox / "story").mkdir()
    (box.outbox / "story/01-intro.wav").write_bytes(b"mine")


def plant_caption(box: Box) -> None:
    (box.outbox / "story.words.json").write_bytes(b"{}")


@pytest.mark.parametrize("plant", [plant_folder, plant_file, plant_link, plant_scene, plant_caption])
def test_a_name_that_is_taken_for_one_file_is_taken_for_all(box: Box, plant: Callable[[Box], None]) -> None:
    """Whatever lies there stays, no link is followed, and all files of the job have the next name."""
    plant(box)
    before = {name: os.lstat(box.outbox / name).st_ino for name in box.files(box.outbox)}
    # to the auditor a user's file that is named like an output is one too many
    found = tell(box, STORY, faults={"duplicated"} if plant in {plant_scene, plant_caption} else None)
    new = {name: os.lstat(box.outbox / name).st_ino for name in box.files(box.outbox)}
    assert {name: new.pop(name) for name in before} == before
    assert new.keys() == {f"story-2{name.removeprefix('story')}" for name in (*WHOLE, "story.json")}
    assert found["scenes"][0]["file"] == "story-2/01-intro.wav"
    assert not list(box.archive.glob("*.wav"))


def test_a_folder_of_the_inbox_is_nobodys_scenes(box: Box) -> None:
    """`story/` may be a subfolder as well: a plain text beside it keeps its name, a job with scenes gets another."""
    box.drop("story/01-intro.txt", "One.")
    drain(box)
    box.drop("story.txt", "Two.")
    drain(box)
    found = tell(box, STORY)
    assert found["audio"]["file"] == "story-2.wav"
    assert {"story.wav", "story/01-intro.wav", "story-2/01-intro.wav"} <= box.files(box.outbox)


def test_a_status_may_look_like_captions(box: Box) -> None:
    """`story.words.txt` has its status where `story.json` has the times of its words."""
    for names in (("story.words.txt", "story.json"), ("Other.json", "other.words.txt")):
        for name in names:
            box.drop(name, STORY if name.endswith(".json") else "Words.")
            drain(box)
    assert {found["state"] for name, found in box.statuses().items() if "state" in found} == {"done"}
    assert not audited(box)


def test_what_is_replaced_is_replaced_as_a_whole(box: Box) -> None:
    """Files that a later job of the name does not have go; one that somebody has changed stays."""
    box.configure({"output": {"on_collision": "replace"}})
    tell(box, STORY)
    (box.outbox / "story/02-a_b.srt").write_text("corrected by hand")
    box.drop("story.json", {"text": "All anew.", "captions": ["vtt"]})
    drain(box)
    assert box.files(box.outbox) == {"story.json", "story.wav", "story.vtt", "story/02-a_b.srt"}


def test_an_empty_scene_is_named(box: Box) -> None:
    """Unless silence may stand in for it: then it has a file of silence, and says so."""
    scenes = [{"id": "a", "text": "Well."}, {"id": "b", "text": " "}, {"id": "c", "text": "..."}]
    box.drop("bad.json", {"scenes": scenes})
    drain(box)
    error = box.final("bad.json")["error"]
    assert (error["code"], error["scene"], error["field"]) == ("text_empty", "b", "scenes.1.text")
    found = tell(box, {"scenes": scenes, "fallback": "silence"})
    assert found["degraded"]
    assert [scene["fallback"] for scene in found["scenes"]] == [False, True, True]
    assert [scene["error"] and scene["error"]["code"] for scene in found["scenes"]] == [
        None, "text_empty", "unspeakable_text",
    ]  # fmt: skip
    assert all(scene["duration_s"] > 0 and scene["file"] for scene in found["scenes"])


def test_the_spoken_text_may_be_shown(box: Box) -> None:
    """As it was read, scene by scene; not unless it is asked for."""
    assert {scene["spoken_text"] for scene in tell(box, STORY)["scenes"]} == {None}
    box.configure({"output": {"spoken_text": True}})
    found = tell(box, STORY, "again.json")
    assert [scene["spoken_text"] for scene in found["scenes"]] == ["Welcome.", "Here it is. And good.", "Bye."]


DAMAGE: dict[str, tuple[set[str], Callable[[Path], object]]] = {
    "scene deleted": ({"torn"}, lambda outbox: (outbox / "story/01-intro.wav").unlink()),
    "scene changed": ({"torn"}, lambda outbox: (outbox / "story/01-intro.wav").write_bytes(b"x" * 50)),
    "scenes exchanged": ({"torn"}, lambda outbox: (outbox / "story/03.wav").replace(outbox / "story/01-intro.wav")),
    "captions deleted": ({"torn"}, lambda outbox: (outbox / "story.srt").unlink()),
    "captions of a scene deleted": ({"torn"}, lambda outbox: (outbox / "story/03.vtt").unlink()),
    "words changed": ({"torn"}, lambda outbox: (outbox / "story.words.json").write_bytes(b"{}")),
    "scene twice": (
        {"duplicated"},
        lambda outbox: shutil.copytree(outbox / "story", outbox / "story-2"),
    ),
    "one scene more": ({"duplicated"}, lambda outbox: (outbox / "story/04.wav").write_bytes(b"x")),
    "other captions": ({"duplicated"}, lambda outbox: (outbox / "story-2.srt").write_bytes(b"x")),
    "scene forgotten": ({"torn", "duplicated"}, lambda outbox: forget_scene(outbox / "story.json")),
}


def forget_scene(status: Path) -> None:
    found = json.loads(status.read_bytes())
    found["scenes"].pop()
    status.write_text(json.dumps(found))


@pytest.mark.parametrize(("kinds", "damage"), DAMAGE.values(), ids=DAMAGE)
def test_the_auditor_sees_each_file(box: Box, kinds: set[str], damage: Callable[[Path], object]) -> None:
    """Sounds and captions, of the whole and of scenes."""
    tell(box, STORY)
    damage(box.outbox)
    assert audited(box) == kinds


def test_a_users_files_beside_scenes_are_left_alone(box: Box) -> None:
    """Whatever is not named as a scene's file is."""
    tell(box, STORY)
    (box.outbox / "story/cover.mp3").write_bytes(b"x")
    (box.outbox / "notes.srt").write_bytes(b"x")
    assert not audited(box)


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["1", "2"], ["01", "02"]),
        (["2", "1"], ["01-2", "02-1"]),
        (["../up", "CON", "سلام", "x" * 300], ["01-_up", "02-_CON", "03-سلام", f"04-{'x' * 100}"]),
        ([str(number) for number in range(1, 1001)], [f"{number:04}" for number in range(1, 1001)]),
    ],
)
def test_names_of_scenes(ids: list[str], names: list[str]) -> None:
    """They sort as the scenes do, and every file system takes them."""
    assert results.scene_names(ids) == names
