"""What `valija check` finds about the ports to listen on: free, served by the running server, or somebody else's.

    running = find_running(config.data_dir)
    for finding in check_ports(config, running):
        print(finding)

A port is tried by binding it for a moment, without listening. Who holds one that is taken is read from /proc; of other
users' programs only root can see that.
"""

import errno
import os
import socket
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from valija.admin.control import SOCKET_NAME, ControlError, NotRunning, request
from valija.admin.findings import Finding, failure, fine, unknown, warning
from valija.config import Config
from valija.mail.endpoint import Endpoint

PROC: Final = Path("/proc")
_LISTENING: Final = "0A"  # a socket's state in /proc/net/tcp
_PATIENCE: Final = 2.0  # seconds for the running server to tell how it is


class Running(msgspec.Struct, frozen=True):
    """The running server: its processes, the main one first, and where it listens. Without `pids` none runs.

    `why_unknown` says why that could not be found out.
    """

    pids: tuple[int, ...] = ()
    listening: frozenset[str] = frozenset()
    why_unknown: str = ""


class Holder(msgspec.Struct, frozen=True):
    """A program that listens; `pid` is 0 where only root could tell which."""

    pid: int = 0
    program: str = ""


def find_running(data_dir: Path) -> Running:
    """Ask whoever serves the control socket in `data_dir`."""
    try:
        status = cast("dict[str, Any]", request(data_dir / SOCKET_NAME, "status", timeout=_PATIENCE))
    except NotRunning:
        return Running()
    except ControlError as error:
        return Running(why_unknown=str(error))
    pids = (status["pid"], *(worker["pid"] for worker in status["workers"]))
    return Running(pids, frozenset(place for places in status["listening"].values() for place in places))


def check_ports(config: Config, running: Running) -> Iterator[Finding]:
    """Yield the findings; places of which the same is to be said share one."""
    found: dict[Finding, list[str]] = defaultdict(list)
    for role, options in config.listeners.items():
        for endpoint in options.listen:
            found[_state(endpoint, running)].append(f"{role} {endpoint}")
    for endpoint in config.https.listen:
        found[_state(endpoint, running)].append(f"https {endpoint}")
    for endpoint in config.tls.challenge_listen:
        # Nobody listens there but while a certificate is ordered: a server that does not is no surprise.
        found[_state(endpoint, running, always=False)].append(f"acme {endpoint}")
    if running.why_unknown:
        yield unknown("ports", f"whether the server runs cannot be told: {running.why_unknown}", "ask as root")
    for finding, places in found.items():
        yield msgspec.structs.replace(finding, text=f"{', '.join(places)}: {finding.text}")


def _state(endpoint: Endpoint, running: Running, *, always: bool = True) -> Finding:
    """Return how it stands with one place, where a running server listens `always`, or now and then."""
    if str(endpoint) in running.listening:
        return _served(running)
    match bind_error(endpoint):
        case 0 if running.pids and always:
            return warning("ports", "the running server does not listen there", "restart it")
        case 0:
            return fine("ports", "free")
        case errno.EADDRINUSE:
            return _taken(endpoint, running)
        case errno.EACCES if holders(endpoint):
            return _taken(endpoint, running)
        case errno.EACCES:
            return unknown("ports", "nobody listens there, and only root may: started by you, the server could not")
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT if endpoint.host == "::":
            return fine("ports", "not used, as this machine has no IPv6")
        case errno.EADDRNOTAVAIL:
            return failure("ports", "this machine has no such address", "correct it, or use 0.0.0.0 or [::]")
        case code:
            return failure("ports", f"it cannot be bound ({os.strerror(code)})", "choose another address")


def _served(running: Running) -> Finding:
    return fine("ports", f"served by the running server (process {running.pids[0]})")


def _taken(endpoint: Endpoint, running: Running) -> Finding:
    found = holders(endpoint)
    if found and all(_belongs(holder.pid, running) for holder in found):
        return _served(running)
    if running.why_unknown and not any(holder.pid for holder in found):
        return unknown("ports", "somebody listens there; whether it is this server, only root can tell")
    programs = dict.fromkeys(holder.program for holder in found if holder.pid)
    if not programs:
        text = "another program listens there"
        return failure("ports", text, "stop that one, or choose another port; as root, the check tells which it is")
    # The first process of each: a server's others were forked from it.
    pids = {name: min(holder.pid for holder in found if holder.program == name) for name in programs}
    who = " and ".join(f"{name} (process {pid})" for name, pid in pids.items())
    return failure("ports", f"{who} listens there", "stop that one, or choose another port")


def bind_error(endpoint: Endpoint) -> int:
    """Return the error number that binding an endpoint ends with, 0 where it can be bound."""
    family = socket.AF_INET6 if endpoint.is_ipv6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if endpoint.is_ipv6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((endpoint.host, endpoint.port))
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


# Who listens, by /proc


def holders(endpoint: Endpoint) -> list[Holder]:
    """Return the programs that listen where a client of the endpoint would be heard; none where nobody does."""
    inodes = set(_listening_inodes(endpoint))
    if not inodes:
        return []
    found = [Holder(pid, _program(pid)) for pid, inode in _open_sockets() if inode in inodes]
    return found or [Holder()]


def _listening_inodes(endpoint: Endpoint) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        for fields in _lines(PROC / "net" / table):
            if len(fields) > 9 and fields[3] == _LISTENING and _hears(_endpoint(fields[1]), endpoint):
                yield fields[9]


def _hears(bound: Endpoint, wanted: Endpoint) -> bool:
    """Whether a bound socket keeps others from an endpoint. [::] may be for both families: it is if asked for IPv4."""
    if bound.port != wanted.port:
        return False
    if bound.is_ipv6 != wanted.is_ipv6:
        return bound.host == "::"
    return bound.host == wanted.host or any(ip_address(each.host).is_unspecified for each in (bound, wanted))


def _endpoint(text: str) -> Endpoint:
    """Return an address as /proc/net/tcp writes it: words of four octets in the machine's own order."""
    address, _, port = text.partition(":")
    words = (int(address[at : at + 8], 16) for at in range(0, len(address), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return Endpoint(str(ip_address(packed)), int(port, 16))


def _open_sockets() -> Iterator[tuple[int, str]]:
    """Yield (process, inode) of every open socket that this user may see."""
    for folder in PROC.glob("[0-9]*/fd"):
        for link in _entries(folder):
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:["):
                yield int(folder.parent.name), target[8:-1]


def _entries(folder: Path) -> Iterable[str]:
    try:
        return [entry.path for entry in os.scandir(folder)]
    except OSError:
        return []


def _belongs(pid: int, running: Running) -> bool:
    """Whether a process is one of the running server's, or a child of one of them."""
    while pid > 1:
        if pid in running.pids:
            return True
        pid = _parent(pid)
    return False


def _parent(pid: int) -> int:
    try:
        # The name, in parentheses, may hold blanks.
        return int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _program(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return "a program"


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines()[1:]]
    except OSError:
        return []
