"""How web and mail addresses, tags, handles and file names are read in English. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from piperd.numerals import digits

if TYPE_CHECKING:
    from piperd.rewriting import Rewriting

MAX_PATH = 40
"""Characters of an address's path that are read; who listens can't follow a longer one."""

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_HOST = rf"(?:{_LABEL}\.){{1,6}}[^\W\d_]{{2,18}}"
_ENDINGS = "com|org|net|edu|gov|mil|int|info|biz|io|ai|app|dev|eu|uk|us|de|fr|es|it|nl|ch|at|se|no|fi|pl|ca|au|nz|jp"
_REST = r"(?P<path>(?:/[^\s<>\"'()\[\]{}?#]{0,2000})?)(?P<query>(?:[?#][^\s<>\"'()\[\]{}]{0,2000})?)"
_WEB = re.compile(
    rf"(?<![\w@./-])(?:(?:https?|ftp)://(?:[^\s/@]{{1,100}}@)?(?P<host>[^\s/:?#<>\"'()\[\]{{}}]{{1,253}}+)"
    rf"|(?:www\.)(?P<www>{_HOST})|(?P<bare>(?:{_LABEL}\.){{1,6}}(?:{_ENDINGS})(?![\w-]|\.\w)(?<!e\.g)(?<!i\.e)))(?::\d{{1,5}}(?!\d))?"
    + _REST
)
_MAIL = re.compile(rf"(?<![\w.+-])(?:mailto:)?(?P<user>[\w.+-]{{1,64}}+)@(?P<host>{_HOST})(?!\w)")
_TAG = re.compile(r"(?<![\w#&])#(?P<tag>[^\W\d_]\w{0,99}+)")
_HANDLE = re.compile(r"(?<![\w@.])@(?P<name>[^\W_]\w{0,49}+)")
_UNIX = re.compile(r"(?<![\w/.~])(?P<path>(?:~|\.{1,2})?/(?:[\w.+@-]{1,100}/){0,20}[\w.+@-]{0,99}\w/?)(?!\w)")
_DRIVE = re.compile(r"(?<!\w)(?P<drive>[A-Za-z]):\\(?P<path>(?:[\w .+-]{1,60}\\){0,20}[\w.+-]{0,99})")
_SIGNS = {".": "dot", "/": "slash", "\\": "backslash", "-": "dash", "_": "underscore", "+": "plus", "~": "tilde",
          "@": "at", "=": "equals", "&": "and", ":": "colon", "%": "percent"}  # fmt: skip
_PARTS = re.compile(r"[./\\\-_+~@=&:%]|\d+|[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")
_LOOK = re.compile(r"[@#/\\]|\w\.\w")


def read(reading: Rewriting) -> Rewriting:
    """Say addresses by their words and the names of their signs, without what is there for machines."""
    if not _LOOK.search(reading.text):
        return reading
    return (
        reading.rewrite(_MAIL, lambda match: f"{spell(match['user'])} at {spell(match['host'])}")
        .rewrite(_WEB, _web)
        .rewrite(_TAG, lambda match: f"hashtag {_words(match['tag'])}")
        .rewrite(_HANDLE, lambda match: f"at {_words(match['name'])}")
        .rewrite(_DRIVE, lambda match: spell(match.group()))
        .rewrite(_UNIX, lambda match: spell(match.group()) if match.group().count("/") > 1 else None)
    )


def spell(address: str) -> str:
    """Its words, the names of its signs, and its figures one by one if they are many."""
    return " ".join(
        _SIGNS.get(part) or (digits(part) if part.isdecimal() else part) for part in _PARTS.findall(address)
    )


def _web(match: re.Match[str]) -> str:
    """The host and a short path; what ends the sentence or goes on with it is no part of an address."""
    host = match["host"] or match["www"] or match["bare"]
    whole = match["path"] + match["query"]
    trail = whole[len(whole.rstrip(".,;:!…”’»")) :] if whole else host[len(host.rstrip(".,;:!…”’»")) :]
    host = host.removeprefix("www.").rstrip(".,;:!…”’»")
    path = match["path"].rstrip(".,;:!…”’»").rstrip("/")
    said = spell(host)
    if path and len(path) <= MAX_PATH and "%" not in path:
        said = f"{said} {spell(path)}"
    return said + trail


def _words(name: str) -> str:
    """OpenSource, open_source: two words each."""
    return " ".join(part for part in _CAMEL.split(name) if part)
