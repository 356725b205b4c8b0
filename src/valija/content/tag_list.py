"""Lists of tags, `v=1; a=rsa-sha256; d=example.org`, as DKIM, ARC and DMARC write them (RFC 6376 section 3.2).

    >>> parse_tags(b"v=1; d=example.org;\\r\\n\\tb=AB CD;")
    {'v': '1', 'd': 'example.org', 'b': 'AB CD'}

Folds are a blank, blanks around names and values are dropped, a semicolon may end the list. Octets that are no UTF-8
come out as surrogates, so that nothing is refused for its letters alone.

Known weakness: an empty place between two semicolons is passed over, which the grammar forbids and much of the
world's software lets through.
"""

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_FOLD: Final = re.compile(rb"\r?\n(?=[ \t])")
_LONGEST: Final = 64 * 1024  # octets: far beyond what any record or signature needs


class TagFault(ValueError):
    """A text that is no list of tags; the message says where."""


def parse_tags(octets: bytes) -> dict[str, str]:
    """Return the tags in order, by their names, which are told apart by case. Raises TagFault."""
    if len(octets) > _LONGEST:
        raise TagFault(f"it has more than {_LONGEST} octets")
    text = _FOLD.sub(b"", octets).decode("utf-8", "surrogateescape")
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, is_tag, value = (each.strip(" \t\r\n") for each in part.partition("="))
        if not name and not is_tag:
            continue
        if not is_tag or not _NAME.fullmatch(name):
            raise TagFault(f"{part.strip()[:40]!r} is not name=value")
        if name in tags:
            raise TagFault(f"{name}= stands in it twice")
        tags[name] = value
    return tags


def without_blanks(value: str) -> str:
    """Return a value less the blanks that may stand anywhere in base64 and in lists."""
    return "".join(value.split())


def listed(value: str) -> list[str]:
    """Return the parts of a value that colons divide, as they are written but for blanks around them."""
    return [part.strip() for part in value.split(":")]
