"""A job: what a delivery agent is asked to do. One message, one next hop, the recipients that share it."""

from functools import lru_cache
from typing import Literal, NewType

import msgspec

from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient, TlsDemand
from valija.mail.origin import Origin

QueueId = NewType("QueueId", str)

Transport = Literal["remote", "maildir", "lmtp", "error"]


class Route(msgspec.Struct, frozen=True, gc=False):
    """The way to a next hop. Jobs with equal routes may share a connection.

    `next_hop` is a domain (its MX hosts are looked up) or a host when `lookup_mx` is false; `port` is 0 for the
    port MX hosts are reached on. For `maildir` and `lmtp` it is the hosted domain, for `error` the words why nothing is
    sent.
    `is_relayhost` tells that the configuration chose the next hop, not the recipient's domain: what is wrong with it is
    no fault of the recipient.

    `login` names the credentials to log in with there, `pool` the source addresses to leave from, `""` where there is
    none of them. `tls_demand` is what the sender asked of the way there. With `tls_wrappermode` TLS comes before the
    banner there, as on port 465 (RFC 8314 section 3.3).
    """

    transport: Transport
    next_hop: str
    port: int = 0
    lookup_mx: bool = True
    is_relayhost: bool = False
    login: str = ""
    pool: str = ""
    tls_demand: TlsDemand = ""
    tls_wrappermode: bool = False

    @property
    def lane(self) -> str:
        """One line of text for all that tells routes apart, as the queue file keeps it."""
        return self.next_hop if self.is_plain else _lane(self)

    @property
    def is_final(self) -> bool:
        """Whether what is delivered has come to its mailbox, so that nobody behind can report on it."""
        return self.transport in ("maildir", "lmtp")

    @property
    def is_plain(self) -> bool:
        """Whether it is the way to a domain's MX hosts, or to a mailbox here, with nothing special about it."""
        return not (self.port or self.login or self.pool or self.tls_demand or self.tls_wrappermode)


@lru_cache(maxsize=256)
def _lane(route: Route) -> str:
    first = " tls" if route.tls_wrappermode else ""
    return f"{route.next_hop} {route.port} {route.login} {route.pool} {route.tls_demand}{first}"


class Job(msgspec.Struct, frozen=True, gc=False):
    """One attempt. `numbers` are the places, in `envelope.recipients`, of the recipients to attempt."""

    queue_id: QueueId
    route: Route
    envelope: Envelope
    origin: Origin
    content: Content
    numbers: tuple[int, ...]

    @property
    def recipients(self) -> list[Recipient]:
        """The recipients to attempt, in the order of `numbers`."""
        return [self.envelope.recipients[number] for number in self.numbers]
