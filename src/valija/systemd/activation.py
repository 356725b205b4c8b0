"""Sockets that were bound before the server started, by systemd's socket units: $LISTEN_FDS of sd_listen_fds(3).

    handed = handed_sockets(os.environ, os.getpid())
    placed = place_sockets(handed, {"smtpd": [Endpoint("0.0.0.0", 25)]})
    placed.sockets[("smtpd", Endpoint("0.0.0.0", 25))]        # the socket that stands for it
    placed.listen["smtpd"]                                    # where it listens after all
    placed.unused                                             # what nobody listens on

A socket is for the listener whose `listen` names its address. One that is called as a role is
(FileDescriptorName=smtpd) is that role's, wherever it is bound: then the role listens there, and nowhere else. A role
that is off (`listen = []`) stays off. All workers accept from the one socket.

A socket for IPv6 that takes IPv4 clients too, as `ListenStream=25` makes one, stands for `0.0.0.0:25` and `[::]:25`.
"""

import os
import socket
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from valija.mail.endpoint import Endpoint

FIRST: Final = 3  # SD_LISTEN_FDS_START
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_ANY_IPV4, _ANY_IPV6 = "0.0.0.0", "::"  # noqa: S104 compared with, not bound

R = TypeVar("R", bound=str)


@dataclass(frozen=True)
class Handed:
    """One socket: its number, its name, where it is bound (None: it is none for TCP clients), and what it takes."""

    descriptor: int
    name: str
    endpoint: Endpoint | None
    takes_ipv4_too: bool = False

    def __str__(self) -> str:
        where = self.endpoint or "no TCP socket"
        return f"{where} ({self.name}, descriptor {self.descriptor})"

    def stands_for(self, wanted: Endpoint) -> bool:
        """Whether a client of `wanted` comes to this socket."""
        if wanted == self.endpoint:
            return True
        return self.takes_ipv4_too and self.endpoint == Endpoint(_ANY_IPV6, wanted.port) and wanted.host == _ANY_IPV4


@dataclass(frozen=True)
class Placed:
    """What each socket is for, by role and endpoint; where each role listens; and what is left over."""

    sockets: Mapping[tuple[str, Endpoint], Handed]
    listen: Mapping[str, tuple[Endpoint, ...]]
    unused: tuple[Handed, ...]


def handed_sockets(environ: MutableMapping[str, str], pid: int) -> list[Handed]:
    """Return the sockets that were handed to this process, and see that no program it starts takes them for its own."""
    whose, count, names, _ = (environ.pop(name, "") for name in _VARIABLES)
    if whose != str(pid) or not count.isdigit():
        return []
    called = names.split(":") if names else []
    return [
        _described(FIRST + place, called[place] if place < len(called) else "unknown") for place in range(int(count))
    ]


def _described(descriptor: int, name: str) -> Handed:
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
    except OSError:  # a FIFO, a file, or nothing at all
        return Handed(descriptor, name, None)
    try:
        if found.type != socket.SOCK_STREAM or found.family not in (socket.AF_INET, socket.AF_INET6):
            return Handed(descriptor, name, None)
        host, port = found.getsockname()[:2]
        both = found.family == socket.AF_INET6 and not found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        return Handed(descriptor, name, Endpoint(host.partition("%")[0], port), both)
    finally:
        found.detach()


def place_sockets(handed: Sequence[Handed], listeners: Mapping[R, Sequence[Endpoint]]) -> Placed:
    """Return what each socket is for."""
    sockets: dict[tuple[str, Endpoint], Handed] = {}
    listen: dict[str, tuple[Endpoint, ...]] = {}
    for role, endpoints in listeners.items():
        named = [each for each in handed if each.name == role and each.endpoint]
        found = _by_name(named, endpoints) if named and endpoints else _by_address(handed, endpoints)
        listen[role] = tuple(found) if named and endpoints else tuple(endpoints)
        sockets.update(((role, endpoint), each) for endpoint, each in found.items())
    used = set(sockets.values())
    return Placed(sockets, listen, tuple(each for each in handed if each not in used))


def _by_name(named: Iterable[Handed], wanted: Sequence[Endpoint]) -> dict[Endpoint, Handed]:
    """Return where a role listens that sockets are named for: as it was configured, as far as they are bound there."""
    found: dict[Endpoint, Handed] = {}
    for each in named:
        assert each.endpoint
        meant = [endpoint for endpoint in wanted if each.stands_for(endpoint)] or [each.endpoint]
        found.update(dict.fromkeys(meant, each))
    return found


def _by_address(handed: Iterable[Handed], wanted: Sequence[Endpoint]) -> dict[Endpoint, Handed]:
    standing = ((endpoint, each) for endpoint in wanted for each in handed if each.stands_for(endpoint))
    return dict(standing)
