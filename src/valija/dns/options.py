"""What the resolver may be told.

>>> parse_nameserver("127.0.0.1:5353")
Endpoint(host='127.0.0.1', port=5353)
>>> parse_nameserver("9.9.9.9")
Endpoint(host='9.9.9.9', port=53)
"""

from ipaddress import AddressValueError, IPv6Address
from typing import Final

import msgspec

from valija.mail.endpoint import Endpoint
from valija.mail.fault import Fault

PORT: Final = 53


class DnsOptions(msgspec.Struct, frozen=True):
    """Settings of the resolver.

    `nameservers`: () is the system's, from /etc/resolv.conf, read again when it changes. `trust_ad` believes the AD bit
    of name servers outside of loopback too. `timeout` is seconds per try. `cache_size` is a number of answers.
    """

    nameservers: tuple[Endpoint, ...] = ()
    trust_ad: bool = False
    timeout: float = 5.0
    cache_size: int = 10_000


def parse_nameserver(text: object) -> Endpoint | Fault:
    """Read a name server: an IP address, with a port if it is not 53; an IPv6 address with a port has brackets."""
    remedy = 'write an IP address: "127.0.0.1:5353", "[::1]:53" or "9.9.9.9"'
    if not isinstance(text, str):
        return Fault(text, "it is not a string", f"put it in quotes; {remedy}")
    try:
        return Endpoint(str(IPv6Address(text)), PORT)
    except AddressValueError:
        pass
    try:
        return Endpoint.parse(text, PORT)
    except ValueError as error:
        return Fault(text, str(error), remedy)
