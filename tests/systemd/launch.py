"""Starts a program as systemd starts a service with sockets: bound and listening, handed over as descriptors 3, 4, ...

    python tests/systemd/launch.py [NAME=]ADDRESS:PORT ... -- PROGRAM ARGUMENT...

`NAME=[::]:PORT/both` takes clients of IPv4 too; `NAME=pipe` is a descriptor that is no socket at all.
"""

import os
import socket
import sys


def bound(where: str) -> int:
    if where == "pipe":
        return os.pipe()[0]
    where, _, both = where.partition("/")
    host, _, port = where.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
    made.bind((host.strip("[]"), int(port)))
    made.listen(128)
    return made.detach()


def main(arguments: list[str]) -> None:
    parting = arguments.index("--")
    wanted, program = arguments[:parting], arguments[parting + 1 :]
    named = [each.partition("=") if "=" in each else ("", "", each) for each in wanted]
    # Well above the numbers that they are to have: none overwrites another.
    descriptors = [os.dup(bound(where)) for _, _, where in named]
    high = [os.open("/dev/null", os.O_RDONLY) for _ in descriptors]
    spare = max([*descriptors, *high]) + 1
    for position, descriptor in enumerate(descriptors):
        os.dup2(descriptor, spare + position)
    for position in range(len(descriptors)):
        os.dup2(spare + position, 3 + position, inheritable=True)
    os.closerange(3 + len(descriptors), spare + len(descriptors))
    os.environ |= {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(descriptors)),
        "LISTEN_FDNAMES": ":".join(name or "valija.socket" for name, _, _ in named),
    }
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
