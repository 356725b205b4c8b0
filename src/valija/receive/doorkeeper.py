"""Who may come in, by what a client and its network have done lately, counted over all workers.

    shared = SharedArrivals(workers=2)             # in the supervisor, before it forks
    doorkeeper = Doorkeeper(shared, worker=0)      # in a worker
    refusal = doorkeeper.enter("192.0.2.7", limits)
    if refusal is None:
        ...
        doorkeeper.leave("192.0.2.7")

A client is an IPv4 address or an IPv6 /64; a network, which may have NETWORK_SHARE times as much of everything, is a
/24 or a /48. Three things are counted: sessions open at once, connections within a minute (refused ones too: who
hammers on stays out), and recipients within an hour that do not exist. Whoever asks for too many of those is let in
nowhere until the hour is over: no answer of ours tells then who lives here.

Loopback is spared the limits of minute and hour, as others may stand behind it: a proxy, a tunnel.

A client whose mail was taken is *known* for some days: its banner is not held back.

Known weakness: what is known and counted is forgotten when the server starts anew.
"""

from functools import lru_cache
from typing import Final

import msgspec

from valija.auth.digests import DigestTable
from valija.mail.reply import Reply
from valija.occurrences import OccurrenceCounter, OccurrenceTable
from valija.policy.networks import parse_address
from valija.receive.admission import SessionTable, client_of, network_of

NETWORK_SHARE: Final = 4  # what a network may have, as a multiple of one client
MINUTE: Final = 60.0
HOUR: Final = 3600.0
KNOWN_FOR: Final = 14 * 24 * HOUR  # at most; a week at least
_TOLD_FOR: Final = 2 * MINUTE


class ArrivalLimits(msgspec.Struct, frozen=True):
    """What one client may have: sessions at once, connections in a minute, unknown recipients in an hour (0: any)."""

    sessions: int = 50
    connections: int = 300
    unknown_recipients: int = 100


class SharedArrivals:
    """What all workers know, in memory that they share. It begins anew with the server."""

    def __init__(self, workers: int) -> None:
        self.sessions = SessionTable.shared(workers)
        self.connections = OccurrenceTable.shared(workers, MINUTE)
        self.unknown_recipients = OccurrenceTable.shared(workers, HOUR)
        self.known = DigestTable.shared(KNOWN_FOR)
        self.told = DigestTable.shared(_TOLD_FOR, places=4096)


class Doorkeeper:
    """One worker's view: it counts what comes to it and sees everyone's counts."""

    def __init__(self, shared: SharedArrivals, worker: int) -> None:
        self._sessions = shared.sessions.counter(worker)
        self._connections = shared.connections.counter(worker)
        self._unknown = shared.unknown_recipients.counter(worker)
        self._known = shared.known
        self._told = shared.told

    def enter(self, address: str, limits: ArrivalLimits) -> Reply | None:
        """Count a session in, which `leave` must count out; return why it may not stay, None where it may."""
        names = (client_of(address), network_of(address))
        refusal = None
        for name, share in zip(names, (1, NETWORK_SHARE), strict=True):
            if self._sessions.enter(name) > limits.sessions * share:
                refusal = refusal or _too_many("connections", name, "at once", limits.sessions * share)
        return refusal or self._refusal_by_pace(address, limits)

    def leave(self, address: str) -> None:
        """Count a session out."""
        self._sessions.leave(client_of(address))
        self._sessions.leave(network_of(address))

    def _refusal_by_pace(self, address: str, limits: ArrivalLimits) -> Reply | None:
        if is_spared(address):
            return None
        refusal = None
        if limits.connections:
            for name in (client_of(address), network_of(address)):
                self._connections.add(name)
            refusal = _beyond(self._connections, address, limits.connections, "connections", "within a minute")
        return refusal or self.harvest(address, limits.unknown_recipients)

    # Recipients that do not exist

    def count_unknown_recipient(self, address: str) -> None:
        """Count a recipient of a hosted domain that does not exist."""
        if not is_spared(address):
            self._unknown.add(client_of(address))
            self._unknown.add(network_of(address))

    def harvest(self, address: str, limit: int) -> Reply | None:
        """Return the refusal of a client that asks who lives here, None for one that does not."""
        return _beyond(self._unknown, address, limit, "unknown recipients", "within an hour") if limit else None

    # Clients that are known

    def knows(self, address: str) -> bool:
        """Whether mail was taken from a client some days ago, or later."""
        return self._known.holds(client_of(address))

    def remember(self, address: str) -> None:
        """Remember a client that mail was taken from."""
        self._known.remember(client_of(address))

    def is_news(self, address: str, reply: Reply) -> bool:
        """Whether it is worth a line that a client gets this refusal: once in a minute or two."""
        facts = (client_of(address), reply.text)
        if self._told.holds(*facts):
            return False
        self._told.remember(*facts)
        return True


@lru_cache(maxsize=4096)
def is_spared(address: str) -> bool:
    """Whether a client may stand for many: it is this machine."""
    known = parse_address(address)
    return known is not None and known.is_loopback


def _beyond(counter: OccurrenceCounter, address: str, limit: int, what: str, when: str) -> Reply | None:
    for name, most in ((client_of(address), limit), (network_of(address), limit * NETWORK_SHARE)):
        if counter.count(name) > most:
            return _too_many(what, name, when, most)
    return None


def _too_many(what: str, name: str, when: str, most: int) -> Reply:
    return Reply(421, "4.7.0", f"Too many {what} from {name} {when} (at most {most}), try again later")
