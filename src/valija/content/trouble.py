"""What is the trouble, and who can mend it? Concluded from the enhanced status code (RFC 3463) and who demanded what.

    trouble = trouble_of(ReportKind.FAILURE, reported)    # the peer said 550 5.1.1: Trouble.NO_SUCH_USER
    ACTORS[trouble]                                       # Actor.SENDER

Peers' words come in any language and tone, so only the code counts; the words are quoted beside the advice. What each
trouble means to a reader, and what is to be done, stands in content/words, language by language.
"""

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Final

from valija.content.delivery_status import said_detail, status_of
from valija.content.reported import Reported, ReportKind


class Actor(StrEnum):
    """Who has to act."""

    SENDER = auto()
    SENDER_OR_POSTMASTER = auto()
    RECIPIENT = auto()
    OUR_POSTMASTER = auto()
    THEIR_POSTMASTER = auto()


class Trouble(StrEnum):
    """Why a message is not delivered."""

    NO_SUCH_USER = auto()
    NO_SUCH_DOMAIN = auto()
    BAD_ADDRESS = auto()
    MOVED = auto()
    OWN_ADDRESS = auto()
    NULL_MX = auto()
    MAILBOX_CLOSED = auto()
    MAILBOX_FULL = auto()
    MAILBOX = auto()
    TOO_LARGE = auto()
    TOO_MANY = auto()
    THEIR_SERVER = auto()
    OUR_SERVER = auto()
    UNREACHABLE = auto()
    PUT_OFF = auto()
    LOOP = auto()
    DEADLINE = auto()
    NO_DEADLINE = auto()
    PROTOCOL = auto()
    SCRIPT = auto()
    CONTENT = auto()
    POLICY = auto()
    UNPROVEN_SENDER = auto()
    LOGIN = auto()
    TLS_BY_SETTING = auto()
    TLS_BY_DOMAIN = auto()
    TLS_BY_SENDER = auto()
    BARRED = auto()
    UNKNOWN = auto()


ACTORS: Final = {
    Trouble.NO_SUCH_USER: Actor.SENDER,
    Trouble.NO_SUCH_DOMAIN: Actor.SENDER,
    Trouble.BAD_ADDRESS: Actor.SENDER,
    Trouble.MOVED: Actor.SENDER,
    Trouble.OWN_ADDRESS: Actor.SENDER_OR_POSTMASTER,
    Trouble.NULL_MX: Actor.SENDER,
    Trouble.MAILBOX_CLOSED: Actor.SENDER,
    Trouble.MAILBOX_FULL: Actor.RECIPIENT,
    Trouble.MAILBOX: Actor.RECIPIENT,
    Trouble.TOO_LARGE: Actor.SENDER,
    Trouble.TOO_MANY: Actor.SENDER,
    Trouble.THEIR_SERVER: Actor.THEIR_POSTMASTER,
    Trouble.OUR_SERVER: Actor.OUR_POSTMASTER,
    Trouble.UNREACHABLE: Actor.THEIR_POSTMASTER,
    Trouble.PUT_OFF: Actor.THEIR_POSTMASTER,
    Trouble.LOOP: Actor.OUR_POSTMASTER,
    Trouble.DEADLINE: Actor.SENDER,
    Trouble.NO_DEADLINE: Actor.SENDER,
    Trouble.PROTOCOL: Actor.OUR_POSTMASTER,
    Trouble.SCRIPT: Actor.SENDER,
    Trouble.CONTENT: Actor.SENDER_OR_POSTMASTER,
    Trouble.POLICY: Actor.SENDER_OR_POSTMASTER,
    Trouble.UNPROVEN_SENDER: Actor.OUR_POSTMASTER,
    Trouble.LOGIN: Actor.OUR_POSTMASTER,
    Trouble.TLS_BY_SETTING: Actor.OUR_POSTMASTER,
    Trouble.TLS_BY_DOMAIN: Actor.THEIR_POSTMASTER,
    Trouble.TLS_BY_SENDER: Actor.SENDER,
    Trouble.BARRED: Actor.OUR_POSTMASTER,
    Trouble.UNKNOWN: Actor.SENDER_OR_POSTMASTER,
}

