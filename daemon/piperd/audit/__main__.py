"""The audit's command line. Exit code 0: all promises were kept; 1: not all; 2: wrong usage, or not allowed to look."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piperd.audit import MEANINGS, Places, audit
from piperd.audit.values import COUNTS, FOLDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from piperd.audit import Report


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m piperd.audit", description="Were the promises kept?")
    parser.add_argument("--config", type=Path, help="the daemon's configuration file, with its [folders]")
    for name in FOLDERS:
        parser.add_argument(f"--{name}", type=Path, help="in place of what the configuration file says")
    parser.add_argument("--drained", action="store_true", help="nothing is open, and nothing was taken away since")
    parser.add_argument("--dropped", type=Path, help="JSON object: path in the inbox to SHA-256 of its content")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    try:
        places = _places(asked)
        dropped = _dropped(asked.dropped)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    try:
        report = audit(places, drained=asked.drained, dropped=dropped)
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    lines = [json.dumps(asdict(report))] if asked.json else map(_shown, _in_words(report))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return int(bool(report.findings))


def _places(asked: argparse.Namespace) -> Places:
    """Those of the command line, then those of the file, relative to where that lies."""
    config: dict[str, Any] = _read(asked.config, tomllib.loads) if asked.config else {}
    base = asked.config.absolute().parent if asked.config else Path.cwd()
    folders, output = config.get("folders", {}), config.get("output", {})
    given = {name: getattr(asked, name) or folders.get(name) for name in FOLDERS}
    if missing := [name for name, path in given.items() if not path]:
        raise ValueError(f"which folders? Missing: {', '.join(missing)}")
    return Places(
        **{name: base / Path(path).expanduser() for name, path in given.items()},
        deletes=folders.get("after_done") == "delete",
        replaces=output.get("on_collision") == "replace",
    )


def _dropped(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    found = _read(path, json.loads)
    if not isinstance(found, dict) or not all(isinstance(digest, str) for digest in found.values()):
        raise ValueError(f"{path} is no JSON object of paths and their SHA-256")
    return found


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} can't be read: {error}") from error


def _in_words(report: Report) -> Iterator[str]:
    yield ", ".join(f"{report.counts[name]:,} {name}" for name in COUNTS)
    if report.forgotten:
        yield f"{report.forgotten:,} older jobs are forgotten, as the settings want; nothing can be said of them."
    for finding in report.findings:
        whose = f" (job {finding.job_id})" if finding.job_id else ""
        yield f"{finding.kind}: {finding.message}{whose}"
    for kind in dict.fromkeys(finding.kind for finding in report.findings):
        yield f"{kind} means: {MEANINGS[kind]}."
    if report.left_alone:
        yield f"{len(report.left_alone):,} other files in the outbox were left alone."
    number = len(report.findings)
    yield f"Not all promises were kept: {number:,} findings." if number else "All promises were kept."


def _shown(line: str) -> str:
    """Names come from anybody: none of their characters may steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


if __name__ == "__main__":
    sys.exit(main())
