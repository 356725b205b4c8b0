"""What the server machine tells its session. Events that need an answer say so; the rest only inform.

An event is handled, and answered where it asks for it, before the next one is taken: see smtp/server.
"""

from typing import ClassVar, Literal

import msgspec

from valija.mail.envelope import Body, Recipient, Ret
from valija.mail.reply import Reply
from valija.smtp.requests import Requests

SentBody = Body | Literal["BINARYMIME"]


class Hello(msgspec.Struct, frozen=True, gc=False):
    """EHLO or HELO was answered by the machine; `name` is what the client calls itself."""

    needs_answer: ClassVar[bool] = False
    name: str
    extended: bool


class StartTls(msgspec.Struct, frozen=True, gc=False):
    """STARTTLS was answered with 220, which ends the output: flush it, do the handshake, call `tls_started`."""

    needs_answer: ClassVar[bool] = False


class Auth(msgspec.Struct, frozen=True, gc=False):
    """AUTH. Answer 334 with a challenge (base64 in the text), 235 to let the client in, or a refusal."""

    needs_answer: ClassVar[bool] = True
    mechanism: str
    initial: bytes | None


class AuthResponse(msgspec.Struct, frozen=True, gc=False):
    """The client's response to a 334, decoded. Answer as to Auth."""

    needs_answer: ClassVar[bool] = True
    data: bytes


class AuthCancelled(msgspec.Struct, frozen=True, gc=False):
    """The exchange ended early, by `*` or a malformed line, and the machine has answered 501."""

    needs_answer: ClassVar[bool] = False
    malformed: bool


class Mail(msgspec.Struct, frozen=True, gc=False):
    """MAIL. `size` is the client's estimate in octets, 0 if none was given (RFC 1870).

    A content that is BINARYMIME comes by BDAT, any octets in it (RFC 3030 section 3).
    """

    needs_answer: ClassVar[bool] = True
    reverse_path: str
    size: int
    body: SentBody
    smtputf8: bool
    ret: Ret
    envid: str
    requests: Requests | None = None


class Rcpt(msgspec.Struct, frozen=True, gc=False):
    """RCPT."""

    needs_answer: ClassVar[bool] = True
    recipient: Recipient


class Data(msgspec.Struct, frozen=True, gc=False):
    """The client wants to send the content (DATA, or the first BDAT). Answer 354, or refuse."""

    needs_answer: ClassVar[bool] = True


class ContentChunk(msgspec.Struct, frozen=True, gc=False):
    """Octets of the content, decoded; cut anywhere."""

    needs_answer: ClassVar[bool] = False
    data: bytes


class ContentEnd(msgspec.Struct, frozen=True, gc=False):
    """The content is complete and well-formed. The answer ends the transaction."""

    needs_answer: ClassVar[bool] = True


class ContentRefused(msgspec.Struct, frozen=True, gc=False):
    """The content ended but broke a rule of the protocol (bare CR or LF, NUL, size); the machine has answered."""

    needs_answer: ClassVar[bool] = False
    reply: Reply


class Reset(msgspec.Struct, frozen=True, gc=False):
    """A transaction was dropped (RSET, a new EHLO)."""

    needs_answer: ClassVar[bool] = False


class GiveWay(msgspec.Struct, frozen=True, gc=False):
    """Many commands came in a row. If more is held, let other sessions have their turn before the next event."""

    needs_answer: ClassVar[bool] = False


class Closing(msgspec.Struct, frozen=True, gc=False):
    """The session ends when the output is flushed: QUIT (`reply` 221), or the machine's 421 or 5yz and its reason."""

    needs_answer: ClassVar[bool] = False
    reply: Reply


Event = (
    Hello
    | StartTls
    | Auth
    | AuthResponse
    | AuthCancelled
    | Mail
    | Rcpt
    | Data
    | ContentChunk
    | ContentEnd
    | ContentRefused
    | Reset
    | GiveWay
    | Closing
)