# Subject and detail of a code; a subject alone stands for all its other details.
_PERMANENT: Final = {
    "1.1": Trouble.NO_SUCH_USER,
    "1.2": Trouble.NO_SUCH_DOMAIN,
    "1.6": Trouble.MOVED,
    "1.7": Trouble.OWN_ADDRESS,
    "1.8": Trouble.OWN_ADDRESS,
    "1.10": Trouble.NULL_MX,
    "1": Trouble.BAD_ADDRESS,
    "2.1": Trouble.MAILBOX_CLOSED,
    "2.2": Trouble.MAILBOX_FULL,
    "2.3": Trouble.TOO_LARGE,
    "2": Trouble.MAILBOX,
    "3.4": Trouble.TOO_LARGE,
    "3": Trouble.THEIR_SERVER,
    "4.6": Trouble.LOOP,
    "4": Trouble.UNREACHABLE,
    "5.3": Trouble.TOO_MANY,
    "5": Trouble.PROTOCOL,
    "6.7": Trouble.SCRIPT,
    "6.8": Trouble.SCRIPT,
    "6.9": Trouble.SCRIPT,
    "6": Trouble.CONTENT,
    "7.8": Trouble.LOGIN,
    "7.9": Trouble.LOGIN,
    "7.10": Trouble.LOGIN,
    "7.11": Trouble.LOGIN,
    "7.12": Trouble.LOGIN,
    "7.20": Trouble.UNPROVEN_SENDER,
    "7.21": Trouble.UNPROVEN_SENDER,
    "7.22": Trouble.UNPROVEN_SENDER,
    "7.23": Trouble.UNPROVEN_SENDER,
    "7.24": Trouble.UNPROVEN_SENDER,
    "7.25": Trouble.UNPROVEN_SENDER,
    "7.26": Trouble.UNPROVEN_SENDER,
    "7.27": Trouble.OWN_ADDRESS,
    "7.30": Trouble.TLS_BY_SENDER,
    "7": Trouble.POLICY,
}

# The same of codes that leave hope. A peer that gives none, or one of another subject, puts the message off.
_TRANSIENT: Final = {
    "2.1": Trouble.MAILBOX,
    "2.2": Trouble.MAILBOX_FULL,
    "3.4": Trouble.TOO_LARGE,
    "3": Trouble.THEIR_SERVER,
    "4.6": Trouble.LOOP,
    "4": Trouble.UNREACHABLE,
    "7.8": Trouble.LOGIN,
    "7.30": Trouble.TLS_BY_SENDER,
}

# What this server says in its own words, and means something else by than others do.
_OWN: Final = {
    "3.3": Trouble.NO_DEADLINE,
    "3.4": Trouble.TOO_LARGE,
    "3": Trouble.OUR_SERVER,
    "4.7": Trouble.DEADLINE,
    "7.0": Trouble.LOGIN,
    "7.1": Trouble.BARRED,
    "7.10": Trouble.TLS_BY_SENDER,
}

_TLS: Final = ("7.4", "7.5")  # RFC 3463 section 3.8: no such security feature, or it failed
_DEMANDS: Final = {
    "dane": Trouble.TLS_BY_DOMAIN,
    "mta-sts": Trouble.TLS_BY_DOMAIN,
    "requiretls": Trouble.TLS_BY_SENDER,
}


def trouble_of(kind: ReportKind, one: Reported) -> Trouble:
    """Return what keeps, or kept, the message from a recipient."""
    outcome = one.outcome
    if one.deadline_passed:
        return Trouble.DEADLINE
    hopeful = kind is ReportKind.DELAY or bool(one.expired_after) or outcome.reply.is_transient
    detail = said_detail(outcome.reply) if hopeful else status_of(kind, one).partition(".")[2]
    if not outcome.remote:
        return _trouble_here(detail, outcome.tls_source, hopeful=hopeful)
    if hopeful:
        return _find(_TRANSIENT, detail) or Trouble.PUT_OFF
    return _find(_PERMANENT, detail) or Trouble.UNKNOWN


def _trouble_here(detail: str, tls_source: str, *, hopeful: bool) -> Trouble:
    if detail in _TLS:
        return _DEMANDS.get(tls_source, Trouble.TLS_BY_SETTING)
    found = _find(_OWN, detail) or _find(_TRANSIENT if hopeful else _PERMANENT, detail)
    return found or (Trouble.OUR_SERVER if hopeful else Trouble.UNKNOWN)


def _find(table: Mapping[str, Trouble], detail: str) -> Trouble | None:
    return table.get(detail) or table.get(detail.partition(".")[0])
