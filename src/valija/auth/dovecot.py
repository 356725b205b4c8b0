"""Logins judged by Dovecot, over its authentication socket.

    backend = DovecotBackend("/run/dovecot/auth-client", log)    # or "inet:127.0.0.1:12345"; inside the loop
    await backend.connected(patience=2.0)        # so that the first EHLO can name the mechanisms
    exchange = backend.start("PLAIN", facts)
    await exchange.respond(b"\\0alice\\0secret")   # Success("alice")
    backend.close()

All logins of a worker share one connection. When that breaks, requests under way are Unavailable, and a new one is
opened at once, then after growing pauses; a login that comes meanwhile asks for another try and waits for it a little,
so that the first one after Dovecot's return succeeds. A silent Dovecot is one that has said nothing for SILENCE
seconds while a request waits: the connection is given up with it.

What is wrong is said once when it begins, with the socket and the Unix permission that is missing, and once when it is
over.
"""

import asyncio
import contextlib
import os
from typing import Final, cast

from valija.auth.backend import Challenge, ConnectionFacts, Exchange, Malformed, Step, Unavailable, Wrong
from valija.auth.dovecot_protocol import LONGEST_RESPONSE, DovecotLink, Nonsense, Verdict
from valija.auth.dovecot_socket import (
    OPENING,
    closed_at_once,
    identity,
    is_silent,
    offers_nothing,
    speaks_nonsense,
    unreachable,
)
from valija.auth.options import INET, host_and_port
from valija.logs import Log
from valija.smtp import sasl

SILENCE: Final = 8.0  # seconds; a wrong password through PAM takes 4, and 454 is due within 10
_FIRST_PAUSE: Final = 0.1  # seconds between two tries to connect
_LONGEST_PAUSE: Final = 5.0
_STEADY: Final = 10.0  # seconds of life after which a connection's end is no reason for pauses


class DovecotAway(Exception):
    """Dovecot can't be asked now; the text says why, and what to do."""


