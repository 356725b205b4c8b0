"""An attempt and its errands: who still has to be served, what became of the others, and where it was tried.

    attempt = Attempt(job, loop)           # one call of deliver
    errand = Errand(attempt, job.numbers)  # a part of its recipients that travels through connections
    errand.settle(number, State.DELIVERED, reply, peer)
    outcomes = await attempt.done          # when every recipient has its outcome

An attempt counts its recipients: an outcome for one that is not waiting for any is a fault of ours, and refused.
"""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from valija.mail.endpoint import Endpoint
from valija.mail.job import Job
from valija.mail.origin import TlsFacts
from valija.mail.outcome import Channel, Outcome, State
from valija.mail.reply import Reply


class Target(msgspec.Struct, frozen=True, gc=False):
    """One address of one host."""

    host: str
    address: str
    port: int

    @property
    def endpoint(self) -> Endpoint:
        """Where a connection goes."""
        return Endpoint(self.address, self.port)

    def __str__(self) -> str:
        return f"{self.host}[{self.address}]:{self.port}"


class Peer(msgspec.Struct, frozen=True, gc=False):
    """Who is at the other end, how the channel to it turned out, and what was asked of it (see policy/tls)."""

    target: Target
    channel: Channel = Channel.NONE
    tls: TlsFacts | None = None
    tls_level: str = ""
    tls_source: str = ""


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why a host, or a whole next hop, could not be used. `by_peer`: the reply is the peer's, not our words.

    `unreached`: none of the addresses that were tried gave a connection; `peer` is the last of them. `partial`: the
    next hop has other addresses that may be better, and that one attempt had no room for.
    """

    reply: Reply
    peer: Peer | None = None
    by_peer: bool = False
    permanent: bool = False
    unreached: bool = False
    partial: bool = False


class Attempt:
    """One attempt at the recipients of a job. `began` is in the loop's time; `user` is who takes turns with others."""

    __slots__ = ("_left", "began", "done", "job", "outcomes", "user")

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self.job = job
        self.outcomes: list[Outcome] = []
        self.done: asyncio.Future[list[Outcome]] = loop.create_future()
        self._left = set(job.numbers)
        self.began = loop.time()
        origin = job.origin
        self.user = origin.login or origin.client_address or job.envelope.reverse_path.rpartition("@")[2]

    def settle(self, outcome: Outcome) -> None:
        """Record a recipient's outcome; the attempt is done with the last one."""
        self._left.remove(outcome.number)
        self.outcomes.append(outcome)
        if not self._left and not self.done.done():
            self.done.set_result(self.outcomes)

    def defer_rest(self, reply: Reply) -> None:
        """Defer all that have no outcome yet."""
        for number in sorted(self._left):
            self.settle(Outcome(number, State.DEFERRED, reply))


class Errand:
    """Some recipients of an attempt, on their way.

    `job` is what is sent, where that is not quite the attempt's (see deliver/forwarded). `since` is when it began to
    wait, `begun` when its last transaction began, both in the loop's time.
    """

    __slots__ = ("attempt", "begun", "failure", "job", "numbers", "since", "tried")

    def __init__(
        self,
        attempt: Attempt,
        numbers: Sequence[int],
        tried: frozenset[Target] = frozenset(),
        *,
        job: Job | None = None,
    ) -> None:
        self.attempt = attempt
        self.job = job or attempt.job
        self.numbers = numbers
        self.tried = tried
        self.failure: Failure | None = None
        self.since = 0.0
        self.begun = 0.0

    @property
    def is_abandoned(self) -> bool:
        """Nobody waits for the attempt any more."""
        return self.attempt.done.done()

    def part(self, numbers: Sequence[int]) -> "Errand":
        """Return an errand for some of the recipients."""
        return Errand(self.attempt, numbers, self.tried, job=self.job)

    def settle(
        self,
        number: int,
        state: State,
        reply: Reply,
        peer: Peer,
        *,
        dsn_passed_on: bool = False,
        deliver_by_passed_on: bool = False,
    ) -> None:
        """Record what the peer said about one recipient."""
        target = peer.target
        self.attempt.settle(
            Outcome(
                number,
                state,
                reply,
                target.host,
                target.address,
                peer.channel,
                peer.tls,
                dsn_passed_on,
                peer.tls_level,
                peer.tls_source,
                deliver_by_passed_on=deliver_by_passed_on,
            )
        )

    def fail(self, failure: Failure, numbers: Iterable[int] | None = None) -> None:
        """Record that these recipients, or all, could not be served: failed where it is permanent, else deferred."""
        state = State.FAILED if failure.permanent else State.DEFERRED
        peer = failure.peer
        for number in self.numbers if numbers is None else numbers:
            outcome = Outcome(number, state, failure.reply)
            if peer is not None:
                remote = peer.target.host if failure.by_peer else ""
                address = peer.target.address
                outcome = Outcome(
                    number,
                    state,
                    failure.reply,
                    remote,
                    address,
                    peer.channel,
                    peer.tls,
                    tls_level=peer.tls_level,
                    tls_source=peer.tls_source,
                )
            self.attempt.settle(outcome)
