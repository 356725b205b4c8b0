"""From the addresses of one host to a connection with it: IPv6 and IPv4 raced, each from the right source address.

    session = await dialer.dial(targets, make_session, patience=30.0, pool="bulk", next_hop="example.net")
    if isinstance(session, Failure): ...      # no address of the host answered, and why each of them did not

Who starts when is decided in deliver/race. The first connection wins; the others are closed before anything is said,
and only the winner becomes a session. A single address is one plain connect.

What is learnt goes to deliver/health: an address that refused or was silent, or that was outrun by another one. What
this machine itself lacks (a route, an address to leave from, sockets) says nothing about the peer's address.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from valija.deliver.errand import Failure, Peer, Target
from valija.deliver.health import Health
from valija.deliver.race import Race, running_order
from valija.deliver.session import Session
from valija.deliver.sources import KERNELS_CHOICE, Sources, SourceUnusable
from valija.mail.reply import Reply

MakeSession = Callable[[Target], Session]

_LONGEST_REASON: Final = 600  # characters for all addresses of a host together
_OUR_OWN: Final = frozenset(
    {
        errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM,
        errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM,
    }
)  # fmt: skip


class _Leg(msgspec.Struct, frozen=True, gc=False):
    """A way to a host: one of its addresses, and those of ours to leave from, best first."""

    target: Target
    sources: Sequence[str]


class _Misses:
    """Why each of the addresses gave no connection."""

    def __init__(self) -> None:
        self._reasons: dict[Target, str] = {}

    def add(self, target: Target, why: str) -> None:
        self._reasons[target] = why

    def add_rest(self, targets: Iterable[Target], why: str) -> None:
        for target in targets:
            self._reasons.setdefault(target, why)

    def failure(self) -> Failure:
        (first, why), *others = self._reasons.items()
        text = f"No connection to {first}: {why}"
        text += "".join(f"; [{target.address}]: {reason}" for target, reason in others)
        last = others[-1][0] if others else first
        return Failure(Reply(450, "4.4.1", text[:_LONGEST_REASON]), Peer(last), unreached=True)


class Dialer:
    """Makes connections."""

    def __init__(self, health: Health, sources: Sources) -> None:
        self._health = health
        self._sources = sources

    async def dial(
        self,
        targets: Sequence[Target],
        make_session: MakeSession,
        *,
        patience: float,
        pool: str = "",
        next_hop: str = "",
        is_relayhost: bool = False,
    ) -> Session | Failure:
        """Return a session with one of the addresses of a host, before its banner; they share `patience` seconds.

        `pool` names the source addresses to leave from, `next_hop` decides among them. A relayhost does not care for
        the reverse name of a source address.
        """
        misses = _Misses()
        legs = self._legs(targets, misses, pool, next_hop)
        if len(legs) == 1:
            return await self._walk(legs[0], make_session, patience, misses)
        legs, reserves = (legs, 0) if is_relayhost else self._with_reserves(legs)
        won = await self._run(legs, reserves, patience, misses)
        return await _session(won[0], make_session, won[1]) if won else misses.failure()

    def _legs(self, targets: Sequence[Target], misses: _Misses, pool: str, next_hop: str) -> list[_Leg]:
        """Return the ways there are, in the order they are tried."""
        now = asyncio.get_running_loop().time()
        health = self._health
        if len(targets) > 1:
            targets = running_order(
                targets,
                ipv6_first=health.prefers_ipv6(now),
                is_suspect=lambda target: not health.usable(target.endpoint, now),
            )
        legs = []
        for target in targets:
            if sources := self._sources.towards(target.address, pool=pool, next_hop=next_hop):
                legs.append(_Leg(target, sources))
            else:
                family = "IPv6" if target.endpoint.is_ipv6 else "IPv4"
                misses.add(target, f"the pool {pool} has no {family} address to leave from")
        return legs

    def _with_reserves(self, legs: list[_Leg]) -> tuple[list[_Leg], int]:
        """Return the legs with those at the end that are for an emergency, and how many these are."""
        poor = self._sources.poor([(leg.target.address, leg.sources) for leg in legs])
        numbers = sorted(range(len(legs)), key=lambda number: number in poor)
        return [legs[number] for number in numbers], len(poor)

    async def _walk(self, leg: _Leg, make_session: MakeSession, patience: float, misses: _Misses) -> Session | Failure:
        """Try the only address there is."""
        loop = asyncio.get_running_loop()
        target = leg.target
        self._health.trying(target.endpoint, loop.time())
        try:
            async with asyncio.timeout(patience):
                if leg.sources is KERNELS_CHOICE:
                    _, session = await loop.create_connection(lambda: make_session(target), target.address, target.port)
                    return session
                return await _session(leg, make_session, await self._connect(leg))
        except OSError as error:
            self._note_miss(leg, error, patience, misses)
        return misses.failure()

    async def _run(
        self, legs: Sequence[_Leg], reserves: int, patience: float, misses: _Misses
    ) -> tuple[_Leg, socket.socket] | None:
        """Let the legs race; return the winner with its connection, None where there is none."""
        loop = asyncio.get_running_loop()
        race = Race(len(legs), began=loop.time(), patience=patience, reserves=reserves)
        runners: dict[asyncio.Task[socket.socket], int] = {}
        try:
            while not race.is_over(now := loop.time()):
                while (number := race.due(now)) is not None:
                    runners[self._start(legs[number], now)] = number
                wait = max(0.0, race.wakes_at() - now)
                done, _ = await asyncio.wait(runners, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                for runner in sorted(done, key=runners.__getitem__):
                    number = runners.pop(runner)
                    if (error := runner.exception()) is None:
                        self._note_outrun(legs[number], [legs[each] for each in race.outrun_by(number)])
                        return legs[number], runner.result()
                    race.failed(number)
                    self._note_miss(legs[number], error, patience, misses)
            for number in runners.values():
                self._note_miss(legs[number], TimeoutError(), patience, misses)
            misses.add_rest([leg.target for leg in legs], "not tried in time")
            return None
        finally:
            _call_off(runners)

    def _start(self, leg: _Leg, now: float) -> "asyncio.Task[socket.socket]":
        self._health.trying(leg.target.endpoint, now)
        return asyncio.get_running_loop().create_task(self._connect(leg))

    async def _connect(self, leg: _Leg) -> socket.socket:
        """Return a socket that is connected. Raises OSError."""
        target = leg.target
        family = socket.AF_INET6 if target.endpoint.is_ipv6 else socket.AF_INET
        # With its protocol named, or asyncio does not turn Nagle's algorithm off.
        opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            opened.setblocking(False)
            if leg.sources is not KERNELS_CHOICE:
                self._sources.bind(opened, leg.sources)
            await asyncio.get_running_loop().sock_connect(opened, (target.address, target.port))
        except BaseException:
            opened.close()
            raise
        return opened

    def _note_miss(self, leg: _Leg, error: BaseException, patience: float, misses: _Misses) -> None:
        if not isinstance(error, OSError):
            raise error
        why = _why(error, patience)
        misses.add(leg.target, why)
        if error.errno not in _OUR_OWN:
            self._health.failed(leg.target.endpoint, asyncio.get_running_loop().time(), why)

    def _note_outrun(self, winner: _Leg, losers: Iterable[_Leg]) -> None:
        now = asyncio.get_running_loop().time()
        for leg in losers:
            self._health.outrun(leg.target.endpoint, now, winner.target.endpoint)


async def _session(leg: _Leg, make_session: MakeSession, connection: socket.socket) -> Session:
    loop = asyncio.get_running_loop()
    try:
        _, session = await loop.create_connection(lambda: make_session(leg.target), sock=connection)
    except BaseException:
        connection.close()
        raise
    return session


def _call_off(runners: Iterable["asyncio.Task[socket.socket]"]) -> None:
    """End attempts that nobody needs any more; a connection that was made all the same is closed unused."""
    for runner in runners:
        runner.cancel()
        runner.add_done_callback(_close_unused)


def _close_unused(runner: "asyncio.Task[socket.socket]") -> None:
    if not runner.cancelled() and runner.exception() is None:
        runner.result().close()


def _why(error: OSError, patience: float) -> str:
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"no answer within {patience:g} s"
    if isinstance(error, SourceUnusable) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)
