"""The server knows itself, by name and by address: mail that would come back to an own listener is not delivered.

    ourselves = Ourselves("mail.example.org", (Endpoint("0.0.0.0", 25), Endpoint("::1", 2525)), is_local_address)
    ourselves.is_own_name("MAIL.example.org.")         # True
    ourselves.is_own_listener("127.0.0.2", 25)         # True: a wildcard listener is reached by every local address
    ourselves.is_own_listener("127.0.0.1", 2525)       # False: nobody of ours listens there

`[::]` is IPv6 only, as the listeners' sockets are; IPv4-mapped addresses are the IPv4 ones they stand for.

Known weakness: an address of ours that a router translates (a public address in front of a private one) is not
recognised; the count of Received fields ends such a loop.
"""

from collections.abc import Callable

import msgspec

from valija.mail.address import AddressError, normalise_domain
from valija.mail.endpoint import Endpoint
from valija.mail.fault import Fault
from valija.policy.networks import Address, parse_address
from valija.policy.next_hop import NextHop


class Ourselves(msgspec.Struct, frozen=True):
    """What the server is called and where it listens.

    `is_local_address` tells whether an IP address is one of this machine's: the caller knows (see valija/machine).
    """

    hostname: str
    listeners: tuple[Endpoint, ...]
    is_local_address: Callable[[str], bool]

    def is_own_name(self, name: str) -> bool:
        """Whether a host name is ours, in any case, with or without its final dot."""
        return _normalise(name) == _normalise(self.hostname)

    def is_own_listener(self, address: str, port: int) -> bool:
        """Whether a connection to this address and port would reach one of the own listeners."""
        target = _reached(address)
        if target is None:
            return False
        hosts = [parse_address(listener.host) for listener in self.listeners if listener.port == port]
        if target in hosts:
            return True
        wildcards = any(host is not None and host.is_unspecified and host.version == target.version for host in hosts)
        return wildcards and (target.is_loopback or self.is_local_address(str(target)))

    def has_port(self, port: int) -> bool:
        """Whether one of the own listeners has this port."""
        return any(listener.port == port for listener in self.listeners)


def relayhost_fault(relayhost: NextHop, ourselves: Ourselves, default_port: int) -> Fault | None:
    """Return the fault of a relayhost that names one of the own listeners. Any other is taken at its word.

    `default_port` is the port MX hosts are reached on, which a relayhost without a port means.
    """
    port = relayhost.port or default_port
    if parse_address(relayhost.host) is not None:
        is_own = ourselves.is_own_listener(relayhost.host, port)
    elif relayhost.host == "localhost":
        is_own = any(ourselves.is_own_listener(address, port) for address in ("127.0.0.1", "::1"))
    else:
        is_own = ourselves.is_own_name(relayhost.host) and ourselves.has_port(port)
    if not is_own:
        return None
    return Fault(
        str(relayhost), f"port {port} there is this server's own: mail would go round in circles", "name another server"
    )


def _reached(address: str) -> Address | None:
    """Return the address a connection to `address` reaches: to the unspecified one it goes to loopback (Linux)."""
    target = parse_address(address)
    if target is not None and target.is_unspecified:
        return parse_address("127.0.0.1" if target.version == 4 else "::1")
    return target


def _normalise(name: str) -> str:
    try:
        return normalise_domain(name)
    except AddressError:
        return name
