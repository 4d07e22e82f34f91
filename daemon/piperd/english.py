"""How English is read: abbreviations, initials, Roman numerals, beside figures and addresses. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from piperd import addresses, figures
from piperd.numerals import Numerals, ordinal, roman, year

if TYPE_CHECKING:
    from piperd.rewriting import Rewriting

# As written, without the last dot, and what is said.
_ABBREVIATIONS = {
    "Dr": "Doctor", "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Messrs": "Messers", "Prof": "Professor",
    "Gov": "Governor", "Sen": "Senator", "Rep": "Representative", "Pres": "President", "Gen": "General",
    "Capt": "Captain", "Cpt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant", "Col": "Colonel", "Maj": "Major",
    "Cmdr": "Commander", "Adm": "Admiral", "Rev": "Reverend", "Hon": "Honorable", "Fr": "Father", "Jr": "Junior",
    "Sr": "Senior", "Mt": "Mount", "Ft": "Fort", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Hwy": "Highway",
    "Dept": "Department", "dept": "department", "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation",
    "Co": "Company", "Bros": "Brothers", "Univ": "University", "approx": "approximately", "Approx": "Approximately",
    "est": "established", "Est": "Established", "etc": "et cetera", "vs": "versus", "al": "al", "cf": "compare",
    "Jan": "January", "Feb": "February", "Apr": "April", "Aug": "August", "Sept": "September", "Sep": "September",
    "Oct": "October", "Nov": "November", "Dec": "December", "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday",
    "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday", "Thurs": "Thursday", "Fri": "Friday", "max": "maximum",
    "min": "minimum", "incl": "including", "excl": "excluding", "tel": "telephone", "Tel": "Telephone",
    "ext": "extension", "Ext": "Extension", "misc": "miscellaneous", "govt": "government", "Govt": "Government",
    "e.g": "for example", "E.g": "For example", "i.e": "that is", "I.e": "That is", "a.k.a": "also known as",
    "a.m": "AM", "p.m": "PM", "Ph.D": "PhD", "M.D": "MD", "B.A": "BA", "M.A": "MA", "B.Sc": "BSc", "M.Sc": "MSc",
    "R.I.P": "RIP", "Esq": "Esquire", "asst": "assistant", "attn": "attention", "Attn": "Attention",
    "temp": "temperature",
}  # fmt: skip
# Only before a figure: alone they are words, or the end of a sentence.
_BEFORE_FIGURES = {
    "No": "Number", "no": "number", "Nos": "Numbers", "nos": "numbers", "Nr": "Number", "nr": "number", "p": "page",
    "pp": "pages", "P": "Page", "vol": "volume", "Vol": "Volume", "ch": "chapter", "Ch": "Chapter", "chap": "chapter",
    "Chap": "Chapter", "fig": "figure", "Fig": "Figure", "figs": "figures", "Figs": "Figures", "sec": "section",
    "Sec": "Section", "art": "article", "Art": "Article", "par": "paragraph", "eq": "equation", "Eq": "Equation",
    "c": "circa", "ca": "circa", "ed": "edition", "ver": "version", "Apt": "Apartment", "apt": "apartment",
    "Ste": "Suite", "Rm": "Room", "fl": "floor",
}  # fmt: skip
_SLASHED = {"w/o": "without", "w/": "with", "and/or": "and or", "c/o": "care of",
            "b/c": "because", "n/a": "not available",
            "N/A": "not available"}  # fmt: skip


def _any(words: object) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))  # type: ignore[call-overload]


_ABBREVIATION = re.compile(rf"(?<![\w.])(?P<short>{_any(_ABBREVIATIONS)})\.(?!\w)")
_NUMBERED = re.compile(
    rf"(?<![\w.])(?P<short>{_any(_BEFORE_FIGURES)})\. ?(?:(?P<numeral>[IVXL]{{1,9}})(?![\w'’])|(?=\d))"
)
_SLASH = re.compile(rf"(?<![\w/])(?:{_any(_SLASHED)})(?![\w/])(?<!/(?!\s))|(?<![\w/])w/(?= ?\w)")
_SAINT = re.compile(r"(?<![\w.])St\. ?(?=[A-Z])")
_STREET = re.compile(r"(?<=[a-z\dA-Z] )St\.(?!\w)")
_ENGLISH_VERSUS = re.compile(r"(?<=\w )v\. (?=[A-Z])")
# Words that open a sentence, or stand in titles, before a saint and never in a street's name.
_BEFORE_SAINTS = frozenset(
    ("the", "in", "at", "of", "to", "from", "and", "visit", "near", "see", "for", "by", "with", "on", "our", "a")
)
_INITIALS = re.compile(r"(?<![\w.])(?:[A-Z]\. ?){1,4}(?=[A-Z][a-z])|(?<![\w.])(?:[A-Z]\.){2,6}(?!\w)")

_PARTS = (
    "Chapter|CHAPTER|Part|PART|Book|BOOK|Volume|Act|ACT|Scene|SCENE|Section|Article|Phase|Type|Class|Title|Appendix|"
    "Level|Stage|Episode|Season|Figure|Table|Canto|Psalm|Unit|Lesson|Step|Category|Round|Day|Week|Mark|Grade|"
    "chapter|part|book|volume|act|scene|section|article|phase|type|class|stage|figure|table"
)
_ROMAN = r"(?P<numeral>[IVXL]{1,9})"
_PART = re.compile(rf"(?<!\w)(?P<part>{_PARTS}) {_ROMAN}(?![\w'’])(?P<end>(?=[.:,;)—–]|\Z))?")
_WAR = re.compile(r"(?<!\w)(?P<part>World War|Super Bowl|Vatican|Gulf War|WW) ?(?P<numeral>[IVXL]{1,7})(?![\w'’])")
_MONARCHS = (
    "Henry|Elizabeth|Louis|Charles|George|Edward|William|James|Richard|Mary|Philip|John|Paul|Benedict|Pius|Leo|Gregory|"
    "Francis|Napoleon|Catherine|Frederick|Wilhelm|Ivan|Alexander|Nicholas|Peter|Ferdinand|Alfonso|Carlos|Juan|Harald|"
    "Christian|Haakon|Ramses|Ptolemy|Cleopatra|Darius|Xerxes|Umberto|Emmanuel|Otto|Rudolf|Leopold|Albert|Baldwin|"
    "Clement|Innocent|Urban|Sixtus|Mehmed|Murad|Selim|Stephen|Constantine|Theodosius|Justinian|Margrethe|Malcolm|Robert|"
    "Gustav|Felipe|Pedro|Maria|Joseph|Julius|Celestine|Boniface|Amenhotep|Thutmose|Tsar Ivan|Selim|Suleiman"
)
_RULER = re.compile(rf"(?<!\w)(?P<name>{_MONARCHS}) (?P<numeral>[IVX]{{2,7}}|V)(?![\w'’])")
_LONE = re.compile(r"(?<![\w.'’-])(?:(?<=[a-z] )(?P<two>[IVX]{2})|(?P<long>[IVX]{3,7}|[MDCLXVI]{5,12}))(?![\w'’-])")
_NAME_BEFORE = re.compile(r"[A-Z][\w’']* \Z")


def read(reading: Rewriting, language: str) -> Rewriting:
    """What English says otherwise than espeak would."""
    numerals = Numerals(language.partition("-")[2].upper())
    reading = addresses.read(reading)
    if "." in reading.text:
        reading = (
            reading.rewrite(_NUMBERED, lambda match: _numbered(match, numerals))
            .rewrite(_SAINT, _saint)
            .rewrite(_STREET, lambda match: _stopped(match, "Street"))
        )
    reading = figures.read(reading, numerals)
    reading = _romans(reading, numerals)
    if "." in reading.text:
        reading = (
            reading.rewrite(_ABBREVIATION, lambda match: _stopped(match, _ABBREVIATIONS[match["short"]]))
            .rewrite(_ENGLISH_VERSUS, lambda _: "versus ")
            .rewrite(_INITIALS, _initials)
        )
    if "/" in reading.text:
        reading = reading.rewrite(_SLASH, lambda match: _SLASHED[match.group()])
    return reading


def _stopped(match: re.Match[str], said: str) -> str:
    """With the full stop of the sentence, if it is in the abbreviation's dot."""
    rest = match.string[match.end() :].strip("\"'”’)]»")
    return said if rest else f"{said}."


