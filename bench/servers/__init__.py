"""The servers that are measured: valija (servers/valija) and its peers (servers/peer), all with one face.

    with start("postfix", setting, next_hop=2600) as server:
        server.smtpd, server.submission      # ports on 127.0.0.1
        server.usage.cpu()

Each starts empty, in a folder of its own that is removed afterwards, relays everything to the sink at `next_hop`,
and is run as its users would: durability, log and limits as it ships. `start` raises ServerFault with the server's last
words.
"""

from contextlib import AbstractContextManager
from typing import Protocol

from bench.servers import peer, valija
from bench.servers.fault import ServerFault
from bench.setting import Setting
from bench.usage import Usage

__all__ = ["Server", "ServerFault", "installed", "start"]

VALIJA = "valija"


class Server(Protocol):
    """A server that runs. `submission` is the port for STARTTLS and AUTH PLAIN, where it has one."""

    smtpd: int
    submission: int
    usage: Usage


def installed(setting: Setting) -> list[str]:
    """Return the servers that can be measured here, valija first."""
    return [VALIJA, *peer.installed(setting.home)]


def start(name: str, setting: Setting, next_hop: int) -> AbstractContextManager[Server]:
    """Start a server with its accounts; `next_hop` is the sink's port."""
    if name == VALIJA:
        return valija.Valija(setting, next_hop, accounts=True)
    return peer.Peer(name, setting, next_hop)
