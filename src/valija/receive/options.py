"""What a listener may be told. Durations in seconds, sizes in octets."""

from typing import Literal

import msgspec

from valija.mail.endpoint import Endpoint
from valija.policy.requests import RequestLimits

TlsSecurityLevel = Literal["none", "may", "encrypt"]


class ListenerOptions(msgspec.Struct, frozen=True):
    """One listener role's settings.

    `timeout` bounds the wait for a whole command (RFC 5321 section 4.5.3.2.7) and the pauses within a content;
    `greet_pause` is how long the banner is held back from clients outside `mynetworks`, to hear who talks first.
    `request_limits` matter where users hand mail in.
    """

    listen: tuple[Endpoint, ...] = ()
    tls_security_level: TlsSecurityLevel = "may"
    client_connection_count_limit: int = 50
    error_limit: int = 20
    recipient_limit: int = 1000
    timeout: float = 300.0
    greet_pause: float = 0.1
    request_limits: RequestLimits = RequestLimits()
