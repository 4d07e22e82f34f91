"""What people want said otherwise: words and phrases, by language, and what is spoken in their place. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import re2

from piperd.rewriting import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MAX_WORD = 200
"""Characters of a word, phrase or regular expression."""
MAX_SPOKEN = 150
"""Characters of what is spoken in its place: it must fit into one utterance."""
ANY = "*"

Entries = tuple[tuple[str, str, str], ...]
"""Language (``*``: any), word or phrase, and what is spoken in its place."""

_LANGUAGE = re.compile(r"\*|[a-z]{2,3}(-[A-Z]{2})?")
_PHONEMES = re.compile(r"\[\[\s*[^\[\]\s][^\[\]]*\]\]")
_MARK = re.compile(r"[\"'”’»)\]]*([,.;:!?])(?=[\s\"'”’»)\]]|\Z)")
# Scripts that put no space between words: there every place is a boundary.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED_LETTER = re.compile(f"[{_UNSPACED}]")
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")


class EntryRefusedError(ValueError):
    """An entry can't be used; the message names it and says why, in one sentence."""


@dataclass(frozen=True, slots=True)
class _Entry:
    language: str
    word: str
    spoken: str
    cased: bool
    """Upper-case letters in it count."""

    def stands_at(self, text: str, start: int) -> bool:
        end = start + len(self.word)
        found = text[start:end]
        same = found == self.word if self.cased else found.lower() == self.word
        return same and _apart(text, start) and _apart(text, end)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Entries, ready to be found in a text. Make it by `of`."""

    entries: Entries
    by_token: Mapping[str, Sequence[_Entry]] = field(repr=False)
    patterns: Sequence[tuple[str, str, str, Any]] = field(repr=False)

    @classmethod
    def of(cls, entries: Entries) -> Lexicon:
        return _made(entries)

    def changes(self, text: str, language: str) -> Iterator[Change]:
        """What to say otherwise in a text with single spaces, from left to right.

        Of several entries the one for the nearest language wins (``en-GB``, ``en``, ``*``), then the longest. What is
        spoken is not looked up again.
        """
        if not self.entries:
            return
        end = 0
        for start, last, _, entry in sorted(self._found(text, language), key=lambda each: (each[0], each[2], -each[1])):
            if start >= end:
                yield _with_its_mark(text, Change(start, last, entry[2]))
                end = last

    def occurring(self, texts: Iterable[tuple[str, str]]) -> Entries:
        """The entries that occur in any of these texts, each with its language: all that can ever be used for them."""
        if not self.entries:
            return ()
        used = {entry for text, language in texts for _, _, _, entry in self._found(" ".join(text.split()), language)}
        return tuple(entry for entry in self.entries if entry in used)

    def _found(self, text: str, language: str) -> Iterator[tuple[int, int, int, tuple[str, str, str]]]:
        """First character, one behind the last, how far the entry's language is from this one, and the entry."""
        ranks = {near: rank for rank, near in enumerate((language, language.partition("-")[0], ANY))}
        if self.by_token:
            for token in _TOKEN.finditer(text):
                for entry in self.by_token.get(token.group().lower(), ()):
                    if entry.language in ranks and entry.stands_at(text, token.start()):
                        start, end = token.start(), token.start() + len(entry.word)
                        yield start, end, ranks[entry.language], (entry.language, entry.word, entry.spoken)
        for own, word, spoken, pattern in self.patterns:
            if own in ranks:
                for match in pattern.finditer(text):
                    start, end = match.span()
                    if start < end and _apart(text, start) and _apart(text, end):
                        yield start, end, ranks[own], (own, word, spoken)


