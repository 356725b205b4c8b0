"""Replies whose text is more than fits a line, or holds what no line may (RFC 5321 section 4.5.3.1.5).

    >>> broken(Reply(550, "5.7.1", "a" * 600)).count(b"\\r\\n")
    2

Most texts are our own, short and plain, and never come here: smtp/conversation looks at the length and for a CR. Those
that quote somebody (an address, a filter, another server) go on in further lines, their controls escaped. A multi-line
reply comes here too; its lines stay as they are where they are good. So does the challenge of a login: it is base64,
and may have 12,288 octets (RFC 4954 section 4).
"""

from collections.abc import Iterator
from typing import Final

from valija.content.compose import readable
from valija.mail.reply import Reply

LONGEST_LINE: Final = 512  # octets with code and CRLF
_CHALLENGE: Final = 334
_MOST_LINES: Final = 40  # of a text that had to be broken


def broken(reply: Reply) -> bytes:
    """Return the octets of a reply; no line of it is too long, and none has a CR or LF but its end."""
    if reply.code == _CHALLENGE:
        return reply.encode()
    longest = LONGEST_LINE - len(f"{reply.code} {reply.enhanced} \r\n")
    lines = [piece for line in reply.text.split("\n") for piece in _pieces(line, longest)]
    return Reply(reply.code, reply.enhanced, "\n".join(lines[:_MOST_LINES])).encode()


def _pieces(line: str, longest: int) -> Iterator[str]:
    """Yield a line in pieces of at most so many octets, broken at blanks where there are some."""
    rest = readable(line, LONGEST_LINE * _MOST_LINES)
    while len(octets := rest.encode()) > longest:
        piece = octets[:longest].decode(errors="ignore")
        piece = piece[: piece.rfind(" ") + 1] or piece
        yield piece
        rest = rest[len(piece) :]
    yield rest
