"""Who may come in, by what a client and its network have done lately, counted over all workers.

    shared = SharedArrivals(workers=2)                         # in the supervisor, before it forks
    doorkeeper = Doorkeeper(shared, worker=0).at("smtpd")      # in a worker
    visit = doorkeeper.enter("192.0.2.7", limits)
    if visit.refusal is None: ...
    doorkeeper.leave(visit)

A client is an IPv4 address or an IPv6 /64; a network, which may have NETWORK_SHARE times as much of everything, is a
/24 or a /48. Three things are counted: sessions open at once, connections within a minute (refused ones too: who
hammers on stays out), and recipients within an hour that do not exist. Whoever asks for too many of those is let in
nowhere until the hour is over: no answer of ours tells then who lives here.

Each door (a listener's role) counts for itself: an office where one machine floods port 25 goes on handing in mail at
465. A client whose mail was taken is *known* at that door for some days: its banner is not held back, and neighbours
that nobody knows may flood as they like, as those of a network that are known are counted apart. It may have as much of
minute and hour as its network: mailing lists and forwarders have members that have moved.

Clients that many may stand behind (loopback, gateways) are spared the limits of minute and hour.

Known weakness: what is known and counted is forgotten when the server starts anew.
"""

from collections.abc import Callable, Sequence
from copy import copy
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

_AT_ONCE: Final = "connections from {} at once"
_WITHIN_A_MINUTE: Final = "connections from {} within a minute"
_UNKNOWN: Final = "unknown recipients from {} within an hour"


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


class Caller(msgspec.Struct, frozen=True):
    """A client as it is counted: under its own name, and its network's among those that are known, or that are not."""

    address: str
    names: tuple[str, str]
    is_known: bool


class Visit(msgspec.Struct, frozen=True):
    """A session that was counted in, and why it may not stay."""

    caller: Caller
    refusal: Reply | None


class Doorkeeper:
    """One worker's view: it counts what comes to it and sees everyone's counts.

    `is_shared` tells of a client's address whether many may stand behind it.
    """

    def __init__(self, shared: SharedArrivals, worker: int) -> None:
        self.is_shared: Callable[[str], bool] = is_this_machine
        self._door = ""
        self._sessions = shared.sessions.counter(worker)
        self._connections = shared.connections.counter(worker)
        self._unknown = shared.unknown_recipients.counter(worker)
        self._known = shared.known
        self._told = shared.told

    def at(self, door: str) -> "Doorkeeper":
        """Return the doorkeeper of one door of this worker, which has counts of its own."""
        keeper = copy(self)
        keeper._door = door
        return keeper

    def enter(self, address: str, limits: ArrivalLimits) -> Visit:
        """Count a session in, which `leave` must count out, also where it may not stay."""
        caller = self._caller(address)
        open_now = [self._sessions.enter(name) for name in caller.names]
        by_sessions = _beyond(open_now, address, (limits.sessions, limits.sessions * NETWORK_SHARE), _AT_ONCE)
        by_pace = None if self.is_shared(address) else self._refusal_by_pace(caller, limits)
        return Visit(caller, by_sessions or by_pace)

    def leave(self, visit: Visit) -> None:
        """Count a session out."""
        for name in visit.caller.names:
            self._sessions.leave(name)

    def _caller(self, address: str) -> Caller:
        is_known = self.knows(address)
        kind = "known" if is_known else "new"
        names = f"{self._door} {client_of(address)}", f"{self._door} {kind} {network_of(address)}"
        return Caller(address, names, is_known)

    def _refusal_by_pace(self, caller: Caller, limits: ArrivalLimits) -> Reply | None:
        refusal = None
        if limits.connections:
            for name in caller.names:
                self._connections.add(name)
            refusal = _too_often(self._connections, caller, limits.connections, _WITHIN_A_MINUTE)
        return refusal or self._refusal_by_harvest(caller, limits.unknown_recipients)

    # Recipients that do not exist

    def count_unknown_recipient(self, address: str) -> None:
        """Count a recipient of a hosted domain that does not exist."""
        if not self.is_shared(address):
            for name in self._caller(address).names:
                self._unknown.add(name)

    def harvest(self, address: str, limit: int) -> Reply | None:
        """Return the refusal of a client that asks who lives here, None for one that does not."""
        return self._refusal_by_harvest(self._caller(address), limit)

    def _refusal_by_harvest(self, caller: Caller, limit: int) -> Reply | None:
        return _too_often(self._unknown, caller, limit, _UNKNOWN) if limit else None

    # Clients that are known

    def knows(self, address: str) -> bool:
        """Whether mail was taken from a client some days ago, or later."""
        return self._known.holds(self._door, client_of(address))

    def remember(self, address: str) -> None:
        """Remember a client that mail was taken from."""
        self._known.remember(self._door, client_of(address))

    def is_news(self, refusal: Reply) -> bool:
        """Whether a refusal is worth a line: once in a minute or two for who is named in it, a client or a network."""
        if self._told.holds(refusal.text):
            return False
        self._told.remember(refusal.text)
        return True


@lru_cache(maxsize=4096)
def is_this_machine(address: str) -> bool:
    """Whether a client has a loopback address: a proxy or a tunnel may stand there for many."""
    known = parse_address(address)
    return known is not None and known.is_loopback


def _too_often(counter: OccurrenceCounter, caller: Caller, limit: int, what: str) -> Reply | None:
    """Return the refusal of a client by what it did lately; one that is known may do as much as its network."""
    counts = [counter.count(name) for name in caller.names]
    most = limit * NETWORK_SHARE
    return _beyond(counts, caller.address, (most if caller.is_known else limit, most), what)


def _beyond(counts: Sequence[int], address: str, limits: tuple[int, int], what: str) -> Reply | None:
    """Return the refusal of a client where its own count, or else its network's, is beyond the limit."""
    for count, limit, name in zip(counts, limits, (client_of(address), network_of(address)), strict=True):
        if count > limit:
            return Reply(421, "4.7.0", f"Too many {what.format(name)} (at most {limit}), try again later")
    return None
