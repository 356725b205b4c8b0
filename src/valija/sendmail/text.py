"""What a program writes to sendmail, made into a message: line ends, header and body, envelope.

    content = read(sys.stdin.buffer, dot_ends=True, limit=lambda: 52_428_800)
    text = Text.of(content)
    text.recipients()                       # of To, Cc and Bcc, for -t
    text.with_author("root", "Cron Daemon").content     # CRLF at each line's end

Local programs write text, with LF or CRLF. What they get wrong without meaning harm is mended: the header ends where a
line is no field, whether or not a blank line follows; a mailbox file's `From ` line on top goes, and so does a blank
before a field's colon; a lone CR in the body (progress bars do that) is a line end; a NUL there, which no mail can
carry, is `?`. In the header a lone CR or a NUL is refused: programs that put a visitor's words there would let them end
fields.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final, Self

from valija.content.addresses import AddressListError
from valija.content.compose import encoded_words, field, printable
from valija.content.header import names, values
from valija.content.local_addresses import mailboxes
from valija.sendmail.exits import Exit, Failure

ASK_AT: Final = 1024 * 1024  # octets: smaller messages are taken anywhere, and nobody has to be asked
_PIECE: Final = 64 * 1024

_LINE_END: Final = re.compile(rb"(?<!\r)\r++\n")  # from the first CR alone: there may be very many of them
# The groups are not possessive: Python 3.11 keeps what a failed turn of such a group had read.
_HEADER: Final = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\n]*+\n(?:[ \t][^\n]*+\n)*)*")
_BLANK_BEFORE_COLON: Final = re.compile(rb"^([!-9;-~]+)[ \t]+:", re.MULTILINE)
_MAILBOX_LINES: Final = re.compile(rb"(?:>?From [^\n]*+\n)*")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_LONGEST_NAME: Final = 200  # characters
_TO: Final = (b"to", b"cc", b"bcc")


def read(stream: BinaryIO, *, dot_ends: bool, limit: Callable[[], int]) -> bytes:
    """Return what there is to read, to the end or to a line with a lone dot. Raises Failure for what is too large.

    `limit`, in octets, is asked only where a message is larger than ASK_AT.
    """
    pieces: list[bytes] = []
    size, most = 0, ASK_AT
    while piece := stream.readline(_PIECE) if dot_ends else stream.read(_PIECE):
        if dot_ends and piece in (b".\n", b".\r\n", b".") and (not pieces or pieces[-1].endswith(b"\n")):
            break
        pieces.append(piece)
        size += len(piece)
        if size > most:
            most = limit() if most == ASK_AT else most
            if size > most:
                raise Failure(Exit.DATAERR, f"the message is larger than {most} octets, which is the limit here")
    return b"".join(pieces)


@dataclass(frozen=True)
class Text:
    """A message: its header and its body, each line ended by CRLF."""

    header: bytes
    body: bytes

    @classmethod
    def of(cls, written: bytes) -> Self:
        """Take apart what a program wrote. Raises Failure."""
        text = _LINE_END.sub(b"\n", written)
        if text and not text.endswith(b"\n"):
            text += b"\n"
        text = text[_end_of(_MAILBOX_LINES, text) :]
        end = _end_of(_HEADER, text)
        header, body = text[:end], text[end:].removeprefix(b"\n")
        if b"\r" in header or b"\0" in header:
            raise Failure(Exit.DATAERR, "the header has a lone carriage return or a NUL in it")
        body = body.replace(b"\r", b"\n").replace(b"\0", b"?")
        header = _BLANK_BEFORE_COLON.sub(rb"\1:", header)
        return cls(header.replace(b"\n", b"\r\n"), body.replace(b"\n", b"\r\n"))

    @property
    def content(self) -> bytes:
        """The whole."""
        return self.header + b"\r\n" + self.body

    def recipients(self) -> list[str]:
        """Return the addresses in To, Cc and Bcc; in Resent-To and its like alone, where there are any (RFC 5322).

        Raises Failure.
        """
        present = set(names(self.header))
        resent = tuple(b"resent-" + name for name in _TO)
        return [each for name in (_TO if present.isdisjoint(resent) else resent) for each in self._addresses(name)]

    def _addresses(self, name: bytes) -> list[str]:
        return [each for value in values(self.header, name) for each in addresses(value, name.decode().title())]

    def with_author(self, address: str, full_name: str) -> "Text":
        """Return the message with a From field, where it has none."""
        if b"from" in names(self.header):
            return self
        return Text(self.header + field("From", _mailbox(address, full_name)), self.body)


def addresses(value: bytes, place: str) -> list[str]:
    """Return the addresses that are written somewhere, names alone among them. Raises Failure."""
    try:
        return mailboxes(value)
    except AddressListError as error:
        raise Failure(Exit.DATAERR, f"{place}: {printable(str(error))}") from None


def _end_of(pattern: re.Pattern[bytes], text: bytes) -> int:
    found = pattern.match(text)
    assert found is not None  # both patterns match nothing at all, too
    return found.end()


def _mailbox(address: str, full_name: str) -> str:
    name = "".join(char for char in full_name if char.isprintable()).strip()[:_LONGEST_NAME]
    if not name:
        return f"<{address}>"
    if not name.isascii():
        return f"{encoded_words(name)} <{address}>"
    if _ATOMS.fullmatch(name):
        return f"{name} <{address}>"
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>'
