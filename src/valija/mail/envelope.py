"""The envelope: who gets a message and who hears of its failure (RFC 5321 section 2.3.1, RFC 3461)."""

from enum import IntFlag
from typing import Literal

import msgspec

Body = Literal["7BIT", "8BITMIME"]
Ret = Literal["", "FULL", "HDRS"]


class Notify(IntFlag):
    """What the client asked to hear about a recipient (RFC 3461 section 4.1). ABSENT is not the same as NEVER."""

    ABSENT = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8

    def __str__(self) -> str:
        return ",".join(flag.name or "" for flag in Notify if flag & self)


class Recipient(msgspec.Struct, frozen=True, gc=False):
    """One recipient: its address (see mail/address) and its DSN parameters.

    `notify` holds Notify flags, `orcpt` the `type;xtext` that came, undecoded. `given` is the address the sender used,
    where an alias led from it to `address`; reports name that one only (RFC 3464 section 2.3.2).
    """

    address: str
    notify: int = 0
    orcpt: str = ""
    given: str = ""

    @property
    def reported_address(self) -> str:
        """The address that a report to the sender may name."""
        return self.given or self.address


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What travels beside the content. `envid` is the xtext that came; `smtputf8` is the client's declaration."""

    reverse_path: str
    recipients: tuple[Recipient, ...]
    body: Body = "7BIT"
    smtputf8: bool = False
    ret: Ret = ""
    envid: str = ""
