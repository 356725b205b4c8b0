"""What the client machine tells its driver, and the steps of a session that a peer may keep us waiting at."""

from enum import StrEnum

import msgspec

from valija.mail.reply import Reply
from valija.smtp.client_capabilities import Capabilities
from valija.smtp.client_transaction import Transaction


class Step(StrEnum):
    """What is being waited for; each has its time limit (RFC 5321 section 4.5.3.2). The value says it in words."""

    BANNER = "the banner"
    EHLO = "the reply to EHLO"
    HELO = "the reply to HELO"
    STARTTLS = "the reply to STARTTLS"
    HANDSHAKE = "the TLS handshake"
    AUTH = "the reply to AUTH"
    IDLE = "nothing"
    MAIL = "the reply to MAIL FROM"
    RCPT = "the reply to RCPT TO"
    DATA = "the reply to DATA"
    CONTENT = "the peer to take the content"
    FINAL = "the reply to the final dot"
    CHUNK = "the reply to BDAT"
    RSET = "the reply to RSET"
    OVER = "the end of the session"


class Ready(msgspec.Struct, frozen=True, gc=False):
    """The peer said hello. Now STARTTLS may be asked for, or a transaction begun."""

    capabilities: Capabilities


class TlsReady(msgspec.Struct, frozen=True, gc=False):
    """220 to STARTTLS: do the handshake and call `tls_started`."""


class TlsRefused(msgspec.Struct, frozen=True, gc=False):
    """The peer announced STARTTLS and refuses it now. The session can go on in clear, if that is acceptable."""

    reply: Reply


class LoggedIn(msgspec.Struct, frozen=True, gc=False):
    """The peer took the login, and proved itself where the mechanism asks for that."""

    reply: Reply


class LoginRefused(msgspec.Struct, frozen=True, gc=False):
    """The peer refused the login with `reply`; or, where `why_not` says so, it is not to be trusted with one."""

    reply: Reply
    why_not: str = ""


class ContentWanted(msgspec.Struct, frozen=True):
    """354 to a transaction without `payload`: call `send` for each piece of the content, then `end_content`."""

    transaction: Transaction


class TransactionEnded(msgspec.Struct, frozen=True):
    """Each recipient of the transaction has its verdict, or is postponed. They end in the order they began."""

    transaction: Transaction


class SessionEnded(msgspec.Struct, frozen=True):
    """No more can be done here; always the last event, and it comes once.

    `reply` is the peer's where `by_peer`, else our words for what happened, while `step` was awaited. `unfinished` are
    the transactions that were under way, oldest first.
    """

    reply: Reply
    by_peer: bool
    step: Step
    unfinished: tuple[Transaction, ...] = ()


ClientEvent = Ready | TlsReady | TlsRefused | LoggedIn | LoginRefused | ContentWanted | TransactionEnded | SessionEnded
