"""How figures are read in English: money, dates, times, units, ranges, fractions, years, plain numbers. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from piperd.numerals import MAX_DIGITS, digits, ordinal, plural, year
from piperd.units import CURRENCIES, CURRENCY, MAGNITUDES, SCALE, UNIT, UNITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from piperd.numerals import Numerals
    from piperd.rewriting import Rewriting

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
DENOMINATORS = 20
"""The highest one that a fraction is named by: three twentieths, but three over twenty-one."""
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)"
)
_VULGAR = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
           "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8)}  # fmt: skip

_WHOLE = rf"(?:[1-9]\d?\d?(?:,\d\d\d){{1,4}}+(?!,?\d)|\d{{1,{MAX_DIGITS}}}+)"
_NUMBER = rf"(?:{_WHOLE}(?:\.\d{{1,{MAX_DIGITS}}}+)?|\.\d{{1,{MAX_DIGITS}}}+)"
_SIGNED = rf"(?<![\w.])(?<!\d[,:/])(?:(?<![\w)])(?P<sign>[-−+±]|~ ?))?(?P<number>{_NUMBER})"
_RIGHT = r"(?!\w)(?![.,:/]\d)"
_TO = r" ?[-–] ?"
_SIGNS = {"-": "minus", "−": "minus", "+": "plus", "±": "plus or minus", "~": "about"}


def read(reading: Rewriting, numerals: Numerals) -> Rewriting:
    """Put figures into words; what they mean is told by what stands around them."""
    if not _FIGURE.search(reading.text):
        return reading
    for pattern, say in _RULES:
        reading = reading.rewrite(pattern, lambda match, say=say: say(match, numerals))  # type: ignore[misc]
    return reading


_FIGURE = re.compile(rf"[0-9{''.join(_VULGAR)}]")


def _signed(match: re.Match[str], said: str) -> str:
    sign = match["sign"]
    return f"{_SIGNS[sign.strip()]} {said}" if sign else said


def _is_year(figures: str) -> bool:
    return len(figures) == 4 and 1100 <= int(figures) < 2100  # noqa: PLR2004 - what people write as a year


def _count(figures: str, numerals: Numerals) -> str:
    """A number alone: 1999 is said like the year, as most such numbers are."""
    return year(int(figures)) if figures.isdecimal() and _is_year(figures) else numerals.amount(figures)


def _one(figures: str) -> bool:
    return figures.replace(",", "") == "1"


def _date(day: int, month: int, years: str, numerals: Numerals, *, article: bool = True) -> str | None:
    if not (1 <= month <= len(MONTHS) and 1 <= day <= 31):  # noqa: PLR2004 - days
        return None
    name = MONTHS[month - 1]
    behind = f" {year(int(years))}" if years else ""
    if numerals.day_first:
        return f"{'the ' if article else ''}{ordinal(day)} of {name}{behind}"
    return f"{name} {ordinal(day)}{',' if years else ''}{behind}"


def _iso_date(match: re.Match[str], numerals: Numerals) -> str | None:
    said = _date(int(match["d"]), int(match["m"]), match["y"], numerals)
    if said is None or not match["hour"]:
        return said
    clock = _clock_words(int(match["hour"]), int(match["minute"]), match["second"], numerals)
    return f"{said}, {clock}" if clock else None


def _slashed_date(match: re.Match[str], numerals: Numerals) -> str | None:
    first, second, years = int(match["a"]), int(match["b"]), match["y"]
    day_first = match["sep"] == "." or numerals.day_first or first > len(MONTHS)
    if second > len(MONTHS) and first <= len(MONTHS):
        day_first = False
    day, month = (first, second) if day_first else (second, first)
    return _date(day, month, years, numerals)


def _month(name: str) -> int:
    return next(number for number, month in enumerate(MONTHS, 1) if month.startswith(name[:3]))


def _day_month(match: re.Match[str], _numerals: Numerals) -> str | None:
    if not 1 <= int(match["d"]) <= 31:  # noqa: PLR2004 - days
        return None
    article = "" if match["the"] else "the "
    said = f"{match['the'] or ''}{article}{ordinal(int(match['d']))} of {MONTHS[_month(match['m']) - 1]}"
    return f"{said} {year(int(match['y']))}" if match["y"] else said


def _month_day(match: re.Match[str], _numerals: Numerals) -> str | None:
    day, until = int(match["d"]), match["until"]
    if not 1 <= day <= 31:  # noqa: PLR2004 - days
        return None
    said = f"{MONTHS[_month(match['m']) - 1]} {ordinal(day)}"
    if until:
        said += f" to {ordinal(int(until))}"
    return f"{said}, {year(int(match['y']))}" if match["y"] else said


def _month_year(match: re.Match[str], _numerals: Numerals) -> str:
    return f"{MONTHS[_month(match['m']) - 1]} {year(int(match['y']))}"


def _clock_words(hour: int, minute: int, second: str | None, numerals: Numerals) -> str | None:
    if hour > 24 or minute > 59:  # noqa: PLR2004 - a clock
        return None
    said = numerals.cardinal(hour)
    if minute or second:
        said += f" {'oh ' if minute < 10 else ''}{numerals.cardinal(minute)}"  # noqa: PLR2004 - one digit
    elif 1 <= hour <= 12:  # noqa: PLR2004 - a clock
        said += " o'clock"
    else:
        said += " hundred"
    if second:
        said += f" and {numerals.cardinal(int(second))} second{'' if int(second) == 1 else 's'}"
    return said


def _time(match: re.Match[str], numerals: Numerals) -> str | None:
    half = match["half"]
    said = _clock_words(int(match["h"]), int(match["min"]), match["s"], numerals)
    if said is None or not half:
        return said
    return f"{said.removesuffix(chr(32) + 'o' + chr(39) + 'clock')} {_half(match)}"


def _hour(match: re.Match[str], numerals: Numerals) -> str | None:
    hour, until = int(match["h"]), match["until"]
    if not 1 <= hour <= 12:  # noqa: PLR2004 - a clock
        return None
    to = f" to {numerals.cardinal(int(until))}" if until else ""
    return f"{numerals.cardinal(hour)}{to} {_half(match)}"


def _half(match: re.Match[str]) -> str:
    """PM as it is spelled, and the full stop of the sentence if it is in the abbreviation's last dot."""
    stop = "." if match["half"].endswith(".") and match.end() == len(match.string) else ""
    return f"{match['half'][0].upper()}M{stop}"


