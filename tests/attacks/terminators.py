r"""What some server somewhere took for the end of a message, or might take.

Only CR LF . CR LF ends a content (RFC 5321 section 4.1.1.4). Where two servers differ on that, what the first takes for
text is a second message, with an envelope of the attacker's, to the other (CVE-2023-51764, -51765, -51766). The forms
that the public scanners try are all among these:

    FORMS["LF . CR LF"]         # b"\n.\r\n"
"""

from itertools import product
from typing import Final

END: Final = b"\r\n.\r\n"

_BEFORE: Final = {
    "CR LF": b"\r\n",
    "LF": b"\n",
    "CR": b"\r",
    "CR CR LF": b"\r\r\n",
    "LF CR": b"\n\r",
    "CR LF NUL": b"\r\n\0",
    "LF NUL": b"\n\0",
}
_BEHIND: Final = {
    "CR LF": b"\r\n",
    "LF": b"\n",
    "CR": b"\r",
    "CR CR LF": b"\r\r\n",
    "LF CR": b"\n\r",
    "NUL CR LF": b"\0\r\n",
    "blank CR LF": b" \r\n",
    "TAB CR LF": b"\t\r\n",
}
_OTHER_SIGNS: Final = {
    "two dots": b"\r\n..\r\n",
    "blank before the dot": b"\r\n .\r\n",
    "byte order mark": b"\r\n\xef\xbb\xbf.\r\n",
    "full-width dot": "\r\n\uff0e\r\n".encode(),
    "ideographic full stop": "\r\n\u3002\r\n".encode(),
    "overlong dot": b"\r\n\xc0\xae\r\n",
    "encoded dot": b"\r\n=2E\r\n",
    "escaped dot": b"\r\n\\.\r\n",
    "Control-Z": b"\r\n.\x1a\r\n",
    "end of transmission": b"\r\n.\x04\r\n",
    "backspace": b"\r\n.x\x08\r\n",
    "vertical tabs": b"\x0b.\x0b",
    "form feeds": b"\x0c.\x0c",
    "next lines": "\u0085.\u0085".encode(),
    "next lines of Latin-1": b"\x85.\x85",
    "line separators": "\u2028.\u2028".encode(),
    "UTF-16": "\r\n.\r\n".encode("utf-16-be"),
}

FORMS: Final = {
    f"{before} . {behind}": octets
    for (before, start), (behind, end) in product(_BEFORE.items(), _BEHIND.items())
    if END not in (octets := start + b"." + end)
} | _OTHER_SIGNS

PUBLISHED: Final = (  # by the scanners that are known: none may be missing
    b"\n.\n",
    b"\r.\r",
    b"\r.\n",
    b"\n.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
)


def is_crooked(octets: bytes) -> bool:
    """Whether there is a CR or LF that belongs to no CRLF, or a NUL: no content may hold one."""
    return any(octet in octets.replace(b"\r\n", b"") for octet in b"\r\n\0")
