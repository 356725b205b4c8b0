"""The words of TLS policy: the levels of the configuration, and the two ladders that a way to a host is measured on.

    >>> MxAuthenticity.DNSSEC > MxAuthenticity.MTA_STS
    True

One ladder tells how well it is known that this host takes the next hop's mail, the other how the channel to it is
secured. A channel to a host that anybody may have named is worth little, and the other way round.
"""

from enum import IntEnum
from typing import Literal

TlsSecurityLevel = Literal["none", "may", "encrypt", "dane", "dane-only", "fingerprint", "verify", "secure"]
"""Postfix's levels; what each does stands in policy/tls."""

TlsSource = Literal["default", "configured", "login", "dane", "mta-sts", "requiretls", "tls-required-no"]
"""Who asked for the level that holds: the default, the postmaster, a login, the domain, or the message's sender."""


class MxAuthenticity(IntEnum):
    """Who vouches for the host's name: nobody, the domain's MTA-STS policy, DNSSEC, or the postmaster."""

    NONE = 0
    MTA_STS = 1
    DNSSEC = 2
    CONFIGURED = 3


class ChannelSecurity(IntEnum):
    """What is known of the channel: nothing, that nobody listens in who does not take part, who the peer is."""

    NONE = 0
    ENCRYPTED = 1
    AUTHENTICATED = 2