def parse(tables: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Check a lexicon as TOML gives it: by language, word or phrase and what is spoken in its place.

    Raises `EntryRefusedError` with a sentence that names the entry.
    """
    checked: dict[str, dict[str, str]] = {}
    for language, table in tables.items():
        if not _LANGUAGE.fullmatch(language):
            raise EntryRefusedError(
                f'["{_shown(language)}"] is no language: write a code such as "en" or "en-GB", or "*" for all.'
            )
        if not isinstance(table, dict):
            raise EntryRefusedError(f'"{language}" must be a table: write ["{language}"] and its entries below it.')
        checked[language] = dict(_entry(language, word, spoken) for word, spoken in table.items())
    for language, words in checked.items():
        _refuse_circles(language, words)
    return checked


def flat(lexicon: Mapping[str, Mapping[str, str]]) -> Entries:
    """The entries of a checked lexicon one by one."""
    return tuple((language, word, said) for language, words in lexicon.items() for word, said in words.items())


def merged(*lexicons: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Several as one; of two entries for one word the later lexicon's counts."""
    together: dict[str, dict[str, str]] = {}
    for each in lexicons:
        for language, words in each.items():
            together.setdefault(language, {}).update(words)
    for language, words in together.items():
        _refuse_circles(language, words)
    return together


@lru_cache(maxsize=8)
def _made(entries: Entries) -> Lexicon:
    by_token: defaultdict[str, list[_Entry]] = defaultdict(list)
    patterns = []
    for language, word, spoken in entries:
        if _is_pattern(word):
            patterns.append((language, word, spoken, _compiled(word)))
        elif first := _TOKEN.match(word):
            by_token[first.group().lower()].append(_Entry(language, word, spoken, _cased(word)))
    return Lexicon(entries, dict(by_token), tuple(patterns))


def _with_its_mark(text: str, change: Change) -> Change:
    """Piper hands what follows phonemes to espeak by itself, and espeak drops a mark that nothing stands before: the
    pause of a comma would be lost. So the mark goes among the phonemes, where the voice knows it, too.
    """
    mark = _MARK.match(text, change.end) if change.spoken.endswith("]]") else None
    return change if mark is None else Change(change.start, mark.end(), f"{change.spoken[:-2]}{mark[1]}]]")


def _entry(language: str, word: str, spoken: Any) -> tuple[str, str]:
    where = f'["{language}"] "{_shown(word)}"'
    plain = word if _is_pattern(word) else unicodedata.normalize("NFC", " ".join(word.split()))
    if not plain or len(plain) > MAX_WORD:
        raise EntryRefusedError(f"{where}: a word or phrase has 1 to {MAX_WORD} characters.")
    if _is_pattern(plain):
        _try(plain, where)
    elif not any(sign.isalnum() for sign in plain) and len(plain) > 1:
        raise EntryRefusedError(f"{where}: a phrase must have a letter or a digit; only a single sign may stand alone.")
    if not isinstance(spoken, str):
        raise EntryRefusedError(f"{where}: what is spoken must be a text in quotes.")
    said = unicodedata.normalize("NFC", " ".join(spoken.split()))
    if not 0 < len(said) <= MAX_SPOKEN:
        raise EntryRefusedError(f"{where}: what is spoken has 1 to {MAX_SPOKEN} characters.")
    if not said.isprintable():
        raise EntryRefusedError(f"{where}: there are control characters in what is spoken.")
    words = _PHONEMES.sub("", said)
    if "[[" in words or "]]" in words:
        raise EntryRefusedError(f'{where}: phonemes stand between "[[" and "]]", with no other brackets among them.')
    if words == said and not any(sign.isalnum() for sign in words):
        raise EntryRefusedError(f"{where}: there is nothing to be spoken.")
    return plain, said


def _try(word: str, where: str) -> None:
    """Refuse what RE2 does not take: it needs time in step with the text, whatever the expression."""
    try:
        pattern = _compiled(word)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        fault = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise EntryRefusedError(f"{where} is no regular expression that RE2 knows: {_shown(fault)}.") from None
    if pattern.search("") or pattern.fullmatch(" "):
        raise EntryRefusedError(f"{where}: a regular expression must not match nothing, or white space.")


def _refuse_circles(language: str, words: Mapping[str, str]) -> None:
    """What is spoken is never looked up again, so a circle can't be what anybody meant."""
    lowered = {word: spoken for word, spoken in words.items() if not _cased(word)}
    passed: set[str] = set()
    for first in words:
        way = [first]
        while (spoken := words.get(way[-1])) is not None and way[-1] not in passed:
            following = spoken if spoken in words else spoken.lower() if spoken.lower() in lowered else None
            if following is None:
                break
            if following in way:
                circle = " → ".join(f'"{_shown(word)}"' for word in (*way[way.index(following) :], following))
                raise EntryRefusedError(f'["{language}"] {circle}: these entries go round in a circle.')
            way.append(following)
        passed.update(way)


def _is_pattern(word: str) -> bool:
    return len(word) > 2 and word.startswith("/") and word.endswith("/")  # noqa: PLR2004 - two slashes


def _compiled(word: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(word[1:-1], options)


def _cased(word: str) -> bool:
    return any(sign.isupper() for sign in word)


def _apart(text: str, place: int) -> bool:
    """Whether no word goes on at this place."""
    if not 0 < place < len(text):
        return True
    before, after = text[place - 1], text[place]
    if _UNSPACED_LETTER.match(before) or _UNSPACED_LETTER.match(after):
        return not unicodedata.category(after).startswith("M")
    return not (_of_word(before) and _of_word(after))


def _of_word(sign: str) -> bool:
    return sign.isalnum() or sign in "_\u200c\u200d" or unicodedata.category(sign).startswith("M")


def _shown(text: str) -> str:
    """Without what could forge a message, and cut short."""
    shown = "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text[:60])
    return shown if len(text) <= 60 else f"{shown}…"  # noqa: PLR2004 - what a line of a message holds
