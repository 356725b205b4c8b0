"""In which language, or languages, does a report speak to its reader? Decided from the message's own header.

    >>> languages(ReportOptions(), b"Accept-Language: es-ES, en;q=0.7\\r\\n")
    ('es',)
    >>> languages(ReportOptions(), b"Subject: hi\\r\\n")
    ('en', 'es')

`auto` asks the message: Accept-Language tells what its writer reads, Content-Language what the message is written in
(RFC 3282); the first language that reports are written in counts. Most programs send neither. Then the report says
everything twice, English first: whoever reads it finds words to act by, which is worth more than a short page. Where
all users share a language, `fallback` makes it one.

Known weakness: the language of the text itself is not guessed.
"""

from typing import Final

from valija.content.header import values
from valija.content.options import ReportOptions
from valija.content.words.vocabulary import Language

_FIELDS: Final = (b"accept-language", b"content-language")
_LONGEST: Final = 1000  # octets of a field that are looked at
_WRITTEN: Final[dict[str, Language]] = {"en": "en", "es": "es"}


def languages(options: ReportOptions, header: bytes) -> tuple[Language, ...]:
    """Return the languages to write in, one after the other."""
    wanted = options.language
    if wanted == "auto":
        wanted = _preferred(header) or options.fallback
    return ("en", "es") if wanted == "both" else (wanted,)


def _preferred(header: bytes) -> Language | None:
    if b"-language:" not in header.lower():  # nearly always so
        return None
    for name in _FIELDS:
        for value in values(header, name):
            for tag in _tags(value[:_LONGEST].decode("ascii", "replace")):
                if language := _WRITTEN.get(tag.partition("-")[0]):
                    return language
    return None


def _tags(value: str) -> list[str]:
    """Return the language tags of a field in lower case, the liked best first; those that are refused are left out."""
    liked: list[tuple[float, str]] = []
    for entry in value.split(","):
        tag, _, parameter = entry.partition(";")
        weight = _weight(parameter)
        if weight > 0:
            liked.append((weight, tag.strip().lower()))
    return [tag for _, tag in sorted(liked, key=lambda each: -each[0])]


def _weight(parameter: str) -> float:
    name, _, number = parameter.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        weight = float(number)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
