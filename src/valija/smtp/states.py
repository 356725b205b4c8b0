"""Which command is legal in which state of a session, and how the rest is refused: one table.

    >>> TABLE[State.READY]["RCPT"] is MAIL_FIRST
    True
    >>> TABLE[State.READY]["MAIL"] is LEGAL
    True

The columns follow a session's life:

    START      before EHLO or HELO, and again after the TLS handshake (RFC 3207 section 4.2)
    CLEAR      greeted, but this listener takes no mail in clear
    STRANGER   greeted, inside TLS, but this listener takes no mail without a login
    READY      mail may come
    MAILED     MAIL was accepted, no recipient yet
    ADDRESSED  a recipient was accepted
    CHUNKING   a BDAT was accepted, its LAST has not come (RFC 3030)
    SPOILT     a BDAT series failed: the chunks that follow are swallowed until RSET

`TABLE_WITHOUT_LOGINS` is for listeners that have none: there AUTH does not exist.
"""

from enum import IntEnum, auto
from typing import Final

from valija.mail.reply import Reply
from valija.smtp.answers import (
    ALREADY_AUTHENTICATED,
    AUTH_FIRST,
    AUTH_NEEDS_TLS,
    HELLO_FIRST,
    IN_CHUNKS,
    MAIL_FIRST,
    NESTED,
    NO_RECIPIENTS,
    NOT_IMPLEMENTED,
    RESET_FIRST,
    TLS_FIRST,
)


class State(IntEnum):
    """A session's state between two commands; see the module's first comment."""

    START = auto()
    CLEAR = auto()
    STRANGER = auto()
    READY = auto()
    MAILED = auto()
    ADDRESSED = auto()
    CHUNKING = auto()
    SPOILT = auto()


IN_A_TRANSACTION: Final = frozenset({State.MAILED, State.ADDRESSED, State.CHUNKING, State.SPOILT})

LEGAL: Final = None
Row = tuple[Reply | None, ...]
_ALWAYS: Final[Row] = (LEGAL,) * len(State)
_NEVER: Final[Row] = (NOT_IMPLEMENTED,) * len(State)

# fmt: off
_ROWS: Final[dict[str, Row]] = {
    # command      START        CLEAR      STRANGER    READY       MAILED         ADDRESSED  CHUNKING   SPOILT
    "EHLO":     _ALWAYS,
    "HELO":     _ALWAYS,
    "NOOP":     _ALWAYS,
    "RSET":     _ALWAYS,
    "HELP":     _ALWAYS,
    "QUIT":     _ALWAYS,
    "VRFY":     (LEGAL,       TLS_FIRST, LEGAL,      LEGAL,      LEGAL,         LEGAL,     LEGAL,     LEGAL),
    "STARTTLS": (HELLO_FIRST, LEGAL,     LEGAL,      LEGAL,      LEGAL,         LEGAL,     LEGAL,     LEGAL),
    "AUTH":     (HELLO_FIRST,  AUTH_NEEDS_TLS, LEGAL) + (ALREADY_AUTHENTICATED,) * 5,
    "MAIL":     (HELLO_FIRST, TLS_FIRST, AUTH_FIRST, LEGAL,      NESTED,        NESTED,    NESTED,    RESET_FIRST),
    "RCPT":     (HELLO_FIRST, TLS_FIRST, MAIL_FIRST, MAIL_FIRST, LEGAL,         LEGAL,     IN_CHUNKS, RESET_FIRST),
    "DATA":     (HELLO_FIRST, TLS_FIRST, MAIL_FIRST, MAIL_FIRST, NO_RECIPIENTS, LEGAL,     IN_CHUNKS, RESET_FIRST),
    "BDAT":     (HELLO_FIRST, TLS_FIRST, MAIL_FIRST, MAIL_FIRST, NO_RECIPIENTS, LEGAL,     LEGAL,     RESET_FIRST),
    "EXPN":     _NEVER,
    "TURN":     _NEVER,
    "ETRN":     _NEVER,
    "SEND":     _NEVER,
    "SOML":     _NEVER,
    "SAML":     _NEVER,
}
# fmt: on

Column = dict[str, Reply | None]


def _columns(rows: dict[str, Row]) -> dict[State, Column]:
    return {state: {command: row[number] for command, row in rows.items()} for number, state in enumerate(State)}


TABLE: Final = _columns(_ROWS)
TABLE_WITHOUT_LOGINS: Final = _columns({**_ROWS, "AUTH": _NEVER})
