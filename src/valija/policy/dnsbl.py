"""DNS block lists: the names to ask for, and what the answers mean (RFC 5782).

    >>> query_name("192.0.2.7", "zen.example")
    '7.2.0.192.zen.example'
    >>> read_answer(["127.0.0.4"])
    Listing(codes=('127.0.0.4',), fault='')
    >>> read_answer(["127.255.255.254"]).fault
    'it does not answer this name server (127.255.255.254): it is a public one'

A list says `127.0.0.x`. Codes of `127.255.255.x` are no listings but refusals to answer, and an address outside of
`127.0.0.0/8` comes from a domain that is no list any more: whoever took either for a listing would refuse all mail.
"""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Final

import msgspec

LISTED_TEST: Final = {4: "127.0.0.2", 6: "::ffff:7f00:2"}  # RFC 5782 section 5
FREE_TEST: Final = {4: "127.0.0.1", 6: "::ffff:7f00:1"}

_CODES: Final = ip_network("127.0.0.0/8")
_REFUSALS: Final = ip_network("127.255.255.0/24")
_MEANINGS: Final = {
    "127.255.255.252": "its name is misspelt",
    "127.255.255.254": "it is a public one",
    "127.255.255.255": "it asks too much",
}
_SECRET_LABEL: Final = 20  # characters: a key that a customer has been given stands in front of the list's name


class Listing(msgspec.Struct, frozen=True):
    """The codes of a listing, or what is wrong with the list; neither where the address is not listed."""

    codes: tuple[str, ...] = ()
    fault: str = ""


def query_name(address: str, zone: str) -> str:
    """Return the name that a list has for an address: octets or nibbles in reverse (section 2.1, 2.4)."""
    wanted = ip_address(address)
    reverse = wanted.reverse_pointer.rpartition(".in-addr.arpa" if wanted.version == 4 else ".ip6.arpa")[0]
    return f"{reverse}.{zone}"


def read_answer(addresses: Sequence[str]) -> Listing:
    """Return what the A records of such a name mean."""
    for text in addresses:
        address = ip_address(text)
        if address not in _CODES:
            return Listing(fault=f"it answers {text}, which no list does")
        if address in _REFUSALS:
            why = _MEANINGS.get(text, "it says so by this code")
            return Listing(fault=f"it does not answer this name server ({text}): {why}")
    return Listing(codes=tuple(sorted(set(addresses) - {"127.0.0.1"})))


def shown_zone(zone: str) -> str:
    """Return a list's name for others to read, without a key in it."""
    first, _, rest = zone.partition(".")
    return rest if len(first) >= _SECRET_LABEL and "." in rest else zone
