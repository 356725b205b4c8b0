"""Both ends of a connection.

peer = peer_of(transport, with_own_end=True)
peer.address        # "192.0.2.7"
"""

import asyncio

import msgspec


class Peer(msgspec.Struct, frozen=True, gc=False):
    """Both ends of the connection; an address that is not known is `""`."""

    address: str
    port: int
    local_address: str = ""
    local_port: int = 0


def peer_of(transport: asyncio.BaseTransport, *, with_own_end: bool) -> Peer:
    """Return who is there; under uvloop `peername` may be None, and an unknown address is never trusted.

    Our own end costs a system call, and is asked for only where logins are told of it.
    """
    remote = transport.get_extra_info("peername") or ("", 0)
    if not with_own_end:
        return Peer(str(remote[0]), int(remote[1]))
    local = transport.get_extra_info("sockname") or ("", 0)
    return Peer(str(remote[0]), int(remote[1]), str(local[0]), int(local[1]))
