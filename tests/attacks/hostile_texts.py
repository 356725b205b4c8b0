"""Texts that try to be more than text where they are shown: a line, a field, a colour, a change of direction.

`X-Injected` stands where a line or field of its own would be won.
"""

from typing import Final

TEXTS: Final = {
    "LF": "x\nX-Injected: 1",
    "CRLF": "x\r\nX-Injected: 1",
    "CRLF and the body": "x\r\n\r\nX-Injected: 1",
    "CR": "x\rX-Injected: 1",
    "folded": "x\r\n X-Injected: 1",
    "NUL": "x\0X-Injected: 1",
    "vertical tab": "x\x0bX-Injected: 1",
    "form feed": "x\x0cX-Injected: 1",
    "record separator": "x\x1eX-Injected: 1",
    "escape sequence": "x\x1b[2J\x1b[31mX-Injected",
    "title of the terminal": "x\x1b]0;X-Injected\x07",
    "backspaces": "x\b\b\b\bX-Injected",
    "DEL": "x\x7fX-Injected",
    "next line": "x\u0085X-Injected: 1",
    "C1 escape": "x\u009b31mX-Injected",
    "line separator": "x\u2028X-Injected: 1",
    "paragraph separator": "x\u2029X-Injected: 1",
    "right to left": "x\u202edetcejnI-X",
    "isolate": "x\u2066\u2067\u2068X-Injected",
    "marks": "x\u200e\u200f\u061cX-Injected",
    "nothing to see": "x\u200b\ufeff\u00adX-Injected",
    "tags": "x\U000e0041\U000e0042X-Injected",
    "not UTF-8": "x\udcff\udc80X-Injected",
    "very long": "x" * 3000 + "X-Injected",
}


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def unprintable(text: str) -> list[str]:
    """Return what in a text for people's eyes moves the cursor, turns the writing round, or breaks a line."""
    return [char for char in text if not char.isprintable() and char != "\n"]
