"""Which scripts a text is written in, and which ones a voice reads. Pure."""

from __future__ import annotations

from collections import Counter
from functools import cache
from unicodedata import name

FOREIGN_ALLOWED = 1 / 3
"""Share of letters in a script that the voice does not read, above which a warning is due: names and quotations are
fewer."""

# The first word of a letter's Unicode name, and the script's name for people.
SCRIPTS = {
    "LATIN": "Latin",
    "GREEK": "Greek",
    "CYRILLIC": "Cyrillic",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "ARMENIAN": "Armenian",
    "GEORGIAN": "Georgian",
    "ETHIOPIC": "Ethiopic",
    "DEVANAGARI": "Devanagari",
    "BENGALI": "Bengali",
    "GURMUKHI": "Gurmukhi",
    "GUJARATI": "Gujarati",
    "ORIYA": "Odia",
    "TAMIL": "Tamil",
    "TELUGU": "Telugu",
    "KANNADA": "Kannada",
    "MALAYALAM": "Malayalam",
    "SINHALA": "Sinhala",
    "THAI": "Thai",
    "LAO": "Lao",
    "MYANMAR": "Burmese",
    "KHMER": "Khmer",
    "TIBETAN": "Tibetan",
    "HANGUL": "Korean",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "CJK": "Chinese",
}

_LATIN = (
    "af Afrikaans, az Azerbaijani, bs Bosnian, ca Catalan, cs Czech, cy Welsh, da Danish, de German, en English, "
    "eo Esperanto, es Spanish, et Estonian, eu Basque, fi Finnish, fr French, ga Irish, gl Galician, hr Croatian, "
    "hu Hungarian, id Indonesian, is Icelandic, it Italian, ku Kurdish, la Latin, lb Luxembourgish, lt Lithuanian, "
    "lv Latvian, ms Malay, mt Maltese, nb Norwegian, nl Dutch, nn Norwegian, no Norwegian, pl Polish, pt Portuguese, "
    "ro Romanian, sk Slovak, sl Slovenian, sq Albanian, sv Swedish, sw Swahili, tr Turkish, vi Vietnamese"
)
# ISO 639-1 code: the language for people, and the scripts that its voices read.
LANGUAGES: dict[str, tuple[str, frozenset[str]]] = {
    **{code: (language, frozenset({"Latin"})) for code, language in (each.split() for each in _LATIN.split(", "))},
    **{
        code: (language, frozenset(scripts.split()))
        for code, language, scripts in (
            ("am", "Amharic", "Ethiopic"),
            ("ar", "Arabic", "Arabic"),
            ("be", "Belarusian", "Cyrillic"),
            ("bg", "Bulgarian", "Cyrillic"),
            ("bn", "Bengali", "Bengali"),
            ("el", "Greek", "Greek"),
            ("fa", "Persian", "Arabic"),
            ("gu", "Gujarati", "Gujarati"),
            ("he", "Hebrew", "Hebrew"),
            ("hi", "Hindi", "Devanagari"),
            ("hy", "Armenian", "Armenian"),
            ("ja", "Japanese", "Japanese Chinese"),
            ("ka", "Georgian", "Georgian"),
            ("kk", "Kazakh", "Cyrillic Latin"),
            ("kn", "Kannada", "Kannada"),
            ("ko", "Korean", "Korean Chinese"),
            ("ky", "Kyrgyz", "Cyrillic"),
            ("mk", "Macedonian", "Cyrillic"),
            ("ml", "Malayalam", "Malayalam"),
            ("mr", "Marathi", "Devanagari"),
            ("my", "Burmese", "Burmese"),
            ("ne", "Nepali", "Devanagari"),
            ("pa", "Punjabi", "Gurmukhi"),
            ("ru", "Russian", "Cyrillic"),
            ("si", "Sinhala", "Sinhala"),
            ("sr", "Serbian", "Cyrillic Latin"),
            ("ta", "Tamil", "Tamil"),
            ("te", "Telugu", "Telugu"),
            ("th", "Thai", "Thai"),
            ("uk", "Ukrainian", "Cyrillic"),
            ("ur", "Urdu", "Arabic"),
            ("uz", "Uzbek", "Latin Cyrillic"),
            ("cmn", "Chinese", "Chinese Latin"),  # espeak's name for Mandarin; Latin for pinyin
            ("zh", "Chinese", "Chinese Latin"),
        )
    },
}


def script_warning(text: str, language: str) -> str | None:
    """A sentence for people if a good part of the letters is in a script that a voice of this language can't read.

    `language` is an ISO 639-1 code, of which nothing but the part before a hyphen counts; None for unknown ones.
    """
    known = LANGUAGES.get(language.replace("_", "-").partition("-")[0].lower())
    if known is None:
        return None
    spoken, readable = known
    letters: Counter[str] = Counter()
    for character, times in Counter(text).items():
        if character.isalpha() and (script := _script(character)):
            letters[script] += times
    foreign = Counter({script: times for script, times in letters.items() if script not in readable})
    if foreign.total() <= letters.total() * FOREIGN_ALLOWED:
        return None
    script, times = foreign.most_common(1)[0]
    share = "Most" if 2 * times > letters.total() else "Many"
    return (
        f"{share} letters are {script} script, but the voice speaks {spoken} ({language}): "
        "such words are spelled out, mangled or left out. Choose a voice for the language of the text."
    )


@cache
def _script(letter: str) -> str | None:
    word, _, rest = name(letter, "").replace("-", " ").partition(" ")
    return SCRIPTS.get(rest.partition(" ")[0] if word in {"FULLWIDTH", "HALFWIDTH"} else word)