class DovecotBackend:
    """An AuthBackend that asks Dovecot. Made in the loop that will use it."""

    def __init__(self, path: str, log: Log, *, silence: float = SILENCE) -> None:
        self.silence = silence  # seconds for an answer
        self._path = path
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._line: _Line | None = None
        self._known: tuple[str, ...] = ()
        self._said = ""
        self._hurry = asyncio.Event()
        self._opening: asyncio.Future[None] = self._loop.create_future()
        self._keeper = self._loop.create_task(self._keep())

    def close(self) -> None:
        """Leave Dovecot."""
        self._said = self._said or f"{self._path} is not asked any more"
        if self._line is not None:
            self._line.break_off(self._said)
            self._line = None
        self._keeper.cancel()
        if not self._opening.done():
            self._opening.set_result(None)

    async def connected(self, patience: float) -> bool:
        """Wait until Dovecot is there, `patience` seconds at most; return whether it is."""
        with contextlib.suppress(TimeoutError, DovecotAway):
            await asyncio.wait_for(self.line(), patience)
        return self._line is not None

    def mechanisms(self) -> tuple[str, ...]:
        """What Dovecot announced last, without what must not be used; () while it has never been there.

        A mail program that sees no AUTH at all tells its user that the server is set up wrongly: while Dovecot is away,
        454 tells it better.
        """
        return self._known

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange. While Dovecot is away there is one too: it tries again to reach it."""
        name = mechanism.upper()
        if not facts.secured or (self._known and name not in self._known):
            return None
        return _DovecotExchange(self, name, facts)

    async def line(self) -> "_Line":
        """Return the open connection; if there is none, wait for a try to open it. Raises DovecotAway.

        A try that was under way already may have begun before Dovecot came back: a second one is waited for then.
        """
        if self._line is not None and identity(self._path) not in (self._line.identity, None):
            # Dovecot was started anew. Its former process lives on for us alone, and may leave our logins hanging.
            self._line.break_off("Dovecot was started anew")
        if self._line is not None and self._line.broken.done():
            self._line = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.silence):
                for _ in range(2):
                    if self._line is None:
                        self._hurry.set()
                        await asyncio.shield(self._opening)
        if self._line is None:
            raise DovecotAway(self._said or f"{self._path}: no connection in time")
        return self._line

    # The connection

    async def _keep(self) -> None:
        """Keep a connection open."""
        pause = _FIRST_PAUSE
        while True:
            self._hurry.clear()
            began = self._loop.time()
            await self._connection()
            if self._loop.time() - began > _STEADY:
                pause = _FIRST_PAUSE
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _connection(self) -> None:
        """Try to open a connection; return when that failed, or when it has ended."""
        try:
            line = await self._open()
        except DovecotAway as away:
            self._complain(str(away))
            self._tried()
            return
        self._line = line
        self._known = line.link.mechanisms
        self._complain("")
        self._tried()
        why = await asyncio.shield(line.broken)  # which is not the keeper's to cancel
        if self._line is line:
            self._line = None
        self._log.info("connection to Dovecot lost", socket=self._path, reason=why)

    def _tried(self) -> None:
        """Let those go on who waited for this try."""
        opening, self._opening = self._opening, self._loop.create_future()
        opening.set_result(None)

    async def _open(self) -> "_Line":
        line = _Line(self._loop, identity(self._path))
        try:
            async with asyncio.timeout(OPENING):
                await self._connect(line)
                await line.ready
        except TimeoutError:
            line.break_off("silent")
            raise DovecotAway(is_silent(self._path)) from None
        except Nonsense as nonsense:
            raise DovecotAway(speaks_nonsense(self._path, nonsense)) from None
        except ConnectionResetError:
            raise DovecotAway(closed_at_once(self._path)) from None
        except OSError as error:
            raise DovecotAway(unreachable(self._path, error)) from None
        except Exception as fault:  # one of ours, which must not be the end of all tries
            line.break_off("a fault")
            raise DovecotAway(f"{self._path}: {type(fault).__name__}: {fault}") from fault
        except BaseException:
            line.break_off("given up")
            raise
        if not line.link.mechanisms:
            line.break_off("no mechanisms")
            raise DovecotAway(offers_nothing(self._path))
        return line

    async def _connect(self, line: "_Line") -> None:
        if self._path.startswith(INET):
            await self._loop.create_connection(lambda: line, *host_and_port(self._path))
        else:
            await self._loop.create_unix_connection(lambda: line, self._path)

    def _complain(self, why: str) -> None:
        """Write to the log what has changed."""
        if why == self._said:
            return
        if why:
            self._log.error("Dovecot is away, logins get 454 until it is back", reason=why)
        elif self._said:
            self._log.info("Dovecot is back", socket=self._path)
        self._said = why


class _Line(asyncio.Protocol):
    """One connection to Dovecot. `ready` is done when it has introduced itself, `broken` with the reason."""

    def __init__(self, loop: asyncio.AbstractEventLoop, identity: tuple[int, int] | None) -> None:
        self.identity = identity
        self.link = DovecotLink(os.getpid())
        self.ready: asyncio.Future[None] = loop.create_future()
        self.broken: asyncio.Future[str] = loop.create_future()
        self._loop = loop
        self._waiting: dict[int, asyncio.Future[Step]] = {}
        self._heard = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.write(self.link.hello)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            verdicts = self.link.receive(data)
        except Nonsense as nonsense:
            self.break_off(f"it talks nonsense: {nonsense}", nonsense)
            return
        for verdict in verdicts:
            self._tell(verdict)
        if self.link.is_ready and not self.ready.done():
            self.ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        why = f": {exc}" if exc else ""
        self.break_off(f"Dovecot closed the connection{why}", exc or ConnectionResetError("closed by Dovecot"))

    def write(self, octets: bytes) -> None:
        """Write to Dovecot."""
        assert self._transport is not None
        self._transport.write(octets)

    def break_off(self, why: str, error: BaseException | None = None) -> None:
        """Close the connection; whoever waits for a verdict gets none."""
        if self.broken.done():
            return
        self.broken.set_result(why)
        if not self.ready.done():
            self.ready.set_exception(error or ConnectionResetError(why))
            self.ready.exception()  # nobody may be waiting for it
        for future in self._waiting.values():
            if not future.done():
                future.set_result(Unavailable(why))
        if self._transport is not None:
            self._transport.abort()

    async def verdict(self, number: int, patience: float) -> Step:
        """Return what Dovecot says about a request that was written. Cancelled, the request is too."""
        if self.broken.done():
            return Unavailable(self.broken.result())
        waiting: asyncio.Future[Step] = self._loop.create_future()
        self._waiting[number] = waiting
        asked = self._loop.time()
        try:
            async with asyncio.timeout(patience):
                return await waiting
        except TimeoutError:
            if self._heard < asked:
                self.break_off(f"Dovecot has said nothing for {patience:g} s")
            return Unavailable(f"no answer from Dovecot within {patience:g} s")
        finally:
            del self._waiting[number]
            if waiting.cancelled():
                self.forget(number)

    def forget(self, number: int) -> None:
        """Tell Dovecot that nobody waits for a request any more."""
        if not self.broken.done() and (octets := self.link.cancel(number)):
            self.write(octets)

    def _tell(self, verdict: Verdict) -> None:
        waiting = self._waiting.get(verdict.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(verdict.step)


class _DovecotExchange:
    def __init__(self, backend: DovecotBackend, mechanism: str, facts: ConnectionFacts) -> None:
        self._backend = backend
        self._mechanism = mechanism
        self._facts = facts
        self._grammar = sasl.EXCHANGES[mechanism]() if mechanism in sasl.EXCHANGES else None
        self._line: _Line | None = None
        self._number = 0

    async def respond(self, response: bytes | None) -> Step:
        if (step := self._own_ruling(response)) is not None:
            self.cancel()
        elif self._line is None:
            step = await self._begin(response)
        else:
            step = await self._go_on(self._line, response or b"")
        if not isinstance(step, Challenge):
            self._line = None
        return step

    def cancel(self) -> None:
        if self._line is not None:
            self._line.forget(self._number)

    def _own_ruling(self, response: bytes | None) -> Step | None:
        """Return the answer to what Dovecot need not see, None for the rest.

        No password at all is one of them: there are directories that let everybody in then, as nobody (C042).
        """
        if response is not None and len(response) > LONGEST_RESPONSE:
            return Wrong()
        match self._grammar and self._grammar.respond(response):
            case sasl.Malformed():
                return Malformed()
            case sasl.Credentials(authcid=claimed, password=b""):
                return Wrong(claimed)
        return None

    async def _begin(self, response: bytes | None) -> Step:
        try:
            line = await self._backend.line()
        except DovecotAway as away:
            return Unavailable(str(away))
        if self._mechanism not in line.link.mechanisms:  # it was away when the client asked
            return Unavailable(f"Dovecot does not offer {self._mechanism}")
        self._number, octets = line.link.begin(self._mechanism, self._facts, response)
        self._line = line
        line.write(octets)
        return await line.verdict(self._number, self._backend.silence)

    async def _go_on(self, line: _Line, response: bytes) -> Step:
        if not line.broken.done():
            line.write(line.link.go_on(self._number, response))
        return await line.verdict(self._number, self._backend.silence)
