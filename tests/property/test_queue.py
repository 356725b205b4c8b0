"""The embedded store does what the reference store does, whatever is asked of it in whatever order."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from tests.queue.samples import LogLines, SetClock, message, news
from valija.content.reported import ReportKind
from valija.mail.job import QueueId
from valija.mail.outcome import State
from valija.queue.identity import IdSource
from valija.queue.memory import MemoryStore
from valija.queue.sqlite import SqliteStore
from valija.queue.store import Claim, Settled, Settlement, Unreported

T = TypeVar("T")
DOMAINS = ("x.example", "y.example", "z.example")
addresses = st.lists(
    st.sampled_from([f"{local}@{domain}" for local in "ab" for domain in DOMAINS]), min_size=1, max_size=4
)
skips = st.frozensets(st.sampled_from(DOMAINS), max_size=2)
states = st.sampled_from(list(State))
some_news = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(list(ReportKind))), max_size=3).map(
    lambda pairs: tuple(each for number, kind in pairs for each in news(number, kind=kind))
)


class TwoStores(RuleBasedStateMachine):
    """Asks both the same; every answer must be the same."""

    messages = Bundle("messages")
    claims = Bundle("claims")

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.clock = SetClock()
        self.loop = asyncio.new_event_loop()
        self.memory = MemoryStore(IdSource(0, self.clock), self.clock)
        self.loop.run_until_complete(self.open())

    async def open(self) -> None:
        self.sqlite = SqliteStore.open(self.folder, 0, clock=self.clock, log=LogLines().log)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.sqlite.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    def same(self, one: Awaitable[T], other: Awaitable[T]) -> T:
        async def both() -> tuple[T, T]:
            return await one, await other

        expected, found = self.loop.run_until_complete(both())
        assert found == expected
        return expected

    @rule(
        target=messages,
        to=addresses,
        claim=st.booleans(),
        age=st.sampled_from([0, 0, 60, -60]),
        wait=st.sampled_from([None, None, 400.0, 5000.0]),
    )
    def put(self, to: list[str], claim: bool, age: float, wait: float | None) -> QueueId:
        queue_id = self.memory.new_id()
        assert self.sqlite.new_id() == queue_id
        new = message(*to, arrived=self.clock.now - age, hold_until=self.clock.now + wait if wait else 0.0)
        self.same(self.memory.put(queue_id, new, claim=claim), self.sqlite.put(queue_id, new, claim=claim))
        return queue_id

    @rule(target=claims, limit=st.integers(100, 200), skip=skips, but=st.frozensets(messages, max_size=2))
    def claim(self, limit: int, skip: frozenset[str], but: frozenset[QueueId]) -> object:
        async def in_order(store: MemoryStore | SqliteStore) -> list[Claim]:
            claims = await store.claim(self.clock.now, limit, skip, but)
            return sorted(claims, key=lambda claim: claim.queue_id)  # equal times may come in any order

        return multiple(*self.same(in_order(self.memory), in_order(self.sqlite)))

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        self.same(self.memory.release([claim]), self.sqlite.release([claim]))

    @rule(
        claim=claims,
        data=st.data(),
        wait=st.sampled_from([0.0, 300.0, 1e6]),
        warned=st.booleans(),
        overdue=st.booleans(),
        kept=some_news,
    )
    def settle(
        self, claim: Claim, data: st.DataObject, wait: float, warned: bool, overdue: bool, kept: tuple[Unreported, ...]
    ) -> None:
        settled = []
        for due in claim.due:
            state = data.draw(states)
            again = self.clock.now + wait if state is State.DEFERRED else 0.0
            settled.append(Settled(due.number, state, f"said {state}", again, warned, overdue))
        reports = (message("alice@example.org", reverse_path="", arrived=self.clock.now),) * data.draw(
            st.integers(0, 2)
        )
        if kept:
            settlement = Settlement(claim.queue_id, tuple(settled), news=kept)
        else:
            ended = claim.only and not reports and all(each.state is not State.DEFERRED for each in settled)
            settlement = Settlement(claim.queue_id, tuple(settled), reports, ends_message=ended)
        self.same(self.memory.settle(settlement), self.sqlite.settle(settlement))

    @rule(queue_id=messages, limit=st.integers(1, 4))
    def tell(self, queue_id: QueueId, limit: int) -> None:
        found = self.same(self.memory.news(queue_id, limit), self.sqlite.news(queue_id, limit))
        if found is not None:
            report = message("alice@example.org", reverse_path="", arrived=self.clock.now)
            settlement = Settlement(queue_id, (), (report,), told=tuple(found[1]))
            self.same(self.memory.settle(settlement), self.sqlite.settle(settlement))

    @rule(queue_id=messages, verb=st.sampled_from(["hold", "release_hold", "retry", "delete"]))
    def change(self, queue_id: QueueId, verb: str) -> None:
        verbs = {
            "hold": (self.memory.hold, self.sqlite.hold),
            "release_hold": (self.memory.release_hold, self.sqlite.release_hold),
            "retry": (self.memory.retry, self.sqlite.retry),
            "delete": (self.memory.delete, self.sqlite.delete),
        }
        in_memory, in_file = verbs[verb]
        self.same(in_memory(queue_id), in_file(queue_id))

    @rule(seconds=st.sampled_from([1.0, 299.0, 301.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def bring_forward(self) -> None:
        beyond, to = self.clock.now + 1000, self.clock.now + 100
        self.same(self.memory.bring_forward(beyond, to), self.sqlite.bring_forward(beyond, to))

    @rule()
    def restart(self) -> None:
        """What is in the file is there again; leases are not, and ids go on by the clock."""
        self.clock.now += 1
        self.loop.run_until_complete(self.sqlite.close())
        self.loop.run_until_complete(self.open())
        self.memory.end_all_leases()

    @invariant()
    def they_tell_the_same(self) -> None:
        if hasattr(self, "memory"):
            self.same(self.memory.list(1000), self.sqlite.list(1000))
            self.same(self.memory.unreported(), self.sqlite.unreported())

    @rule(skip=skips)
    def next_due(self, skip: frozenset[str]) -> None:
        self.same(self.memory.next_due(skip), self.sqlite.next_due(skip))


TwoStores.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTheStoresAgree = TwoStores.TestCase
