"""The outcome of one attempt at one recipient."""

from enum import StrEnum

import msgspec

from valija.mail.origin import TlsFacts
from valija.mail.reply import Reply


class State(StrEnum):
    """What an attempt did to a recipient. Deferred is pending with a later next attempt."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


class Channel(StrEnum):
    """How the content travelled: in clear, encrypted, or encrypted to a peer whose name was verified."""

    NONE = "none"
    ENCRYPTED = "encrypted"
    VERIFIED = "verified"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """One recipient's outcome. `number` is the recipient's place in the message's envelope.

    `remote` is the name of the host that spoke (`""` when nobody did: then the reply is our own words) and
    `remote_address` its address. `dsn_passed_on` tells that the host took over the duty to report (RFC 3461),
    `deliver_by_passed_on` that it took over the time to deliver by (RFC 2852).
    `tls_level` is the level that held for the host, `tls_source` who asked for it: see policy/tls.
    """

    number: int
    state: State
    reply: Reply
    remote: str = ""
    remote_address: str = ""
    channel: Channel = Channel.NONE
    tls: TlsFacts | None = None
    dsn_passed_on: bool = False
    tls_level: str = ""
    tls_source: str = ""
    deliver_by_passed_on: bool = False