def _money(match: re.Match[str], numerals: Numerals) -> str | None:
    figures, until = match["number"], match["until"]
    unit = CURRENCIES[match["currency"]]
    scale = MAGNITUDES.get((match["scale"] or "").strip(), "")
    sign = f"{_SIGNS[match['sign'].strip()]} " if match["sign"] else ""
    per = f" per {match['per']}" if match["per"] else ""
    if until:
        return f"{numerals.amount(figures)} to {numerals.amount(until)}{scale and ' '}{scale} {unit.many}{per}"
    if scale:
        return f"{sign}{numerals.amount(figures)} {scale} {unit.many}{per}"
    whole, _, cents = figures.partition(".")
    if unit.cent and len(cents) == 2:  # noqa: PLR2004 - hundredths
        parts = []
        if whole.strip("0,"):
            parts.append(f"{numerals.amount(whole)} {unit.one if _one(whole) else unit.many}")
        if int(cents):
            parts.append(f"{numerals.cardinal(int(cents))} {unit.cent if int(cents) == 1 else unit.cents}")
        said = " and ".join(parts) or f"zero {unit.many}"
        return f"{sign}{said}{per}"
    return f"{sign}{numerals.amount(figures)} {unit.one if _one(figures) else unit.many}{per}"


def _measure(match: re.Match[str], numerals: Numerals) -> str:
    one, many = UNITS[match["unit"]]
    figures = match["until"] or match["number"]
    said = numerals.amount(match["number"])
    if match["until"]:
        said = f"{said} to {numerals.amount(match['until'])}"
    return f"{_signed(match, said)} {one if _one(figures) else many}"


def _height(match: re.Match[str], numerals: Numerals) -> str:
    feet, inches = match["feet"], match["inches"]
    said = f"{numerals.amount(feet)} {'foot' if _one(feet) else 'feet'}"
    return f"{said} {numerals.amount(inches)}"


def _range(match: re.Match[str], numerals: Numerals) -> str | None:
    first, last = match["first"], match["last"]
    if _is_year(first) and last.isdecimal() and len(last) == 2:  # noqa: PLR2004 - 1914-18
        return f"{year(int(first))} to {numerals.amount(last) if last[0] != '0' else 'oh ' + digits(last[1])}"
    return f"{_count(first, numerals)} to {_count(last, numerals)}"


def _phone(match: re.Match[str], _numerals: Numerals) -> str:
    plus = "plus " if match.group().startswith("+") else ""
    return plus + ", ".join(digits(group) for group in re.findall(r"\d+", match.group()))


def _dotted(match: re.Match[str], numerals: Numerals) -> str:
    """A version by its numbers, an address on the Internet by its digits."""
    parts = match["parts"].split(".")
    if len(parts) == 4 and not match["v"]:  # noqa: PLR2004 - of an IPv4 address
        return " dot ".join(digits(part) for part in parts)
    said = " point ".join(numerals.amount(part) for part in parts)
    return f"version {said}" if match["v"] else said


def _share(over: int, under: int, numerals: Numerals) -> str:
    if under == 2:  # noqa: PLR2004 - halves
        return f"{numerals.cardinal(over)} {'half' if over == 1 else 'halves'}"
    if under == 4:  # noqa: PLR2004 - quarters
        return f"{numerals.cardinal(over)} quarter{'' if over == 1 else 's'}"
    if under in {100, 1000}:
        return f"{numerals.cardinal(over)} {ordinal(under).removeprefix('one ')}{'' if over == 1 else 's'}"
    if 1 < under <= DENOMINATORS:
        return f"{numerals.cardinal(over)} {ordinal(under) if over == 1 else plural(ordinal(under))}"
    return f"{numerals.cardinal(over)} over {numerals.cardinal(under)}"


def _fraction(match: re.Match[str], numerals: Numerals) -> str:
    if match.group() in {"24/7", "9/11"}:
        return " ".join(numerals.cardinal(int(part)) for part in match.group().split("/"))
    if match["over"] == match["under"] and not match["whole"]:
        same = numerals.amount(match["over"])
        return f"{same} {same}" if match["over"] == "50" else f"{same} out of {same}"
    return _mixed(match["whole"], int(match["over"]), int(match["under"]), numerals)


def _vulgar(match: re.Match[str], numerals: Numerals) -> str:
    return _mixed(match["whole"], *_VULGAR[match["vulgar"]], numerals)


def _mixed(whole: str | None, over: int, under: int, numerals: Numerals) -> str:
    share = _share(over, under, numerals)
    if not whole:
        return share
    if over == 1 and under <= 4:  # noqa: PLR2004 - a half, a third, a quarter
        share = f"a {share.removeprefix('one ')}"
    return f"{numerals.amount(whole)} and {share}"


def _ordinal(match: re.Match[str], _numerals: Numerals) -> str:
    return ordinal(int(match["number"].replace(",", "")))


def _decade(match: re.Match[str], numerals: Numerals) -> str:
    figures = match["number"]
    return plural(year(int(figures)) if len(figures) == 4 else numerals.cardinal(int(figures)))  # noqa: PLR2004


