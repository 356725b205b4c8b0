"""Binding the listeners' sockets, one per worker and address, before privileges are dropped.

The supervisor keeps every socket open as long as it lives: connections that wait in the backlog of a worker that died
are accepted by its successor. SO_REUSEPORT lets the kernel share an address's clients out among the workers; a socket
that was handed to us is one for all of them.
"""

import errno
import socket
from collections.abc import Mapping, Sequence

from valija.mail.endpoint import Endpoint

BoundSockets = dict[str, list[socket.socket]]


class PortTaken(Exception):
    """An address can't be bound; the message says which, why, and what to do."""


def bind_all(
    listeners: Mapping[str, Sequence[Endpoint]], workers: int, handed: Mapping[tuple[str, Endpoint], int] | None = None
) -> list[BoundSockets]:
    """Return, for each worker, its sockets by role. Raises PortTaken, and then nothing stays bound.

    `handed` are descriptors of sockets that were bound by others (valija/systemd/activation): all workers accept from
    the one.
    """
    bound: list[BoundSockets] = [{role: [] for role in listeners} for _ in range(workers)]
    shared = {descriptor: _taken_over(descriptor) for descriptor in {*(handed or {}).values()}}
    try:
        for role, endpoints in listeners.items():
            for endpoint in filter(_is_possible, endpoints):
                if handed and (role, endpoint) in handed:
                    _share(shared[handed[role, endpoint]], role, bound)
                    continue
                _probe(role, endpoint)
                for worker in bound:
                    worker[role].append(_bind(f"[{role}] listen", endpoint, shared=True))
    except PortTaken:
        close_all(bound)
        raise
    return bound


def _taken_over(descriptor: int) -> socket.socket:
    taken = socket.socket(fileno=descriptor)
    taken.setblocking(False)
    return taken


def _share(taken: socket.socket, role: str, bound: Sequence[BoundSockets]) -> None:
    for worker in bound:
        if taken not in worker[role]:  # one for both families stands for two places
            worker[role].append(taken)


def bind_challenges(setting: str, endpoints: Sequence[Endpoint]) -> list[socket.socket]:
    """Return sockets that are bound and do not listen, for an authority to ask on. Raises PortTaken.

    `setting` is where the configuration names them.
    """
    return bind_alone(f"[tls] {setting}", endpoints)


def bind_alone(setting: str, endpoints: Sequence[Endpoint]) -> list[socket.socket]:
    """Return sockets that are bound, one for each endpoint, for a single process to listen on. Raises PortTaken."""
    bound: list[socket.socket] = []
    try:
        for endpoint in filter(_is_possible, endpoints):
            bound.append(_bind(setting, endpoint, shared=False))
    except PortTaken:
        for each in bound:
            each.close()
        raise
    return bound


def close_all(bound: Sequence[BoundSockets]) -> None:
    """Close every socket."""
    for worker in bound:
        for sockets in worker.values():
            for each in sockets:
                each.close()


def _is_possible(endpoint: Endpoint) -> bool:
    """Whether the machine knows the endpoint's protocol: the default [::] is no fault where there is no IPv6."""
    if not endpoint.is_ipv6 or endpoint.host != "::":
        return True
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _probe(role: str, endpoint: Endpoint) -> None:
    """Raise if another program serves the address: with SO_REUSEPORT alone, two servers would share its clients."""
    _bind(f"[{role}] listen", endpoint, shared=False).close()


def _bind(setting: str, endpoint: Endpoint, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if endpoint.is_ipv6 else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((endpoint.host, endpoint.port))
    except OSError as error:
        bound.close()
        raise PortTaken(_explain(setting, endpoint, error)) from None
    bound.setblocking(False)
    return bound


def _explain(setting: str, endpoint: Endpoint, error: OSError) -> str:
    remedies = {
        "EADDRINUSE": "another program uses it: stop that one, or choose another port",
        "EACCES": "ports below 1024 need root: start valija as root, or by its unit (valija systemd install)",
        "EADDRNOTAVAIL": "this machine has no such address: correct it, or use 0.0.0.0 or [::]",
    }
    name = errno.errorcode.get(error.errno or 0, "")
    return f'{setting} = "{endpoint}": {error.strerror}; {remedies.get(name, "choose another address")}'
