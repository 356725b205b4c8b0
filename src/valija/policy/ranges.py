"""Which address ranges are too wide to be one site's: the part of `mynetworks` that keeps a relay closed.

    >>> openness(ip_network("0.0.0.0/1"))
    'it is a public range wider than one site (/16)'
    >>> openness(ip_network("10.0.0.0/8"))
    ''

Private, link-local and documentation ranges may have any width: nobody reaches us from them over the internet, save
through a gateway that hides who they are, and gateways are looked after in policy/networks. A public range may be as
wide as the largest that is given to one site: /16 in IPv4, /32 in IPv6.

Known weakness: whole countries made of many separate ranges, each no wider than a site's, pass; only neighbouring
ranges are put together.
"""

from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

WIDEST_PUBLIC: Final = {4: 16, 6: 32}  # prefix lengths

_ANY_WIDTH: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
        "127.0.0.0/8", "::1/128",
        "169.254.0.0/16", "fe80::/10",  # link-local
        "fc00::/7",  # unique local, RFC 4193
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20",  # documentation
        "198.18.0.0/15",  # benchmarks, RFC 2544
    )
)  # fmt: skip

# Ranges in which IPv6 addresses stand for IPv4 ones.
MAPPED: Final = IPv6Network("::ffff:0:0/96")  # RFC 4291 section 2.5.5.2
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052
_TEREDO: Final = IPv6Network("2001::/32")  # RFC 4380: each address is somebody else's, behind some NAT


def is_private(network: Network) -> bool:
    """Whether a range lies wholly in private, link-local, loopback or documentation space."""
    return any(_covers(wide, network) for wide in _ANY_WIDTH)


def openness(network: Network) -> str:
    """Return why a range would make an open relay, `""` when it would not."""
    if is_private(network):
        return ""
    if network.prefixlen == 0:
        return "it is the whole internet: anybody could relay"
    if network.prefixlen < WIDEST_PUBLIC[network.version]:
        return f"it is a public range wider than one site (/{WIDEST_PUBLIC[network.version]})"
    if isinstance(network, IPv6Network):
        return _openness_of_translated(network)
    return ""


def _openness_of_translated(network: IPv6Network) -> str:
    if network.overlaps(MAPPED):
        return "it covers the IPv4-mapped addresses, which are the whole IPv4 internet"
    if network.overlaps(_NAT64) and network.prefixlen < _NAT64.prefixlen + WIDEST_PUBLIC[4]:
        return "its addresses stand for a part of the IPv4 internet that is wider than one site (NAT64)"
    if network.overlaps(_TEREDO):
        return "its addresses are tunnels that anybody can open (Teredo)"
    return ""


def open_pieces(networks: list[Network]) -> list[tuple[Network, str]]:
    """Return the ranges that are harmless one by one and together with their neighbours too wide, with the reason."""
    harmless = [network for network in networks if not openness(network)]
    found: list[tuple[Network, str]] = []
    for whole in _collapse(harmless):
        reason = openness(whole)
        if reason:
            found += [
                (piece, f"together with its neighbours it is {whole}: {reason}")
                for piece in harmless
                if _covers(whole, piece)
            ]
    return found


def _collapse(networks: list[Network]) -> list[Network]:
    ipv4 = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    ipv6 = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    return [*ipv4, *ipv6]


def _covers(whole: Network, piece: Network) -> bool:
    return whole.version == piece.version and piece.subnet_of(whole)  # type: ignore[arg-type]  # both of one version, as just compared
