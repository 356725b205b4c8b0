"""`mynetworks`: the clients that may relay on smtpd without a login.

    >>> networks, faults = Networks.parse(["127.0.0.0/8", "[::1]/128", "10.0.0.1/8"])
    >>> networks.find("::ffff:127.0.0.1")
    '127.0.0.0/8'
    >>> str(faults[0])
    "'10.0.0.1/8': the address has host bits set; write 10.0.0.0/8 for the range, or 10.0.0.1 for the one host"

Entries are in Postfix's notation or plain CIDR: `127.0.0.0/8`, `[::1]/128`, `::1/128`, `10.1.2.3`, `[2001:db8::1]`.
IPv4-mapped addresses and ranges (`::ffff:10.0.0.0/104`) are the IPv4 ones they stand for. What would open the relay is
a fault: see policy/ranges for what is too wide.

Gateways. One that translates addresses makes strangers look like itself, so it is never trusted:

- An entry that is a gateway's own address is a fault.
- An entry that covers the gateway of a *container bridge* is a fault too: behind such a bridge published ports, and
  IPv6 nearly always, arrive with the gateway's address (C065), and nobody in the range needs trust as a whole.
- An office's or a home's range usually covers its router, and its owner means the computers in it: the range stands,
  with the router's address taken out of it. `exceptions` names what was taken out.
- Loopback is always fine.

Known weakness: a router that translates with another address than the one it is reached by is not recognised.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    NetmaskValueError,
)
from typing import Final, Literal

import msgspec

from valija.mail.fault import Fault
from valija.policy.ranges import MAPPED, Network, is_private, open_pieces, openness

Address = IPv4Address | IPv6Address
GatewayKind = Literal["default", "container bridge"]

_EXAMPLE: Final = 'write an address range such as "192.0.2.0/28" or "[2001:db8::]/64"'


class Gateway(msgspec.Struct, frozen=True, order=True):
    """The address of a gateway that clients may hide behind. Facts of this kind are read in valija/machine."""

    address: str
    kind: GatewayKind


def parse_address(text: str) -> Address | None:
    """Return an address as a client shows it: scope dropped, IPv4-mapped normalised. None for what is no address."""
    try:
        if ":" not in text:
            return IPv4Address(text)
        address = IPv6Address(text.partition("%")[0])
    except (AddressValueError, TypeError):
        return None
    return address.ipv4_mapped or address


class Networks:
    """The trusted ranges. Immutable; `find` is quick enough to be called for each recipient."""

    def __init__(self, ranges: Iterable[tuple[Network, str]] = (), exceptions: Iterable[Address] = ()) -> None:
        ranges = tuple(ranges)
        self._exceptions = frozenset(exceptions)
        self._by_length = _by_length(ranges)
        self._ranges = ranges
        self._find = lru_cache(maxsize=4096)(self._search)

    @classmethod
    def parse(
        cls, entries: Sequence[object], gateways: Collection[Gateway] = frozenset()
    ) -> tuple["Networks", list[Fault]]:
        """Read entries as written in the configuration; return what is usable, and a fault for each that is not."""
        ranges: list[tuple[Network, str]] = []
        faults: list[Fault] = []
        for entry in entries:
            network = _read(entry)
            fault = network if isinstance(network, Fault) else _opening(entry, network, gateways)
            if fault:
                faults.append(fault)
            elif not isinstance(network, Fault):
                ranges.append((network, str(entry)))
        ranges, opened = _without_open_pieces(ranges)
        return cls(ranges, _covered_gateways(ranges, gateways)), faults + opened

    def find(self, address: str) -> str | None:
        """Return the entry, as written, that covers a client's address; None for a stranger.

        A client whose address is unknown (`""`) or is no address is a stranger.
        """
        return self._find(address)

    @property
    def ranges(self) -> tuple[tuple[Network, str], ...]:
        """The trusted ranges, each with the entry as written."""
        return self._ranges

    @property
    def exceptions(self) -> tuple[str, ...]:
        """Gateways that lie in a trusted range and are not trusted, for a word at the start."""
        return tuple(sorted(str(address) for address in self._exceptions))

    @property
    def private_entries(self) -> tuple[str, ...]:
        """Entries that trust a private range beyond this machine: worth a warning in a container (C065)."""
        return tuple(entry for network, entry in self._ranges if is_private(network) and not network.is_loopback)

    def _search(self, text: str) -> str | None:
        address = parse_address(text)
        if address is None or address in self._exceptions:
            return None
        number = int(address)
        for shift, entries in self._by_length[address.version]:
            entry = entries.get(number >> shift)
            if entry is not None:
                return entry
        return None


_Table = dict[int, list[tuple[int, dict[int, str]]]]


def _by_length(ranges: Iterable[tuple[Network, str]]) -> _Table:
    """Return, by IP version, pairs of (host bits, prefix -> entry), the narrowest ranges first."""
    found: dict[int, dict[int, dict[int, str]]] = {4: {}, 6: {}}
    for network, entry in ranges:
        shift = network.max_prefixlen - network.prefixlen
        found[network.version].setdefault(shift, {}).setdefault(int(network.network_address) >> shift, entry)
    return {version: sorted(tables.items()) for version, tables in found.items()}


def _without_open_pieces(ranges: list[tuple[Network, str]]) -> tuple[list[tuple[Network, str]], list[Fault]]:
    pieces = dict(open_pieces([network for network, _ in ranges]))
    remedy = "name only the ranges that are yours"
    faults = [Fault(entry, pieces[network], remedy) for network, entry in ranges if network in pieces]
    return [pair for pair in ranges if pair[0] not in pieces], faults


def _covered_gateways(ranges: list[tuple[Network, str]], gateways: Collection[Gateway]) -> list[Address]:
    addresses = [address for gateway in gateways if (address := parse_address(gateway.address))]
    return [
        address for address in addresses if not address.is_loopback and any(address in network for network, _ in ranges)
    ]


# What an entry may not be


def _opening(entry: object, network: Network, gateways: Collection[Gateway]) -> Fault | None:
    """Return the fault of a well-formed range that would open the relay."""
    if network.is_loopback:
        return None
    reason = openness(network)
    if reason:
        return Fault(entry, reason, "name only the ranges that are yours; everybody else logs in on submission")
    if network.num_addresses == 1 and network.network_address.is_unspecified:
        return Fault(entry, "no client has this address", _EXAMPLE)
    return next((fault for gateway in gateways if (fault := _gateway_fault(entry, network, gateway))), None)


def _gateway_fault(entry: object, network: Network, gateway: Gateway) -> Fault | None:
    address = parse_address(gateway.address)
    if address is None or address.is_loopback or address not in network:
        return None
    if network.num_addresses == 1:
        reason = f"it is the address of a gateway ({gateway.kind}), which strangers may hide behind"
        return Fault(entry, reason, "leave it out; let the clients behind it log in on submission")
    if gateway.kind == "container bridge":
        reason = f"it covers {address}, the gateway of a container bridge, which strangers may hide behind"
        return Fault(entry, reason, "name the clients' own addresses, or let them log in on submission")
    return None


def _read(entry: object) -> Network | Fault:
    """Return the range an entry means, IPv4-mapped ones as IPv4, or why it means none."""
    if not isinstance(entry, str):
        return Fault(entry, "it is not a string", f"put it in quotes: {_EXAMPLE}")
    if not entry.strip():
        return Fault(entry, "it is empty", f"remove it, or {_EXAMPLE}")
    if "," in entry or len(entry.split()) > 1:
        return Fault(entry, "it holds more than one range", "give each range a string of its own")
    if entry != entry.strip():
        return Fault(entry, "it has blanks around it", f"write {entry.strip()!r}")
    host, slash, length = entry.partition("/")
    address = _read_host(entry, host)
    return address if isinstance(address, Fault) else _read_range(entry, address, length if slash else None)


def _read_host(entry: str, host: str) -> Address | Fault:
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        if inner != host or ":" in inner:
            return IPv6Address(_without_scope(inner))
        return IPv4Address(inner)
    except AddressValueError:
        return Fault(entry, _what_it_is(entry, inner), _EXAMPLE)


def _without_scope(text: str) -> str:
    if "%" in text:
        raise AddressValueError("a scope")
    return text


def _what_it_is(entry: str, host: str) -> str:
    if entry.startswith("[") and "/" in entry and entry.endswith("]"):
        return "the length stands outside of the brackets"
    if entry.startswith(("!", "/")) or "://" in entry or (":" in host and not _looks_ipv6(host)):
        return "it is a pattern or a table, which are not understood here"
    if "%" in host:
        return "it names an interface (%), and clients are told by address alone"
    if any(character.isalpha() for character in host) and ":" not in host:
        return "it is a host name, and names can be forged"
    return "it is no IP address"


def _looks_ipv6(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF:.%" for character in text.partition("%")[0])


def _read_range(entry: str, address: Address, length: str | None) -> Network | Fault:
    width = address.max_prefixlen
    if length is None:
        return _normalised(_network(address, width))
    if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= width):
        return Fault(entry, f"the length is no number from 0 to {width}", _length_remedy(address, length))
    network = _network(address, int(length))
    if network.network_address != address:
        host = parse_address(str(address)) or address
        remedy = f"write {_written(_normalised(network))} for the range, or {_written(host)} for the one host"
        return Fault(entry, "the address has host bits set", remedy)
    return _normalised(network)


def _network(address: Address, length: int) -> Network:
    if isinstance(address, IPv4Address):
        return IPv4Network((address, length), strict=False)
    return IPv6Network((address, length), strict=False)


def _length_remedy(address: Address, length: str) -> str:
    """Return the remedy for a bad length; a netmask has one length that means the same."""
    try:
        network = IPv4Network(f"{address}/{length}", strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        return _EXAMPLE
    return f"write {network}"


def _written(thing: Address | Network) -> str:
    """Return an address or range in the notation of `mynetworks`."""
    host, slash, length = str(thing).partition("/")
    return f"[{host}]{slash}{length}" if ":" in host else str(thing)


def _normalised(network: Network) -> Network:
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        last_bits = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((last_bits, network.prefixlen - 96))
    return network