def _short_year(match: re.Match[str], numerals: Numerals) -> str:
    return numerals.cardinal(int(match["number"])) if match["number"][0] != "0" else f"oh {digits(match['number'][1])}"


def _by(match: re.Match[str], numerals: Numerals) -> str:
    sides = match["first"], match["last"]
    of_four = [len(side) == 4 and side.isdecimal() for side in sides]  # noqa: PLR2004 - said in pairs: ten eighty
    return " by ".join(
        year(int(side)) if pairs else numerals.amount(side) for side, pairs in zip(sides, of_four, strict=True)
    )


def _score(match: re.Match[str], numerals: Numerals) -> str:
    return f"{numerals.amount(match['first'])} to {numerals.amount(match['last'])}"


def _old_year(match: re.Match[str], _numerals: Numerals) -> str:
    return year(int(match["number"]))


def _numbered(match: re.Match[str], numerals: Numerals) -> str:
    return f"number {numerals.amount(match['number'])}"


def _thousands(match: re.Match[str], numerals: Numerals) -> str:
    return _signed(match, f"{numerals.amount(match['number'])} {'million' if match['scale'] == 'M' else 'thousand'}")


def _plain(match: re.Match[str], numerals: Numerals) -> str:
    sign, figures = match["sign"], match["number"]
    return _signed(match, numerals.amount(figures) if sign else _count(figures, numerals))


_HALF = r"(?P<half>[aApP](?:\.[mM]\.|[mM]\b\.?(?=\Z)|[mM](?!\w)))"
_DAY = r"(?P<d>\d\d?)"
_DAY_TH = rf"{_DAY}(?:st|nd|rd|th)?"
_YEAR = r"(?P<y>[12]\d\d\d)(?!\w)(?!-\d)"
_PER = r"(?:/(?P<per>hour|day|week|month|year|person|night|kg|user)(?!\w))?"
_UNTIL = rf"(?:{_TO}(?P<until>{_NUMBER}))?"
_ISO = (
    r"(?<![\w.-])(?P<y>[12]\d\d\d)-(?P<m>\d\d)-(?P<d>\d\d)"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?Z?)?(?![\w-])"
)
_SLASHED = r"(?<![\w./-])(?P<a>\d\d?)(?P<sep>[/.])(?P<b>\d\d?)(?P=sep)(?P<y>[12]\d\d\d)(?![\w/])"
_DAY_MONTH = rf"(?P<the>\b[Tt]he )?(?<![\w.,/:-]){_DAY_TH}(?: of)? (?P<m>{_MONTH})(?!\w)\.?(?:,? {_YEAR})?"
_MONTH_DAY = rf"(?<!\w)(?P<m>{_MONTH})\.? {_DAY_TH}(?:[-–](?P<until>\d\d?))?(?![\w:%]|[.,-]\d)(?:,? {_YEAR})?"
_CLOCK = rf"(?<![\w.:])(?P<h>\d\d?):(?P<min>\d\d)(?::(?P<s>\d\d))?(?![:\d])(?: ?{_HALF}|(?!\w))"
_HOURS = rf"(?<![\w.:])(?P<h>\d\d?)(?:[-–](?P<until>\d\d?))? ?{_HALF}"
_MONEY = (
    rf"(?<![\w.])(?P<sign>[-−+~])?(?P<currency>{CURRENCY}) ?(?P<number>{_NUMBER})"
    rf"(?:{_TO}(?:{CURRENCY})?(?P<until>{_NUMBER}))?(?:(?P<scale> ?{SCALE})(?!\w))?(?!\w)(?![.,]\d){_PER}"
)
_MONEY_BEHIND = rf"{_SIGNED}{_UNTIL}(?P<scale> ?{SCALE})? ?(?P<currency>{CURRENCY})(?!\w){_PER}"
_PHONE = (
    r"(?<![\w.-])\+\d{1,3}(?:[ -]?\(\d{1,4}\))?(?:[ -]\d{2,4}){2,5}(?![\w-])"
    r"|(?<![\w.-])(?:1[ -])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-])"
    r"|(?<![\w.-])\d{3}-\d{4}(?![\w-])|(?<![\w.-])\d++(?:-\d++){2,8}+(?![\w-])"
)
_FRACTION = r"(?<![\w./])(?:(?P<whole>\d{1,4}) )?(?P<over>\d{1,3})[/⁄](?P<under>[1-9]\d{0,3})(?![\w/]|[.,]\d)"
_OLD_YEAR = (
    r"(?:(?<=\b[Ii]n )|(?<=\b[Ss]ince )|(?<=\byear )|(?<=\b[Bb]y )|(?<=\b[Uu]ntil ))"
    r"(?P<number>10\d\d)(?!\w|[.,]\d| [a-z]+s\b)"
)

