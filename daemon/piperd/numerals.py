"""Numbers in words, through Unicode's rules for spelling them out (CLDR). Pure; English only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

from roman_numerals import InvalidRomanNumeralError, RomanNumeral
from unicode_rbnf import RbnfEngine

MAX_DIGITS = 15
"""Longer numbers are left to the voice; the rules end at a quintillion."""
# Where people say "a hundred and one".
_AND = frozenset({"GB", "IE", "AU", "NZ", "ZA", "IN"})


@cache
def _engine() -> RbnfEngine:
    return RbnfEngine.for_language("en")


@lru_cache(maxsize=1024)  # a daemon meets any number of numbers in its life
def _said(number: int, rules: str) -> str:
    return _engine().format_number(number, ruleset_names=[rules]).text.replace(",", "")


@dataclass(frozen=True, slots=True)
class Numerals:
    """How numbers are said in a region: ``US``, ``GB``, or ``""`` where none is known."""

    region: str = ""

    @property
    def day_first(self) -> bool:
        """Whether 3/4 is the third of April."""
        return self.region not in {"", "US", "PH"}

    def cardinal(self, number: int) -> str:
        return _said(number, "spellout-cardinal-verbose" if self.region in _AND else "spellout-cardinal")

    def amount(self, figures: str) -> str:
        """A number as written: thousands may be parted by commas, decimals follow a point."""
        whole, point, decimals = figures.replace(",", "").partition(".")
        if not point and len(whole) > 1 and whole.startswith("0"):
            return digits(whole)
        said = self.cardinal(int(whole)) if whole else ""
        return f"{said} point {digits(decimals)}".strip() if point else said


def ordinal(number: int) -> str:
    return _said(number, "spellout-ordinal")


def year(number: int) -> str:
    return _said(number, "spellout-numbering-year").replace("oh-", "oh ")


def plural(words: str) -> str:
    """Of a number in words: sixes, nineties, hundreds."""
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith("x") else f"{words}s"


def digits(figures: str) -> str:
    """Digit by digit; what is no digit is passed over."""
    return " ".join(_said(int(figure), "spellout-cardinal") for figure in figures if figure.isdecimal())


def roman(letters: str) -> int | None:
    """The value of a well-formed Roman numeral in capitals."""
    try:
        return int(RomanNumeral.from_string(letters)) if letters.isupper() else None
    except InvalidRomanNumeralError:
        return None
