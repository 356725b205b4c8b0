"""The envelope: who gets a message and who hears of its failure (RFC 5321 section 2.3.1, RFC 3461)."""

from enum import IntFlag
from typing import Literal

import msgspec

Body = Literal["7BIT", "8BITMIME"]
Ret = Literal["", "FULL", "HDRS"]
TlsDemand = Literal["", "required", "optional"]
"""What a sender asks about TLS (RFC 8689): nothing, REQUIRETLS, or `TLS-Required: No`."""


class Notify(IntFlag):
    """What the client asked to hear about a recipient (RFC 3461 section 4.1). ABSENT is not the same as NEVER."""

    ABSENT = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8

    def __str__(self) -> str:
        return ",".join(flag.name or "" for flag in Notify if flag & self)


class Recipient(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One recipient: its address (see mail/address) and its DSN parameters.

    `notify` holds Notify flags, `orcpt` the `type;xtext` that came, undecoded. `given` is the address the sender used,
    where an alias led from it to `address`; reports name that one only (RFC 3464 section 2.3.2). `return_path` is the
    reverse-path it leaves with, where forwarding needs another than the envelope's: our own reports go to the latter.
    """

    address: str
    notify: int = 0
    orcpt: str = ""
    given: str = ""
    return_path: str = ""

    @property
    def reported_address(self) -> str:
        """The address that a report to the sender may name."""
        return self.given or self.address


class DeliverBy(msgspec.Struct, frozen=True, gc=False):
    """When a message has to be delivered, and what is done when it was not (RFC 2852).

    `until` is in epoch seconds. Then it goes back where `returns` is set, else its sender is told, and it is tried on.
    `traces` asks to be told of each hand-over to a host that knows no DELIVERBY.
    """

    until: float
    returns: bool
    traces: bool = False


class Envelope(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What travels beside the content. `envid` is the xtext that came; `smtputf8` is the client's declaration.

    `require_tls` is REQUIRETLS (RFC 8689), `tls_optional` the header field `TLS-Required: No` of the same RFC.
    `hold_until`, in epoch seconds, is before what time no attempt is made (RFC 4865), 0 for at once; `priority` is that
    of RFC 6710, -9 to 9. `junk`: its readers here find it among unwanted mail.
    """

    reverse_path: str
    recipients: tuple[Recipient, ...]
    body: Body = "7BIT"
    smtputf8: bool = False
    ret: Ret = ""
    envid: str = ""
    require_tls: bool = False
    tls_optional: bool = False
    hold_until: float = 0.0
    deliver_by: DeliverBy | None = None
    priority: int = 0
    junk: bool = False

    @property
    def tls_demand(self) -> TlsDemand:
        """What the sender asks of the way the message travels."""
        return "required" if self.require_tls else "optional" if self.tls_optional else ""
