"""Free ports on loopback, below the range that the kernel takes for clients."""

import socket
from itertools import count
from random import SystemRandom

_FIRST, _LAST = 12_000, 32_000


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(number: int) -> int:
    """Return the first of `number` ports in a row that nobody listens on."""
    start = SystemRandom().randrange(_LAST - _FIRST)
    for step in count(step=number):
        port = _FIRST + (start + step) % (_LAST - _FIRST)
        if all(_is_free(port + place) for place in range(number)):
            return port
    raise AssertionError("unreachable: the candidates never end")
