"""How fast may passwords be guessed? Decided from how many wrong guesses there were within the hour.

    >>> stranger_pace(Guesses(login=10, network=10), PaceLimits())
    Pace(delay=0.0, refused=True)
    >>> familiar_pace(12, PaceLimits())
    Pace(delay=2.0, refused=False)

A client is *familiar* to a login where that login has been right from its network before (an IPv4 /24, an IPv6 /64),
and to every login where refusing it would shut out others: loopback, gateways, trusted clients. All else is a
*stranger*.

- A familiar client is never refused. Behind more wrong guesses than the limit, each answer to it takes some seconds.
- Strangers share one allowance of wrong guesses for each login, however many networks they come from, and one for each
  network (for IPv6 a /48: what one customer may have), however many logins they try. Behind a third of it they are
  slowed, at its end refused. That guess was not looked at, so a refusal tells nothing about it.
- A guess that was wrong before tells nobody anything new and is not counted again: a mail program with an old password
  uses up nothing.

So a login can be guessed at by strangers no more than `login` times in any hour, and the owner's own networks are not
theirs to close.

Known weakness: who sits in a network of the owner's is slowed and no more, to a guess in `LONGEST_DELAY` seconds on
each connection; the owner could not be told from them.
"""

from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Final, Literal

import msgspec

from valija.policy.networks import Address, Networks, parse_address

WINDOW: Final = 3600.0  # seconds a wrong guess counts for at least
LONGEST_DELAY: Final = 3.0  # seconds; PAM takes 4 of the 9 that a login has
_LOGINS_TO_A_NETWORK: Final = 3  # an office may mistype more than one of its people


class PaceLimits(msgspec.Struct, frozen=True):
    """Wrong guesses within an hour that strangers have, at one login and from one network. 0 at `login`: no limit."""

    login: int = 10

    @property
    def network(self) -> int:
        """The limit of one network, over all logins."""
        return self.login * _LOGINS_TO_A_NETWORK


class Guesses(msgspec.Struct, frozen=True, gc=False):
    """Wrong guesses of strangers within the hour: at the login, and from the client's network."""

    login: int
    network: int


class Pace(msgspec.Struct, frozen=True, gc=False):
    """How a login goes on: after `delay` seconds, or not at all."""

    delay: float = 0.0
    refused: bool = False


AT_ONCE: Final = Pace()
_REFUSED: Final = Pace(refused=True)


def stranger_pace(guesses: Guesses, limits: PaceLimits, *, repeated: bool = False) -> Pace:
    """Return the pace of a stranger; `repeated`: the guess is known to have been wrong."""
    if guesses.login >= limits.login or guesses.network >= limits.network:
        return _REFUSED
    if repeated:
        return Pace(LONGEST_DELAY)
    beyond = max(guesses.login - limits.login // 3, guesses.network - limits.network // 3)
    return Pace(_delay(beyond))


def familiar_pace(guesses: int, limits: PaceLimits) -> Pace:
    """Return the pace of a familiar client behind some wrong guesses at the login from its own network."""
    return Pace(_delay(guesses - limits.login))


def _delay(beyond: int) -> float:
    return min(LONGEST_DELAY, float(max(0, beyond)))


@lru_cache(maxsize=4096)
def network_of(client: str, kind: Literal["home", "customer"] = "home") -> str:
    """Return the network of a client's address; what is no address is its own.

    `home` is what a login is remembered with, `customer` what wrong guesses are counted over.
    """
    address = parse_address(client)
    if address is None:
        return client
    length = 24 if isinstance(address, IPv4Address) else 64 if kind == "home" else 48
    host_bits = address.max_prefixlen - length
    return f"{type(address)(int(address) >> host_bits << host_bits)}/{length}"


class SharedByMany:
    """The clients that stand for others and so are never refused: loopback, trusted ranges, gateways' addresses."""

    def __init__(self, networks: Networks, gateways: Collection[str]) -> None:
        self._networks = networks
        self._gateways = frozenset(parse_address(gateway) for gateway in gateways)
        self.covers = lru_cache(maxsize=4096)(self._covers)

    def _covers(self, client: str) -> bool:
        address: Address | None = parse_address(client)
        return address is not None and (
            address.is_loopback or address in self._gateways or self._networks.find(client) is not None
        )
