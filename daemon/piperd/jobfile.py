"""What a dropped file is, and what it asks for: name and bytes become a `JobSpec`, or a `JobRefused` that says why."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What piperd does with a file, by its name alone."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JOB = "job"
    DOCUMENT = "document"
    """Meant to be read by people, but not by piperd: claimed and failed with what to do instead."""
    FOREIGN = "foreign"
    """Not for piperd: left alone, reported once."""


KINDS = {
    ".txt": Kind.TEXT,
    ".md": Kind.MARKDOWN,
    ".markdown": Kind.MARKDOWN,
    ".json": Kind.JOB,
    **dict.fromkeys(
        (".doc", ".docx", ".odt", ".rtf", ".pdf", ".epub", ".htm", ".html", ".csv", ".srt", ".vtt", ".xml", ".tex"),
        Kind.DOCUMENT,
    ),
    **dict.fromkeys((".pages", ".xls", ".xlsx", ".ods", ".ppt", ".pptx", ".odp", ".mobi", ".azw3"), Kind.DOCUMENT),
}


def kind_of(name: str) -> Kind:
    """The kind of a file by the last suffix of its name; letter case does not matter."""
    dot = name.rfind(".")
    return KINDS.get(name[dot:].lower(), Kind.FOREIGN) if dot > 0 else Kind.FOREIGN
