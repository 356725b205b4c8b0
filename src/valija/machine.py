"""Facts about this machine: its full name, which addresses are its own, and the gateways that clients may hide behind.

    full_host_name()                # "mail.example.org"
    is_local_address("192.0.2.7")   # True where an interface has it; all of 127.0.0.0/8 too
    gateways()                      # {Gateway("192.0.2.1", "default"), Gateway("172.17.0.1", "container bridge")}

Linux only: gateways are read from /proc and /sys; where those are missing there are none to tell of.

Known weaknesses: bridges are told by their usual names (Docker, Podman, CNI, nerdctl). In a container the default
gateway counts as a bridge's where its interface is virtual; a macvlan interface, which leads straight into the LAN,
looks the same.
"""

import fcntl
import os
import re
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from valija.mail.address import AddressError, normalise_domain
from valija.policy.networks import Gateway, GatewayKind, parse_address

_BRIDGE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}|(?:cni|podman|cni-podman|nerdctl)[0-9]+", re.ASCII)
_CONTAINER_MARKS: Final = (".dockerenv", "run/.containerenv", "var/run/secrets/kubernetes.io")
_SIOCGIFADDR: Final = 0x8915
_ROUTE_IS_GATEWAY: Final = 0x0002  # RTF_GATEWAY
_ROOT: Final = Path("/")

_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26
_NLM_F_REQUEST: Final = 1
_RTA_DST: Final = 1
_RTN_LOCAL: Final = 2


def full_host_name() -> str:
    """Return this machine's full name in A-labels; its short name where it has no other, at worst `localhost`.

    Asks the system's resolver only when the machine's own name has no dot.
    """
    name = socket.gethostname()
    for candidate in (name, *([] if "." in name else [_canonical_name(name)])):
        if "." in candidate and not candidate.startswith("localhost"):
            name = candidate
            break
    try:
        return normalise_domain(name)
    except AddressError:
        return "localhost"


def _canonical_name(name: str) -> str:
    try:
        return socket.getaddrinfo(name, None, flags=socket.AI_CANONNAME)[0][3]
    except OSError:
        return ""


def is_local_address(address: str) -> bool:
    """Whether an IP address is this machine's: the kernel's own routing says so."""
    target = parse_address(address)
    if target is None or target.is_unspecified or target.is_multicast:
        return False
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    try:
        return _route_type(family, target.packed) == _RTN_LOCAL
    except OSError:
        return _can_bind(family, str(target))


def _route_type(family: int, target: bytes) -> int:
    """Return the type of the route to an address (rtnetlink(7)), 0 where there is none."""
    route = struct.pack("=BBBBBBBBI", family, 8 * len(target), 0, 0, 0, 0, 0, 0, 0)
    destination = struct.pack("=HH", 4 + len(target), _RTA_DST) + target
    body = route + destination
    header = struct.pack("=IHHII", 16 + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(1.0)
        kernel.send(header + body)
        answer = kernel.recv(8192)
    (kind,) = struct.unpack_from("=H", answer, 4)
    return answer[16 + 7] if kind == _RTM_NEWROUTE else 0


def _can_bind(family: int, address: str) -> bool:
    # Second best: with net.ipv4.ip_nonlocal_bind, as on machines that share an address, every address can be bound.
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def gateways(root: Path = _ROOT) -> frozenset[Gateway]:
    """Return the default gateways and the addresses of container bridges. `root` is where /proc and /sys are found."""
    in_container = any((root / mark).exists() for mark in _CONTAINER_MARKS)
    found = {Gateway(address, _kind(root, interface, in_container)) for address, interface in _default_gateways(root)}
    bridges = {name for name in _interfaces(root) if _BRIDGE.fullmatch(name)}
    return frozenset(found | {Gateway(address, "container bridge") for address in _addresses(root, bridges)})


def bridges(root: Path = _ROOT) -> dict[str, frozenset[str]]:
    """Return the bridges that lead to virtual machines or containers alone, whatever their names, with their addresses.

    One that has an interface of real hardware among its ports leads to the network outside, and is left out.
    """
    devices = root / "sys/class/net"
    virtual = [name for name in _interfaces(root) if _is_virtual_bridge(devices, name)]
    return {name: frozenset(_addresses(root, {name})) for name in virtual}


def _is_virtual_bridge(devices: Path, name: str) -> bool:
    if _BRIDGE.fullmatch(name):
        return True
    if not (devices / name / "bridge").is_dir():
        return name.startswith("veth")
    return not any((devices / port.name / "device").exists() for port in (devices / name / "brif").glob("*"))


def source_addresses() -> list[str]:
    """Return the addresses that connections to the internet leave from, at most one of each family. Sends nothing."""
    return [source for somewhere in ("198.41.0.4", "2001:503:ba3e::2:30") if (source := source_towards(somewhere))]


def source_towards(address: str) -> str:
    """Return the address that a connection to `address` would leave from, `""` without a route. Sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((address, 25))
            return str(asking.getsockname()[0])
    except OSError:
        return ""


def _kind(root: Path, interface: str, in_container: bool) -> GatewayKind:
    # A container that shares the host's network has the host's gateway, behind an interface of real hardware.
    is_virtual = not (root / "sys/class/net" / interface / "device").exists()
    return "container bridge" if in_container and is_virtual else "default"


def _default_gateways(root: Path) -> list[tuple[str, str]]:
    """Return (address, interface) of the default routes that have a gateway."""
    found = []
    for fields in _table(root / "proc/net/route"):
        if len(fields) >= 8 and fields[1] == fields[7] == "00000000" and int(fields[3], 16) & _ROUTE_IS_GATEWAY:
            found.append((str(IPv4Address(struct.pack("=I", int(fields[2], 16)))), fields[0]))
    for fields in _table(root / "proc/net/ipv6_route"):
        if len(fields) >= 10 and fields[0] == "0" * 32 and fields[1] == "00" and fields[4] != "0" * 32:
            found.append((str(IPv6Address(bytes.fromhex(fields[4]))), fields[9]))
    return found


def _interfaces(root: Path) -> list[str]:
    try:
        return os.listdir(root / "sys/class/net")
    except OSError:
        return []


def _addresses(root: Path, interfaces: set[str]) -> set[str]:
    """Return the addresses of some interfaces."""
    ipv6 = {
        str(IPv6Address(bytes.fromhex(fields[0])))
        for fields in _table(root / "proc/net/if_inet6")
        if len(fields) >= 6 and fields[5] in interfaces
    }
    return ipv6 | {address for name in interfaces if (address := _ipv4_address(name))}


def _ipv4_address(interface: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            packed = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return ""  # it has none
    return socket.inet_ntoa(packed[20:24])


def _table(path: Path) -> list[list[str]]:
    """Return the lines of one of the kernel's tables, in fields; nothing where there is no such table."""
    try:
        return [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []
