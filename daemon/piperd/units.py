"""Units and currencies as they are written, and their English names. Values only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Currency(NamedTuple):
    one: str
    many: str
    cent: str = ""
    """A hundredth; empty where there is none in use."""
    cents: str = ""


def _any(words: Iterable[str]) -> str:
    """A pattern for one of these, the longest first."""
    return f"(?:{'|'.join(re.escape(word) for word in sorted(words, key=len, reverse=True))})"


_DOLLARS = {
    "": "$", "US ": "US$ USD", "Canadian ": "C$ CA$ CAD", "Australian ": "A$ AU$ AUD", "New Zealand ": "NZ$ NZD",
    "Hong Kong ": "HK$ HKD",
}  # fmt: skip
CURRENCIES: dict[str, Currency] = {
    **{
        sign: Currency(f"{land}dollar", f"{land}dollars", "cent", "cents")
        for land, signs in _DOLLARS.items()
        for sign in signs.split()
    },
    **dict.fromkeys(("£", "GBP"), Currency("pound", "pounds", "penny", "pence")),
    **dict.fromkeys(("€", "EUR"), Currency("euro", "euros", "cent", "cents")),
    **dict.fromkeys(("¥", "JPY"), Currency("yen", "yen")),
    **dict.fromkeys(("₹", "INR"), Currency("rupee", "rupees", "paisa", "paise")),
    "₩": Currency("won", "won"),
    "₽": Currency("rouble", "roubles"),
    "₿": Currency("bitcoin", "bitcoins"),
    "CHF": Currency("Swiss franc", "Swiss francs", "centime", "centimes"),
    "CNY": Currency("yuan", "yuan"),
    "SEK": Currency("Swedish krona", "Swedish kronor"),
    "NOK": Currency("Norwegian krone", "Norwegian kroner"),
    "DKK": Currency("Danish krone", "Danish kroner"),
    "PLN": Currency("zloty", "zlotys"),
}
CURRENCY = _any(CURRENCIES)

MAGNITUDES = {
    **{word: word for word in ("hundred", "thousand", "million", "billion", "trillion")},
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "mn": "million",
    "bn": "billion",
    "B": "billion",
    "b": "billion",
    "tn": "trillion",
    "T": "trillion",
}
SCALE = _any(MAGNITUDES)

UNITS: dict[str, tuple[str, str]] = {
    **{
        sign: (name, f"{name}s")
        for sign, name in {
            "nm": "nanometer", "µm": "micrometer", "μm": "micrometer", "mm": "millimeter", "cm": "centimeter",
            "m": "meter", "km": "kilometer", "mi": "mile", "yd": "yard",
            "m²": "square meter", "m2": "square meter", "km²": "square kilometer", "km2": "square kilometer",
            "cm²": "square centimeter", "m³": "cubic meter", "m3": "cubic meter", "cm³": "cubic centimeter",
            "ha": "hectare", "mg": "milligram", "µg": "microgram", "μg": "microgram", "g": "gram", "kg": "kilogram",
            "lb": "pound", "lbs": "pound", "oz": "ounce", "ml": "milliliter", "mL": "milliliter", "cl": "centiliter",
            "dl": "deciliter", "l": "liter", "L": "liter", "ms": "millisecond", "µs": "microsecond",
            "μs": "microsecond", "ns": "nanosecond", "s": "second", "sec": "second", "min": "minute", "mins": "minute",
            "h": "hour", "hr": "hour", "hrs": "hour", "V": "volt", "kV": "kilovolt", "mV": "millivolt", "W": "watt",
            "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "kWh": "kilowatt hour", "MWh": "megawatt hour",
            "mA": "milliamp", "mAh": "milliamp hour", "Ω": "ohm", "kΩ": "kilohm", "dB": "decibel", "Pa": "pascal",
            "hPa": "hectopascal", "kPa": "kilopascal", "N": "newton", "J": "joule", "kJ": "kilojoule",
            "cal": "calorie", "kcal": "kilocalorie", "bit": "bit", "kB": "kilobyte", "KB": "kilobyte",
            "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "KiB": "kibibyte", "MiB": "mebibyte",
            "GiB": "gibibyte", "px": "pixel", "MP": "megapixel", "ppm": "part per million",
        }.items()
    },
    **{
        sign: (name, name)
        for sign, name in {
            "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz", "lx": "lux",
            "%": "percent", "rpm": "RPM", "bpm": "BPM",
        }.items()
    },
    **{
        sign: (f"{name} per {each}", f"{name}s per {each}")
        for sign, (name, each) in {
            "km/h": ("kilometer", "hour"), "kph": ("kilometer", "hour"), "kmh": ("kilometer", "hour"),
            "mph": ("mile", "hour"), "m/s": ("meter", "second"), "km/s": ("kilometer", "second"),
            "fps": ("frame", "second"), "dpi": ("dot", "inch"), "Mbps": ("megabit", "second"),
            "Mbit/s": ("megabit", "second"), "Gbps": ("gigabit", "second"), "Gbit/s": ("gigabit", "second"),
            "kbps": ("kilobit", "second"), "MB/s": ("megabyte", "second"), "GB/s": ("gigabyte", "second"),
            "g/l": ("gram", "liter"), "mg/l": ("milligram", "liter"), "kg/m³": ("kilogram", "cubic meter"),
        }.items()
    },
    "ft": ("foot", "feet"),
    "ft.": ("foot", "feet"),
    "in.": ("inch", "inches"),
    "¢": ("cent", "cents"),
    "sq ft": ("square foot", "square feet"),
    "m/s²": ("meter per second squared", "meters per second squared"),
    "°": ("degree", "degrees"),
    **dict.fromkeys(("°C", "° C", "℃"), ("degree Celsius", "degrees Celsius")),
    **dict.fromkeys(("°F", "° F", "℉"), ("degree Fahrenheit", "degrees Fahrenheit")),
    "ppm": ("part per million", "parts per million"),
}  # fmt: skip
UNIT = _any(UNITS)
