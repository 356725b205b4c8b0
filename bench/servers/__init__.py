"""The servers that are measured: valija (servers/valija) and its peers (servers/peer), all with one face.

    with start("postfix", setting, next_hop=2600) as server:
        server.smtpd, server.submission      # ports on 127.0.0.1
        server.usage.cpu()

Each starts empty, in a folder of its own that is removed afterwards, relays everything to the sink at `next_hop`,
and is run as its users would: durability, log and limits as it ships. `start` raises ServerFault with the server's last
words.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

from bench.servers import peer, valija
from bench.servers.fault import ServerFault
from bench.setting import Setting
from bench.usage import Usage, nobody

__all__ = ["STRAIGHT", "VALIJA", "WITH_DOVECOT", "Server", "ServerFault", "installed", "start"]

VALIJA: Final = "valija"
WITH_DOVECOT: Final = "valija-dovecot"
"""valija with the logins of its peer: Dovecot judges them."""
STRAIGHT: Final = "(none)"
"""No server at all: the load goes straight to the sink. It tells what the tools need for themselves."""


class Server(Protocol):
    """A server that runs. `submission` is the port for STARTTLS and AUTH PLAIN, where it has one."""

    smtpd: int
    submission: int
    usage: Usage


class _Straight:
    """The sink in the place of a server."""

    def __init__(self, port: int) -> None:
        self.smtpd = self.submission = port
        self.usage = nobody()


def installed(setting: Setting) -> list[str]:
    """Return the servers that can be measured here, valija first."""
    peers = peer.installed(setting.home)
    return [VALIJA, *([WITH_DOVECOT] if "postfix-dovecot" in peers else []), *peers, STRAIGHT]


def start(name: str, setting: Setting, next_hop: int, *, accounts: int = 0) -> AbstractContextManager[Server]:
    """Start a server; `next_hop` is the sink's port. Its accounts u1@src.test ... have the passwords secret1 ..."""
    if name == VALIJA:
        return valija.Valija(setting, next_hop, accounts=accounts)
    if name == WITH_DOVECOT:
        return valija.ValijaWithDovecot(setting, next_hop)
    if name == STRAIGHT:
        return nullcontext(_Straight(next_hop))
    return peer.Peer(name, setting, next_hop)
