"""What a listener may be told. Durations in seconds, sizes in octets."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from valija.mail.endpoint import Endpoint
from valija.policy.requests import RequestLimits

TlsSecurityLevel = Literal["none", "may", "encrypt"]


class ListenerOptions(msgspec.Struct, frozen=True):
    """One listener role's settings.

    `timeout` bounds the wait for a whole command (RFC 5321 section 4.5.3.2.7) and the pauses within a content;
    `greet_pause` is how long the banner is held back from clients outside `mynetworks`, to hear who talks first.
    One client has so many connections at once, and within a minute, and on `smtpd` so many unknown recipients within an
    hour (receive/doorkeeper; 0: no limit).
    `request_limits` matter where users hand mail in, `reject_own_senders` where they don't: clients that nobody knows
    may not send in the name of a hosted domain.
    """

    listen: tuple[Endpoint, ...] = ()
    tls_security_level: TlsSecurityLevel = "may"
    client_connection_count_limit: int = 50
    client_connection_rate_limit: int = 300
    unknown_recipient_limit: int = 100
    error_limit: int = 20
    recipient_limit: int = 1000
    timeout: float = 300.0
    greet_pause: float = 0.1
    request_limits: RequestLimits = RequestLimits()
    reject_own_senders: bool = False


class ForwardingOptions(msgspec.Struct, frozen=True):
    """How mail is sent on that an alias leads elsewhere.

    `srs`: with a reverse-path in `srs_domain`, `""` for the first of the hosted domains (policy/srs). `arc`: sealed by
    the alias's domain, where that has a key (RFC 8617).
    """

    srs: bool = True
    srs_domain: str = ""
    arc: bool = True


class LocalOptions(msgspec.Struct, frozen=True):
    """How programs of this machine hand mail in.

    `socket` is where the server listens for them, `maildrop` the folder where they leave mail while it doesn't; `""` is
    off. `trusted_users` send in any name; `senders` are the addresses, or `@domain`, that others may use beside their
    own. `unclaimed_senders`: they may use what is nobody's, too.
    """

    socket: str = ""
    maildrop: str = ""
    trusted_users: tuple[str, ...] = ("root",)
    senders: Mapping[str, tuple[str, ...]] = {}
    unclaimed_senders: bool = True
