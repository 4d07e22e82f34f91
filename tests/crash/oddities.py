"""Names and contents that no sane person drops, by lot; and what the contract says becomes of a name."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

LONGEST_NAME = 255
SPOKEN = (b".txt", b".md", b".markdown", b".json", b".TXT", b".Txt", b".MD", b".JSON", b".json", b".txt")
DOCUMENTS = (b".docx", b".pdf", b".html", b".csv", b".SRT", b".epub", b".xlsx")
FOREIGN = (
    b"",
    b".",
    b".wav",
    b".exe",
    b".png",
    b".txt ",
    b".txt.",
    b".txtx",
    b".json5",
    b".md\n",
    b".\xff",
    b".t\xcc\x88xt",
)
TEMPORARY = (
    b"~",
    b".tmp",
    b".temp",
    b".part",
    b".partial",
    b".filepart",
    b".crdownload",
    b".download",
    b".swp",
    b".lock",
)
PREFIXES = (b".", b"~$", b"~syncthing~", b"..", b".#")
SYSTEM_FILES = (b"Thumbs.db", b"desktop.ini", b"ehthumbs.db")
SYSTEM_FOLDERS = (
    b"@eaDir",
    b"#recycle",
    b"lost+found",
    b"__MACOSX",
    b".hidden",
    b"$RECYCLE.BIN",
    b"System Volume Information",
)
PIECES = tuple(
    piece.encode("utf-8", "surrogateescape")
    for piece in (
        *("a", "A", "story", "Story", "0", " ", "  ", "-2", "_", ".", "..", "é", "e\u0301", "ß", "SS", "İ", "ﬁ"),
        *("ä", "a\u0308", "CON", "nul", "COM1", "LPT¹", "aux.", "سلام", "你好", "👩\u200d🚀", "🇩🇪", "𝔘", "\U000e0001"),
        *("\n", "\r\n", "\t", "\x01", "\x1b[31m", "\x1b]0;x\x07", "\x7f", "\x85", "\u2028", "\ufeff", "\u202e"),
        *(":", "?", "*", "|", "<", ">", '"', "'", "\\", "`id`", "$(id)", "%s%n", "{0}", "&&", ";", "#", "~", "!"),
        *("[x]", "-rf", "\u2066", "\u200d", "\udcff", "\udcc3", "\udced\udca0\udc80"),
    )
)  # fmt: skip
SENTENCES = (
    "Good day.",
    "It rains.",
    "Is it so?",
    "No. 5, please!",
    "Ça va ?",
    "Größe",
    "こんにちは。",
    "سلام دنیا.",
    "Yes… no—well.",
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "shift_jis", "koi8-r", "utf-16-le", "utf-7")
ODD_VALUES: tuple[Any, ...] = (
    *(["srt", "words"], ["vtt"], "pcm24"),
    *(
        None,
        True,
        False,
        ["srt", "words"],
        ["vtt"],
        "pcm24",
        0,
        -1,
        5,
        9.5,
        10**30,
        -(10**400),
        0.1,
        "",
        "x",
        "9",
        [],
        [[]],
        {},
        {"a": {"b": [1]}},
    ),
    *("../../etc/passwd", "/etc/passwd", "a/b", "..", "CON", "\x00", "\ud800", "\u202e", "x" * 300, "en_US-joe-medium"),
)
FIELDS = (
    *("text", "scenes", "voice", "speaker", "speed", "noise_scale", "sentence_pause", "scene_pause", "loudness"),
    *("priority"),
    *("captions", "joined", "scene_files", "sample_rate", "encoding"),
    *("timeout", "attempts", "fallback", "name", "metadata", "format", "nonsense", "__proto__", "", "\ud800"),
)  # fmt: skip


def name(lots: random.Random) -> bytes:
    """Any bytes that can be a name, with an end that says something to piperd or not."""
    if lots.random() < 0.1:
        stem = bytes(lots.choice([*range(1, 47), *range(48, 256)]) for _ in range(lots.randint(1, 60)))
    else:
        stem = b"".join(lots.choices(PIECES, k=lots.randint(1, 6)))
    if lots.random() < 0.05:
        stem = stem * LONGEST_NAME
    end = lots.choice(lots.choices((SPOKEN, DOCUMENTS, FOREIGN, TEMPORARY), (12, 1, 2, 2))[0])
    start = lots.choice(PREFIXES) if lots.random() < 0.06 else b""
    found = start + stem[: LONGEST_NAME - len(start) - len(end)] + end
    if lots.random() < 0.02:
        found = lots.choice((*SYSTEM_FILES, b"#a.txt#", b"a.sync-conflict-2026.txt", b"sedAbC123", b"4913"))
    return found if found not in {b".", b".."} else b"dots.txt"


def folder(lots: random.Random) -> bytes:
    """A path of folders, some of which are never entered."""
    depth = lots.choice((1, 1, 1, 2, 3, 6))
    names = [lots.choice(SYSTEM_FOLDERS) if lots.random() < 0.06 else name(lots) for _ in range(depth)]
    return b"/".join(names)


def is_taken(path: bytes) -> bool:
    """Whether a file of this path, relative to the inbox, is to become a job: by the contract, not by the code."""
    *folders, last = path.split(b"/")
    if any(each in SYSTEM_FOLDERS or each.startswith(b".") for each in folders):
        return False
    if last.startswith((b".", b"~$", b"~syncthing~")) or last.endswith((*TEMPORARY, b".swo", b".swx")):
        return False
    if (last.startswith(b"#") and last.endswith(b"#")) or b".sync-conflict-" in last or last in SYSTEM_FILES:
        return False
    _, dot, suffix = last.rpartition(b".")
    return bool(dot) and dot + suffix.lower() in {each.lower() for each in (*SPOKEN, *DOCUMENTS)}


def content(lots: random.Random, path: bytes) -> bytes:
    """What may lie in a file: often what its name says, often not."""
    kind = path.lower().rpartition(b".")[2] if lots.random() < 0.9 else lots.choice((b"txt", b"md", b"json"))
    found = {b"json": job, b"md": markdown, b"markdown": markdown}.get(kind, text)(lots)
    if lots.random() < 0.1:
        found = found[: lots.randrange(len(found) + 1)]
    if lots.random() < 0.1 and found:
        place = lots.randrange(len(found))
        found = found[:place] + bytes([lots.randrange(256)]) + found[place + 1 :]
    return found


def prose(lots: random.Random) -> str:
    return " ".join(lots.choices(SENTENCES, k=lots.randint(1, 3)))


def text(lots: random.Random) -> bytes:
    plain = prose(lots).encode(lots.choice(ENCODINGS), "replace")
    odd = (
        b"", b" \n\t ", b"\0", b"\0" * 4096, os.urandom(0), lots.randbytes(lots.randrange(1, 3000)), b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"..." * 50, b"x" * 5000, b"word " * 1000, b"a\n" * 900, b"\xed\xa0\x80 surrogate", b"[[ h@l'oU ]] \x1b[2J",
        b"e\xcc\x81" * 90,
        b"a" + b"\xcc\x88" * 400, b"%PDF-1.7\n" + b"\x80" * 99, b"PK\x03\x04" + b"\0" * 99, b"\r",
        b"<speak>Hi.</speak>", b"?" * 700,
    )  # fmt: skip
    return plain if lots.random() < 0.7 else lots.choice(odd)


def markdown(lots: random.Random) -> bytes:
    odd = (
        "#" * 900, "[" * 900, "> " * 300 + "x", "*" * 900, "`" * 700, "- " * 400, "```\nno end", "![](x)" * 90,
        "<b>" * 200, "|a|b|\n" * 90,
        "&#0; &amp; &nosuch; &#xd800;", "[a]: /x\n" * 90, "1. " * 300, "a_" * 400, "\\" * 501, "---\ntitle: x\n---\n",
        "~~~", "$$x$$",
    )  # fmt: skip
    if lots.random() < 0.6:
        return f"# {prose(lots)}\n\n*{prose(lots)}*\n\n```\ncode\n```\n".encode()
    return lots.choice(odd).encode()


def job(lots: random.Random) -> bytes:
    if lots.random() < 0.3:
        return lots.choice(BROKEN_JOBS)
    fields: dict[str, Any] = {"text": prose(lots)}
    if lots.random() < 0.4:
        fields = {"scenes": [{"text": prose(lots), "id": str(number)} for number in range(lots.randint(1, 4))]}
    for _ in range(lots.choice((0, 0, 0, 1, 1, 2))):
        fields[lots.choice(FIELDS)] = lots.choice(ODD_VALUES)
    if lots.random() < 0.2:
        fields["name"] = lots.choice(PIECES).decode(errors="replace") * lots.randint(1, 50)
    scenes = fields.get("scenes")
    if lots.random() < 0.1 and isinstance(scenes, list) and scenes and isinstance(scenes[0], dict):
        scenes[0][lots.choice((*FIELDS, "id", "pause_after"))] = lots.choice(ODD_VALUES)
    written = json.dumps(fields, ensure_ascii=lots.random() < 0.5)
    return written.encode(lots.choice(("utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig")), "surrogatepass")


BROKEN_JOBS = (
    b"", b"{", b"{}", b"[]", b"null", b"1", b'"x"', b"{]", b'{"text": "x"} {"text": "y"}', b'{"text": "x",}',
    b"{'text': 'x'}",
    b'{"text": "x", "text": "y"}', b'{"text": NaN}', b'{"text": "x", "speed": Infinity}',
    b'{"text": "x", "speed": 1e999}',
    b'{"text": "x", "priority": 1' + b"0" * 6000 + b"}", b'{"text": "\\ud800"}', b'{"text": "\\u0000\\u001b[31m"}',
    b'{"text": "a\nb"}',
    b"[" * 100_000, b'{"a":' * 50_000, b'{"text": "x", "metadata": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
    b'{"text": "x", "metadata": {"a": "' + b"y" * 20_000 + b'"}}', b'{"scenes": []}', b'{"scenes": [{}]}',
    b'{"scenes": [null]}',
    b'{"scenes": [' + b'{"text": "Hm."},' * 120 + b'{"text": "So."}]}',
    b'{"scenes": [{"text": "a", "id": "1"}, {"text": "b", "id": "1"}]}',
    b'{"text": "..."}', b'{"text": " "}', b'{"text": "' + b"long " * 1000 + b'"}', b"\xff\xfe{\0}\0", b"// no\n{}",
    b'{"text": tru',
    b'{"text": "x", "name": "../../../../tmp/escaped"}', b'{"scenes": [{"text": "x", "id": "../up"}]}', b"\0" * 300,
    b'{"text"',
)  # fmt: skip
