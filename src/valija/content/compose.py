"""Writing header fields: folded, one field per call whatever the value holds (RFC 5322 sections 2.2 and 3.3).

    >>> field("Subject", "Mail not delivered")
    b'Subject: Mail not delivered\\r\\n'
    >>> date_time(0)
    'Thu, 01 Jan 1970 00:00:00 +0000'
    >>> printable("caf\\u00e9 \\x1b[31m")
    'caf\\\\x{E9} \\\\x{1B}[31m'

Known weakness: dates are written in UTC, not in the machine's zone, because the zone is no argument.
"""

from base64 import b64encode
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

WIDTH: Final = 78  # RFC 5322 section 2.1.1: SHOULD
_LONGEST_WORD: Final = 900  # a longer one is broken, to keep a line below 998 octets
_LONGEST_WIDE_WORD: Final = 240  # the same in characters of up to four octets
_ENCODED_OCTETS: Final = 45  # in one encoded word
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_time(at: float) -> str:
    """Return the date-time of RFC 5322 section 3.3 for seconds since the epoch."""
    return _date_time(int(at))


@lru_cache(maxsize=16)
def _date_time(second: int) -> str:
    # Not strftime: its names follow the machine's locale.
    at = datetime.fromtimestamp(second, UTC)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year:04} {at.hour:02}:{at.minute:02}:{at.second:02} +0000"


def field(name: str, value: str) -> bytes:
    """Return one header field, folded at blanks where it is longer than 78 characters.

    Raises ValueError for a CR, LF or NUL in the value: a text from outside goes through `printable` first.
    """
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError(f"a value of the field {name} may not hold CR, LF or NUL")
    return (fold(f"{name}: {value.strip(' ')}") + "\r\n").encode("utf-8")


def fold(text: str) -> str:
    """Return a field's text with folds (CRLF and a blank) at blanks, so that most lines have at most 78 characters."""
    if len(text) <= WIDTH:
        return text
    first, *words = _breakable(text).split(" ")
    lines, line = [], first
    for word in words:
        # Each line gets a word: one of blanks alone would read as the end of the header to careless parsers.
        if len(line) + 1 + len(word) > WIDTH and word:
            lines.append(line)
            line = f" {word}"
        else:
            line += f" {word}"
    return "\r\n".join((*lines, line))


def _breakable(text: str) -> str:
    longest = _LONGEST_WORD if text.isascii() else _LONGEST_WIDE_WORD
    if len(text) <= longest:
        return text
    return " ".join(
        word[start : start + longest] for word in text.split(" ") for start in range(0, len(word) or 1, longest)
    )


def encoded_words(text: str) -> str:
    """Return a text on one line for an unstructured field: ASCII, with encoded words (RFC 2047) where it was not."""
    if text.isascii():
        return text
    words = text.split(" ")
    foreign = [place for place, word in enumerate(words) if not word.isascii()]
    first, last = foreign[0], foreign[-1] + 1
    return " ".join((*words[:first], *_encoded(" ".join(words[first:last])), *words[last:]))


def _encoded(text: str) -> list[str]:
    """Return one text as encoded words of at most 75 characters, none of which parts a character (section 5)."""
    pieces, piece = [], b""
    for char in text:
        octets = char.encode("utf-8", "replace")
        if len(piece) + len(octets) > _ENCODED_OCTETS:
            pieces.append(piece)
            piece = b""
        piece += octets
    return [f"=?utf-8?b?{b64encode(piece).decode('ascii')}?=" for piece in (*pieces, piece)]


def printable(text: str, limit: int = 200) -> str:
    """Return a text as printable ASCII on one line, cut to `limit` characters: for replies and 7-bit fields.

    Other characters are written as `\\x{HEX}` (RFC 6533 section 3), octets that are no UTF-8 as `\\xHH`.
    """
    short = shorten(text, limit)
    if short.isascii() and short.isprintable():
        return short
    return "".join(char if " " <= char <= "~" else _escape(char) for char in short)


def readable(text: str, limit: int = 2000) -> str:
    """Return a text on one line for human eyes: printable characters of any script stay, controls are escaped.

    C0, C1 and bidirectional controls are not printable to `str.isprintable`, nor are unpaired surrogates.
    """
    short = shorten(text, limit)
    return short if short.isprintable() else "".join(char if char.isprintable() else _escape(char) for char in short)


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters and the mark of a cut."""
    return text if len(text) <= limit else text[:limit] + "..."


def _escape(char: str) -> str:
    number = ord(char)
    return f"\\x{number - 0xDC00:02X}" if 0xDC80 <= number <= 0xDCFF else f"\\x{{{number:X}}}"
