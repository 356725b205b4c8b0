"""Which addresses mean something to the internet.

    >>> is_public("10.0.0.7"), is_public("fe80::1"), is_public("2001:db8::7")
    (False, False, True)

Documentation ranges are not told apart from others: nobody has them in earnest, and examples show what would be said.
"""

from ipaddress import ip_address, ip_network
from typing import Final

_INNER: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip


def is_public(address: str) -> bool:
    """Whether others on the internet could know this address."""
    return not any(ip_address(address) in network for network in _INNER)
