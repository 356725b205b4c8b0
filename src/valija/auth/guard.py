"""The guard before a back end: it lets logins through at their pace, and does not ask twice about a right one.

    backend = GuardedBackend(DovecotBackend(path, log), throttle, name=system_name, good=good)
    exchange = backend.start("PLAIN", facts)
    await exchange.respond(b"\\0alice\\0secret")     # Success("alice"), or Throttled("alice"): nobody was asked

The responses of PLAIN and LOGIN are held back until name and password are there. Of other mechanisms the first response
tells the name, and every response is passed on.

With `good`, a login that was right a moment ago is answered from memory (auth/good_logins), behind the throttle, so
that the memory cannot be guessed at faster than the back end. A wrong password has everything that is remembered of its
login verified again.

With a `desk`, strangers' passwords are verified a few at a time (auth/desk): for a back end that is ours to keep from
being overrun.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from valija.auth.backend import (
    AuthBackend,
    Challenge,
    ConnectionFacts,
    Exchange,
    Malformed,
    Step,
    Success,
    Throttled,
    Wrong,
)
from valija.auth.claim import claimed_name
from valija.auth.desk import Desk
from valija.auth.good_logins import GoodLogins
from valija.auth.throttle import Attempt, Throttle
from valija.smtp import sasl

_LONGEST_NAME: Final = 256  # characters that are looked at: no name is longer
_SPELLINGS_AT_MOST: Final = 10_000


class GuardedBackend:
    """An AuthBackend before another. `name` gives the one spelling that a claimed login is counted under."""

    def __init__(
        self,
        inner: AuthBackend,
        throttle: Throttle,
        *,
        name: Callable[[str], str],
        good: GoodLogins | None = None,
        desk: Desk | None = None,
    ) -> None:
        self.throttle = throttle
        self.desk = desk
        self._inner = inner
        self._name = lru_cache(maxsize=1024)(lambda login: name(login)[:_LONGEST_NAME])
        self._good = good
        self._spelt: dict[str, str] = {}  # a claimed login, and the back end's spelling of it

    def mechanisms(self) -> tuple[str, ...]:
        """Those of the back end."""
        return self._inner.mechanisms()

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange, where the back end would."""
        inner = self._inner.start(mechanism, facts)
        if inner is None:
            return None
        grammar = sasl.EXCHANGES.get(mechanism.upper())
        if grammar is not None:
            return _HeldBack(self, inner, facts.client_address, grammar())
        return _PassedOn(self, inner, facts.client_address, mechanism.upper())

    def close(self) -> None:
        """Close the back end."""
        self._inner.close()

    async def admit(self, login: str, client: str, guess: bytes | None) -> Attempt | None:
        """Wait until a login may go on; None where it must not."""
        return await self.throttle.admit(self._name(login[:_LONGEST_NAME]), client, guess)

    # Right a moment ago

    def remembered(self, claim: sasl.Credentials) -> Success | None:
        """Return what the back end said a moment ago, None where it has to be asked."""
        login = self._spelt.get(claim.authcid)
        if login is None or self._good is None or claim.authzid not in ("", claim.authcid):
            return None
        return Success(login) if self._good.holds(self._name(login), claim.password, login) else None

    def learn(self, claim: sasl.Credentials, step: Step) -> None:
        """Remember what the back end said."""
        if self._good is None:
            return
        if isinstance(step, Success):
            if len(self._spelt) >= _SPELLINGS_AT_MOST:
                self._spelt.clear()
            self._spelt[claim.authcid] = step.login
            self._good.remember(self._name(step.login), claim.password, step.login)
        elif isinstance(step, Wrong):
            self._good.forget(self._name(claim.authcid[:_LONGEST_NAME]))


class _HeldBack:
    """An exchange of PLAIN or LOGIN: the back end hears of it when it is complete."""

    def __init__(
        self, guard: GuardedBackend, inner: Exchange, client: str, grammar: sasl.PlainExchange | sasl.LoginExchange
    ) -> None:
        self._guard = guard
        self._inner = inner
        self._client = client
        self._grammar = grammar
        self._responses: list[bytes | None] = []

    async def respond(self, response: bytes | None) -> Step:
        self._responses.append(response)
        match self._grammar.respond(response):
            case sasl.Challenge(data):
                return Challenge(data)
            case sasl.Credentials() as claim:
                return await self._judge(claim)
            case _:
                return Malformed()

    def cancel(self) -> None:
        self._inner.cancel()

    async def _judge(self, claim: sasl.Credentials) -> Step:
        attempt = await self._guard.admit(claim.authcid, self._client, claim.password)
        if attempt is None:
            return Throttled(claim.authcid)
        if success := self._guard.remembered(claim):
            attempt.was_right()
            return success
        with _Ending(attempt) as ending:
            step = ending.step = await self._ask_in_turn(claim.authcid, attempt)
        self._guard.learn(claim, step)
        return step

    async def _ask_in_turn(self, login: str, attempt: Attempt) -> Step:
        desk = self._guard.desk
        if desk is None or attempt.is_familiar:
            return await self._ask()
        if not await desk.come():
            self._guard.throttle.refused += 1
            return Throttled(login)
        try:
            return await self._ask()
        finally:
            desk.leave()

    async def _ask(self) -> Step:
        step: Step = Malformed()
        for response in self._responses:
            step = await self._inner.respond(response)
            if not isinstance(step, Challenge):
                break
        return step


class _PassedOn:
    """An exchange of another mechanism, such as SCRAM."""

    def __init__(self, guard: GuardedBackend, inner: Exchange, client: str, mechanism: str) -> None:
        self._guard = guard
        self._inner = inner
        self._client = client
        self._mechanism = mechanism
        self._attempt: Attempt | None = None

    async def respond(self, response: bytes | None) -> Step:
        if response is None:
            return await self._inner.respond(response)  # nothing is claimed yet
        if self._attempt is None:
            login = claimed_name(self._mechanism, response)
            self._attempt = await self._guard.admit(login, self._client, None)
            if self._attempt is None:
                self._inner.cancel()
                return Throttled(login)
        with _Ending(self._attempt) as ending:
            step = ending.step = await self._inner.respond(response)
        return step

    def cancel(self) -> None:
        self._inner.cancel()
        if self._attempt is not None:
            self._attempt.undecided()


class _Ending:
    """Tells an attempt how it ended, once it has."""

    def __init__(self, attempt: Attempt) -> None:
        self.step: Step | None = None  # an exception, or a client that is gone
        self._attempt = attempt

    def __enter__(self) -> "_Ending":
        return self

    def __exit__(self, *_: object) -> None:
        match self.step:
            case Success():
                self._attempt.was_right()
            case Wrong():
                self._attempt.was_wrong()
            case Challenge():
                return  # it goes on
            case _:
                self._attempt.undecided()