def _numbered(match: re.Match[str], numerals: Numerals) -> str | None:
    """No. 5, Vol. II."""
    value = roman(match["numeral"]) if match["numeral"] else None
    if match["numeral"] and value is None:
        return None
    return f"{_BEFORE_FIGURES[match['short']]} {numerals.cardinal(value) if value else ''}"


def _saint(match: re.Match[str]) -> str | None:
    """St. Paul, but Main St. Then."""
    before = match.string[: match.start()].rstrip()
    word = before[before.rfind(" ") + 1 :]
    street = word[:1].isupper() and word.lower() not in _BEFORE_SAINTS and not before.endswith((".", ","))
    return None if street else "Saint "


def _initials(match: re.Match[str]) -> str:
    """J. K. Rowling, U.S.A.: each dot would end a sentence."""
    letters = match.group().replace(".", "")
    if letters.endswith(" "):
        return letters
    return _stopped(match, letters)


def _romans(reading: Rewriting, numerals: Numerals) -> Rewriting:
    if not _CAPITALS.search(reading.text):
        return reading

    def part(match: re.Match[str]) -> str | None:
        value = roman(match["numeral"])
        # what is I, the pronoun, can't be told from the number but at an end
        if value is None or (match["numeral"] == "I" and match["end"] is None):
            return None
        return f"{match['part']} {numerals.cardinal(value)}"

    def war(match: re.Match[str]) -> str | None:
        value = roman(match["numeral"])
        said = {"WW": "World War"}.get(match["part"], match["part"])
        return None if value is None else f"{said} {numerals.cardinal(value)}"

    def ruler(match: re.Match[str]) -> str | None:
        value = roman(match["numeral"])
        return None if value is None else f"{match['name']} the {ordinal(value)}"

    def lone(match: re.Match[str]) -> str | None:
        found = match.group()
        value = roman(found)
        if value is None or (
            match["two"] and not _NAME_BEFORE.search(match.string, max(0, match.start() - 30), match.start())
        ):
            return None
        if match.string.startswith(" centur", match.end()):
            return ordinal(value)
        return year(value) if len(found) > 4 and 1100 <= value < 2100 else numerals.cardinal(value)  # noqa: PLR2004

    return reading.rewrite(_WAR, war).rewrite(_PART, part).rewrite(_RULER, ruler).rewrite(_LONE, lone)


_CAPITALS = re.compile(r"[IVXLCDM](?!\w)")
