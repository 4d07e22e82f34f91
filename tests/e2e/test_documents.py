"""What the documents say is true: every command of the README, every file of inbox-example/."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from harness import Box, ProcessDaemon, piperd, wait_for
from piperd import folders, jobfile, manual
from piperd.jobfields import FolderWishes, JobFile, SceneFile
from piperd.options import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line.removeprefix("$ ") for block in BLOCKS for line in block.splitlines()]


def test_every_readme_command_works(tmp_path: Path) -> None:
    """In order, beside a daemon that runs without any configuration, in a home of its own."""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    daemon = subprocess.Popen(["piperd", "run"], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: folders.running(tmp_path / "state" / "piperd"), "the daemon")
        for command in COMMANDS:
            if command == "piperd run --drain":
                daemon.terminate()
                assert daemon.wait(60) == 0
            result = subprocess.run(
                shlex.split(command),
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert result.returncode == 0, f"{command}: {result.stderr}{result.stdout}"
    finally:
        daemon.kill()
        daemon.wait()
    assert (tmp_path / "piperd/outbox/text.wav").exists()
    assert len(COMMANDS) >= 7


def test_every_promise_names_its_proof() -> None:
    """Each promise of the README links to files of tests that exist and have tests in them."""
    section = README.partition("## Promises")[2].partition("\n## ")[0]
    promises = re.split(r"^\d\. ", section.partition("Two limits")[0], flags=re.MULTILINE)[1:]
    assert len(promises) == 5
    for promise in promises:
        links = re.findall(r"\]\((tests/[^)]+)\)", promise)
        assert links, promise
        for link in links:
            assert (ROOT / link).is_file(), link
            assert link.endswith("observer.py") or "\ndef test_" in (ROOT / link).read_text(), link


WISHES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in README.partition("## What can be asked for")[2].partition("\n## ")[0].splitlines()
    if line.startswith("| `")
]


def test_the_table_of_wishes_is_whole() -> None:
    """What a job, a scene and a folder may say is what the README says, and so are the settings behind it."""
    told: dict[int, set[str]] = {1: set(), 2: set(), 3: set()}
    known = manual.flatten(Settings())
    for cells in WISHES:
        names = set(re.findall(r"`(\w+)`", cells[0]))
        for column, found in told.items():
            found.update(names if cells[column] else ())
        if cells[4]:
            assert cells[4].strip("`") in known
            assert names <= {field.name for field in fields(jobfile.Defaults)}
    assert told[1] == JobFile.model_fields.keys()
    assert told[2] - {"scenes"} == SceneFile.model_fields.keys()
    assert told[3] == FolderWishes.model_fields.keys()


def test_links_between_documents_lead_somewhere() -> None:
    """Relative links of all Markdown files of the project."""
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]
    for document in documents:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_demo_works() -> None:
    """`make demo` speaks the examples and ends with their table."""
    result = subprocess.run(["make", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "evening show.wav" in result.stdout
    assert "the lighthouse.wav" in result.stdout
    assert "job_file_invalid" in result.stdout


EXPECTED = {
    "hello.json": None,
    "story.json": None,
    "salam.json": None,
    "notice.json": None,
    "evening show.json": None,
    "the lighthouse.json": None,
    "news/morning.json": None,
    "broken.json": "job_file_invalid",
    "letter.json": "unsupported_type",
}


def test_every_example_does_what_it_shows(tmp_path: Path) -> None:
    """Each file of inbox-example/ is spoken, or fails as it is meant to; the Persian one warns."""
    voices = tmp_path / "voices"
    subprocess.run([sys.executable, ROOT / "docs/second_voice.py", voices], check=True)
    box = Box(tmp_path, {"voices": {"dirs": [str(voices)], "tune": True}})
    shutil.copytree(ROOT / "inbox-example", box.inbox, dirs_exist_ok=True)
    result = piperd("run", "--drain", box=box)
    assert result.returncode == 1, result.stderr
    found = box.statuses()
    assert {name: status["error"] and status["error"]["code"] for name, status in found.items()} == EXPECTED
    assert any("script" in warning for warning in found["salam.json"]["warnings"])
    assert [scene["id"] for scene in found["evening show.json"]["scenes"]] == ["intro", "weather", "goodbye"]
    assert (found["news/morning.json"]["priority"], found["hello.json"]["priority"]) == (8, 5)
    assert box.files(box.inbox) == {"news/piperd.toml"}
    assert found["notice.json"]["metadata"]["announcement"] == 42
    film = found["the lighthouse.json"]
    assert len({scene["voice"] for scene in film["scenes"]}) == 2
    names = [scene["file"] for scene in film["scenes"]]
    assert (names[0], names[-1]) == ("the lighthouse/01-title.wav", "the lighthouse/10-end.wav")
    assert json.loads((box.outbox / film["captions"]["words"]).read_bytes())["exact"]
    morning = found["news/morning.json"]
    assert (morning["priority"], morning["captions"].keys()) == (8, {"srt", "words"})
    for name in EXPECTED:
        assert name.rpartition("/")[2].removesuffix(".json") in result.stdout
    box.check_outputs()


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(document: str) -> None:
    """Every relative link of a document is a file of the project."""
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_architecture_names_what_exists() -> None:
    """Modules and symbols of ARCHITECTURE.md are found in the code."""
    for name in re.findall(r"`([a-z_.]+\.[A-Za-z_.]+)`", (ROOT / "ARCHITECTURE.md").read_text()):
        if name.endswith((".py", ".wav", ".toml")):
            continue
        module, _, symbol = name.partition(".")
        source = ROOT / "daemon/piperd"
        text = "".join(
            path.read_text() for path in [source / f"{module}.py", *(source / module).glob("*.py")] if path.exists()
        )
        assert re.search(rf"\b{symbol.rpartition('.')[2]}\b", text), name


def test_the_daemon_says_when_it_is_ready(tmp_path: Path) -> None:
    """What systemd waits for comes after the first warm worker: READY=1 on the notification socket."""
    box = Box(tmp_path, {"log": {"format": "json"}})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        with ProcessDaemon(box, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as daemon:
            heard = b""
            while b"READY=1" not in heard:
                heard += listener.recv(4_096)
            assert daemon.saw("worker_ready")
            assert daemon.stop() == 0
            while b"STOPPING=1" not in heard:
                heard += listener.recv(4_096)
