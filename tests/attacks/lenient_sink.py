r"""A next hop that ends a message wherever some server might, so that whatever can be smuggled past it is.

    with LenientSink() as sink:
        ...
        sink.caught         # what it took for messages
        sink.commands       # what it took for commands

A dot that stands alone between two of CR, LF, and the start of the content ends it, NULs round it and blanks behind it
notwithstanding; what follows are commands. Who is called `gone` is refused, so that there are reports.
"""

import re
from typing import Final

from tests.sink import CatchingSink, Caught, _Session

_END: Final = re.compile(rb"(?:\A|[\r\n])\0*\.[\0 \t]*[\r\n]\Z")
_LONGEST_END: Final = 32  # octets that are looked at


def takes_whole(stuffed: bytes) -> bool:
    """Whether the sink takes what follows 354 for one content, and nothing of it for commands."""
    ends = [place for place in range(len(stuffed)) if stuffed[place] in b"\r\n" and _END.search(stuffed[: place + 1])]
    return ends[0] == len(stuffed) - 2


class LenientSink(CatchingSink):
    """Listens like a CatchingSink. `eight_bit`: whether it announces 8BITMIME and SMTPUTF8."""

    def __init__(self, *, eight_bit: bool = True) -> None:
        super().__init__()
        self.eight_bit = eight_bit
        self.commands: list[str] = []
        self._server.RequestHandlerClass = _LenientSession


class _LenientSession(_Session):
    sink: LenientSink

    def greeting(self) -> str:
        whole = super().greeting()
        return whole if self.sink.eight_bit else whole.replace("250-8BITMIME\r\n250-SMTPUTF8\r\n", "")

    def answer(self, verb: str, argument: str) -> None:
        if not verb.strip():
            return  # the LF of a CRLF whose CR was enough
        self.sink.commands.append(f"{verb} {argument}".strip())
        if verb == "RCPT" and "<gone@" in argument:
            self.reply("550 5.1.1 no such user")
            return
        super().answer(verb, argument)

    def data(self) -> None:
        self.reply("354 go ahead")
        content = bytearray()
        while octet := self.rfile.read(1):
            content += octet
            if octet in b"\r\n" and _END.search(content if len(content) < _LONGEST_END else content[-_LONGEST_END:]):
                break
        else:
            return
        self.sink.add(Caught(self.helo, self.reverse_path, tuple(self.recipients), bytes(content), self.tls))
        self.recipients = []
        self.reply("250 2.0.0 caught")
