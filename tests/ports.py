"""Free loopback ports for tests, below the ephemeral range, and none of them twice in a run."""

import itertools
import os
import random
import socket
from collections.abc import Iterator

FIRST, LAST = 12_000, 32_000


def _candidates() -> Iterator[int]:
    """Every port once, from a place that differs between test runs on one machine."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = random.SystemRandom().randrange(FIRST, LAST)
    for step in itertools.count():
        port = FIRST + (start - FIRST + step) % (LAST - FIRST)
        if port % 8 == worker % 8:
            yield port


_ports = _candidates()


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on at `address`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in _ports:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the candidates never end")
