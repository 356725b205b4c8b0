"""The contract of a queue store, as queue/store states it, held against every store there is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.queue.samples import NOW, LogLines, SetClock, message
from valija.mail.job import QueueId
from valija.mail.outcome import State
from valija.queue.identity import IdSource
from valija.queue.memory import MemoryStore
from valija.queue.sqlite import SqliteStore
from valija.queue.store import Claim, NewMessage, QueueStore, Settled, Settlement

OpenStore = Callable[[SetClock], AbstractAsyncContextManager[QueueStore]]
Scene = Callable[[QueueStore, SetClock], Awaitable[None]]
LATER = NOW + 300


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    @asynccontextmanager
    async def memory(clock: SetClock) -> AsyncIterator[QueueStore]:
        yield MemoryStore(IdSource(0, clock), clock)

    @asynccontextmanager
    async def sqlite(clock: SetClock) -> AsyncIterator[QueueStore]:
        store = SqliteStore.open(tmp_path / "queue", 0, clock=clock, log=LogLines().log)
        try:
            yield store
        finally:
            await store.close()

    return {"memory": memory, "sqlite": sqlite}[request.param]


def play(open_store: OpenStore, scene: Scene) -> None:
    async def whole() -> None:
        clock = SetClock()
        async with open_store(clock) as store:
            await asyncio.wait_for(scene(store, clock), 20)

    asyncio.run(whole())


async def put(store: QueueStore, new: NewMessage, *, claim: bool = False) -> QueueId:
    queue_id = store.new_id()
    await store.put(queue_id, new, claim=claim)
    return queue_id


async def settle(store: QueueStore, queue_id: QueueId, *settled: Settled, reports: tuple[NewMessage, ...] = ()) -> bool:
    return (await store.settle(Settlement(queue_id, settled, reports))).removed


def numbers(claims: object) -> list[int]:
    assert isinstance(claims, list)
    return [due.number for claim in claims for due in claim.due]


def test_what_was_put_is_claimed_whole(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        new = message("bob@example.net", "carol@example.com")
        queue_id = await put(store, new)
        (claim,) = await store.claim(NOW, 10)
        assert claim == Claim.fresh(queue_id, new)
        assert claim.only

    play(open_store, scene)


def test_a_recipient_is_claimed_by_one_caller_at_a_time(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        await put(store, message())
        claims = await store.claim(NOW, 10)
        assert len(claims) == 1
        assert not await store.claim(NOW + 1e6, 10)
        await store.release(claims)
        assert await store.claim(NOW, 10) == claims

    play(open_store, scene)


def test_put_with_claim_leases_at_once(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, new := message(), claim=True)
        assert not await store.claim(NOW + 1e6, 10)
        assert await store.next_due() is None
        await store.release([Claim.fresh(queue_id, new)])
        assert await store.next_due() == NOW
        assert len(await store.claim(NOW, 10)) == 1

    play(open_store, scene)


def test_nothing_is_claimed_before_its_time(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        await put(store, message(arrived=NOW + 5))
        assert not await store.claim(NOW + 4.999, 10)
        assert await store.next_due() == NOW + 5
        assert await store.claim(NOW + 5, 10)

    play(open_store, scene)


def test_claims_come_oldest_next_attempt_first_and_keep_the_limit(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        late, early, middle = [await put(store, message(arrived=NOW + seconds)) for seconds in (30, 10, 20)]
        first = await store.claim(NOW + 60, 2)
        assert [claim.queue_id for claim in first] == [early, middle]
        assert [claim.queue_id for claim in await store.claim(NOW + 60, 2)] == [late]

    play(open_store, scene)


def test_next_hops_to_skip_are_left_out(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        both = await put(store, message("a@slow.example", "b@fast.example"))
        slow = await put(store, message("c@slow.example"))
        skip = {"slow.example", "full.example"}
        (claim,) = await store.claim(NOW, 10, skip)
        assert claim.queue_id == both
        assert numbers([claim]) == [1]
        assert not claim.only
        assert await store.next_due(skip) is None
        assert await store.next_due() == NOW
        rest = await store.claim(NOW, 10)
        assert [(claim.queue_id, numbers([claim])) for claim in rest] == [(both, [0]), (slow, [0])]

    play(open_store, scene)


def test_a_message_leaves_with_its_last_pending_recipient(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, message("a@x.example", "b@y.example", "c@z.example"), claim=True)
        assert not await settle(store, queue_id, Settled(1, State.DELIVERED))
        assert not await settle(store, queue_id, Settled(0, State.FAILED, "550 no"))
        (listed,) = await store.list(10)
        assert [recipient.address for recipient in listed.recipients] == ["c@z.example"]
        assert await settle(store, queue_id, Settled(2, State.DELIVERED))
        assert not await store.list(10)

    play(open_store, scene)


def test_a_deferred_recipient_comes_back_at_its_next_attempt(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, message("a@x.example", "b@y.example"), claim=True)
        later = Settled(1, State.DEFERRED, "451 4.7.1 later", LATER, warned=True)
        assert not await settle(store, queue_id, Settled(0, State.DELIVERED), later)
        assert not await store.claim(LATER - 1, 10)
        assert await store.next_due() == LATER
        (claim,) = await store.claim(LATER, 10)
        assert claim.only
        (due,) = claim.due
        assert (due.number, due.attempts, due.warned) == (1, 1, True)
        (listed,) = await store.list(10)
        (recipient,) = listed.recipients
        assert (recipient.state, recipient.attempts, recipient.last_reply) == ("deferred", 1, "451 4.7.1 later")
        assert recipient.next_attempt == LATER

    play(open_store, scene)


def test_a_partial_settlement_leaves_the_other_leases(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, message("a@x.example", "b@y.example"), claim=True)
        await settle(store, queue_id, Settled(0, State.DEFERRED, "451", LATER))
        assert numbers(await store.claim(LATER, 10)) == [0]

    play(open_store, scene)


def test_reports_come_with_the_settlement(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, message(), claim=True)
        bounce = message("alice@example.org", reverse_path="")
        receipt = await store.settle(Settlement(queue_id, (Settled(0, State.FAILED, "550"),), (bounce,)))
        assert receipt.removed
        (listed,) = await store.list(10)
        assert receipt.reports == (listed.queue_id,)
        assert listed.reverse_path == ""
        (claim,) = await store.claim(NOW, 10)
        assert claim.message == bounce

    play(open_store, scene)


def test_a_settlement_of_a_deleted_message_does_nothing(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        for settled in (Settled(0, State.FAILED, "550"), Settled(0, State.DEFERRED, "451", LATER)):
            queue_id = await put(store, message(), claim=True)
            assert await store.delete(queue_id)
            receipt = await store.settle(Settlement(queue_id, (settled,), (message(),)))
            assert not receipt.removed
            assert receipt.reports == ()
            assert not await store.list(10)

    play(open_store, scene)


@pytest.mark.parametrize("count", [1, 2, 3, 70, 130])
def test_many_messages_come_and_leave_at_once(open_store: OpenStore, count: int) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        kept = await put(store, message("kept@example.net"))
        several = tuple(f"b{number}@example.net" for number in range(3))
        made = await asyncio.gather(*(put(store, message(*several), claim=True) for _ in range(count)))
        assert [listed.queue_id for listed in await store.list(1000)] == [kept, *made]
        assert await store.delete(made[0])  # by hand, while its attempt ran
        ended = tuple(Settled(number, State.DELIVERED) for number in range(3))
        receipts = await asyncio.gather(
            *(store.settle(Settlement(queue_id, ended, ends_message=True)) for queue_id in made)
        )
        assert [receipt.removed for receipt in receipts] == [False] + [True] * (count - 1)
        (listed,) = await store.list(1000)
        assert listed.queue_id == kept
        (claim,) = await store.claim(NOW, 10)
        assert claim.queue_id == kept

    play(open_store, scene)


def test_a_message_on_hold_is_not_claimed(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, clock: SetClock) -> None:
        queue_id = await put(store, message())
        assert await store.hold(queue_id)
        assert not await store.claim(NOW + 1e6, 10)
        assert await store.next_due() is None
        assert (await store.list(10))[0].hold
        clock.now = NOW + 100
        assert await store.release_hold(queue_id)
        assert not (await store.list(10))[0].hold
        assert await store.next_due() == NOW + 100
        assert await store.claim(NOW + 100, 10)

    play(open_store, scene)


def test_an_attempt_at_a_message_put_on_hold_meanwhile_ends_normally(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, clock: SetClock) -> None:
        queue_id = await put(store, message("a@x.example", "b@y.example"), claim=True)
        assert await store.hold(queue_id)
        await settle(store, queue_id, Settled(0, State.DELIVERED), Settled(1, State.DEFERRED, "451", LATER))
        assert not await store.claim(LATER, 10)
        clock.now = LATER
        await store.release_hold(queue_id)
        assert numbers(await store.claim(LATER, 10)) == [1]

    play(open_store, scene)


def test_retry_makes_due_now(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, clock: SetClock) -> None:
        queue_id = await put(store, message(), claim=True)
        await settle(store, queue_id, Settled(0, State.DEFERRED, "451", LATER))
        clock.now = NOW + 10
        assert await store.retry(queue_id)
        assert await store.next_due() == NOW + 10
        (claim,) = await store.claim(NOW + 10, 10)
        assert claim.due[0].attempts == 1

    play(open_store, scene)


def test_verbs_tell_when_a_message_is_not_there(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = store.new_id()
        verbs = (store.hold, store.release_hold, store.retry, store.delete)
        assert [await verb(queue_id) for verb in verbs] == [False] * 4
        assert await store.show(queue_id) is None

    play(open_store, scene)


def test_list_is_in_the_order_of_ids_and_pages(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        ids = [await put(store, message()) for _ in range(5)]
        assert ids == sorted(ids)
        assert [listed.queue_id for listed in await store.list(3)] == ids[:3]
        assert [listed.queue_id for listed in await store.list(3, after=ids[2])] == ids[3:]
        assert not await store.list(3, after=ids[4])

    play(open_store, scene)


def test_show_gives_back_what_was_put(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, new := message("ü@bücher.example", "b@y.example", arrived=NOW - 7))
        found = await store.show(queue_id)
        assert found is not None
        listed, shown = found
        assert shown == new
        assert (listed.queue_id, listed.size, listed.arrived) == (queue_id, new.content.size, NOW - 7)
        assert [recipient.state for recipient in listed.recipients] == ["pending", "pending"]

    play(open_store, scene)


def test_c110_what_only_a_clock_set_back_explains_is_brought_forward(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        for next_attempt in (NOW + 100, NOW + 10 * 86400):
            queue_id = await put(store, message(), claim=True)
            await settle(store, queue_id, Settled(0, State.DEFERRED, "451", next_attempt))
        assert await store.bring_forward(NOW + 20000, NOW + 300) == 1
        assert len(await store.claim(NOW + 100, 10)) == 1
        assert len(await store.claim(NOW + 300, 10)) == 1

    play(open_store, scene)


def test_many_at_once(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        new = message()
        ids = await asyncio.gather(*(put(store, new, claim=n % 2 == 0) for n in range(300)))
        assert len(set(ids)) == 300
        claims = [*await store.claim(NOW, 100), *await store.claim(NOW, 100)]
        assert sorted(claim.queue_id for claim in claims) == sorted(ids[1::2])
        removed = await asyncio.gather(*(settle(store, queue_id, Settled(0, State.DELIVERED)) for queue_id in ids))
        assert all(removed)
        assert not await store.list(10)

    play(open_store, scene)
