"""A header field that another program wants added: one well-formed field, whatever name and value it sends.

    >>> foreign_field("X-Spam-Status", "Yes, score=7.0\\r\\nBcc: victim@example.org")
    b'X-Spam-Status: Yes, score=7.0\\r\\n\\tBcc: victim@example.org\\r\\n'
    >>> foreign_field("X-Spam\\r\\nBcc", "x") is None
    True

Its folds stay where they are, since they may be signed. A line that would begin a field, or end the header, becomes a
fold or is left out; controls are escaped; what is not ASCII stands in encoded words (RFC 2047).
"""

import re
from typing import Final

from valija.content.compose import encoded_words, fold, readable

LONGEST_VALUE: Final = 16 * 1024  # characters
_LONGEST_LINE: Final = 998  # octets without the CRLF (RFC 5322 section 2.1.1)
_NAME = re.compile(r"[!-9;-~]{1,76}", re.ASCII)
_LINE_END = re.compile(r"\r\n|\r|\n")
_BLANKS: Final = " \t"


def foreign_field(name: str, value: str) -> bytes | None:
    """Return the field, CRLF included; None where the name is none that a field can have."""
    if not _NAME.fullmatch(name):
        return None
    lines = [line for line in _LINE_END.split(value[:LONGEST_VALUE]) if line.strip(_BLANKS)]
    first, *others = lines or [""]
    written = [_bounded(f"{name}: {_cleaned(first)}".rstrip(" ")), *(_bounded(_indented(line)) for line in others)]
    return "".join(f"{line}\r\n" for line in written).encode("ascii")


def _indented(line: str) -> str:
    return (line[0] if line[0] in _BLANKS else "\t") + _cleaned(line)


def _cleaned(text: str) -> str:
    return encoded_words(readable(text.strip(_BLANKS).replace("\t", " "), LONGEST_VALUE))


def _bounded(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else fold(line)
