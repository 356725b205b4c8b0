"""A next hop that refuses by what the local part of a recipient says, and may know DSN parameters.

with RefusingSink(dsn=True) as sink:
    ...                                  # RCPT TO:<gone@...> gets 550; any other is taken
    sink.commands                        # the MAIL and RCPT commands, as they came
"""

from typing import Final

from tests.sink import CatchingSink, _Session

REFUSALS: Final = {
    "gone": b"550 5.1.1 <gone@remote.example>: No such user here\r\n",
    "full": b"552-5.2.2 The mailbox is full,\r\n552 5.2.2 says \xd0\x9f\xd0\xbe\xd1\x87\xd1\x82\xd0\xb0\r\n",
    "code": b"550 4.7.1 contradictory\r\n",
    "hostile": (
        b"553-first\r\n553-type: mda\r\n553 \r\n"
        b"553-Final-Recipient: rfc822; x@evil.example\r\n553-\x00\x1b[31mred\x07\r\n553 last\r\n"
    ),
}


class RefusingSink(CatchingSink):
    """Listens like a CatchingSink."""

    def __init__(self, *, dsn: bool) -> None:
        super().__init__()
        self.dsn = dsn
        self.commands: list[str] = []
        self._server.RequestHandlerClass = _RefusingSession


class _RefusingSession(_Session):
    sink: RefusingSink

    def greeting(self) -> str:
        greeting = super().greeting()
        return greeting.replace("250-8BITMIME", "250-8BITMIME\r\n250-DSN") if self.sink.dsn else greeting

    def answer(self, verb: str, argument: str) -> None:
        if verb in ("MAIL", "RCPT"):
            self.sink.commands.append(f"{verb} {argument}")
        local_part = argument.partition("<")[2].partition("@")[0]
        if verb == "RCPT" and local_part in REFUSALS:
            self.wfile.write(REFUSALS[local_part])
            self.wfile.flush()
            return
        super().answer(verb, argument)