_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Numerals], str | None]], ...] = tuple(
    (re.compile(pattern), say)
    for pattern, say in (
        (r"(?<=\d) [-–−] (?=[\d.,]{1,15} ?=)", lambda _, __: " minus "),
        (_ISO, _iso_date),
        (_SLASHED, _slashed_date),
        (_DAY_MONTH, _day_month),
        (_MONTH_DAY, _month_day),
        (rf"(?<!\w)(?P<m>{_MONTH})\.? {_YEAR}", _month_year),
        (r"(?:(?<=:\d\d)|(?<=[ap]m)) ?[-–] ?(?=\d\d?(?::\d\d|[ap]m))", lambda _, __: " to "),
        (_CLOCK, _time),
        (_HOURS, _hour),
        (_MONEY, _money),
        (_MONEY_BEHIND, _money),
        (r"(?<![\w.,])['’]?(?P<number>(?:1[1-9]|20)\d0|[2-9]0)['’]?s(?!\w)", _decade),
        (r"(?<![\w.])(?P<feet>\d)['′](?P<inches>1?\d)(?:[\"″]|'')", _height),
        (rf"{_SIGNED}{_UNTIL} ?(?P<unit>{UNIT})(?![\w°/])", _measure),
        (_PHONE, _phone),
        (r"(?:(?<=\b[Cc]all )|(?<=\b[Dd]ial ))\d{3}(?!\w|[.,-]\d)", _phone),
        (r"(?<![\w.])(?P<v>[vV])\.?(?P<parts>\d{1,5}(?:\.\d{1,5}){1,4})(?![\w.]*\w)", _dotted),
        (r"(?<![\w.])(?P<v>)(?P<parts>\d{1,5}(?:\.\d{1,5}){2,4})(?![\w.]*\w)", _dotted),
        (_FRACTION, _fraction),
        (rf"(?<![\w./])(?:(?P<whole>\d{{1,6}}) ?)?(?P<vulgar>[{''.join(_VULGAR)}])(?!\w)", _vulgar),
        (rf"(?<![\w.,])(?P<number>{_WHOLE})(?:st|nd|rd|th)(?!\w)", _ordinal),
        (r"(?<![\w.,\d])['’](?P<number>\d\d)(?![\w'’])", _short_year),
        (rf"(?<![\w.,/-])(?P<first>{_NUMBER})[-–](?P<last>{_NUMBER})(?!\w)(?![-.,/]\d)", _range),
        (rf"(?<![\w.,])(?P<first>{_NUMBER}) ?[x×] ?(?P<last>{_NUMBER}){_RIGHT}", _by),
        (rf"(?<![\w.,:])(?P<first>{_WHOLE}):(?P<last>{_WHOLE}){_RIGHT}", _score),
        (_OLD_YEAR, _old_year),
        (rf"(?<![\w.])#(?P<number>{_WHOLE}){_RIGHT}", _numbered),
        (rf"{_SIGNED}(?P<scale>[kM])(?!\w)", _thousands),
        (rf"{_SIGNED}{_RIGHT}", _plain),
    )
)  # fmt: skip
