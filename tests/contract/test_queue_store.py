"""The contract of a queue store, as queue/store states it, held against every store there is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from tests.queue.samples import NOW, LogLines, SetClock, message, news
from valija.content.reported import ReportKind
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


def test_a_message_may_be_put_on_hold_at_once(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, clock: SetClock) -> None:
        queue_id = await put(store, msgspec.structs.replace(message("a@x.example", "b@y.example"), on_hold=True))
        assert not await store.claim(NOW + 1e6, 10)
        assert await store.next_due() is None
        assert (await store.list(10))[0].hold
        assert await store.release_hold(queue_id)
        (claim,) = await store.claim(NOW + 1e6, 10)
        assert len(claim.due) == 2

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


# --- news that wait for their report


def test_news_keep_their_message_until_they_are_told(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, new := message("a@x.example", "b@y.example"), claim=True)
        assert await store.unreported() == []
        assert await store.news(queue_id, 10) is None
        (first,), (second,) = news(0), news(1)
        await store.settle(Settlement(queue_id, (Settled(1, State.FAILED, "550"),), news=(second,)))
        last = await store.settle(Settlement(queue_id, (Settled(0, State.FAILED, "550"),), news=(first,)))
        assert not last.removed
        assert await store.unreported() == [queue_id]
        assert await store.news(queue_id, 10) == (new, [first, second])
        assert await store.news(queue_id, 1) == (new, [first])
        assert [listed.recipients for listed in await store.list(10)] == [()]
        assert not await store.claim(NOW + 1e6, 10)
        bounce = message("alice@example.org", reverse_path="")
        receipt = await store.settle(Settlement(queue_id, (), (bounce,), told=(first, second)))
        assert receipt.removed
        assert await store.unreported() == []
        assert [listed.queue_id for listed in await store.list(10)] == list(receipt.reports)

    play(open_store, scene)


def test_news_told_in_part_keep_the_message_for_the_rest(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, message("a@x.example", "b@y.example"), claim=True)
        both = news(0, 1)
        ended = tuple(Settled(number, State.FAILED, "550") for number in (0, 1))
        await store.settle(Settlement(queue_id, ended, news=both))
        assert not (await store.settle(Settlement(queue_id, (), (message(),), told=both[:1]))).removed
        found = await store.news(queue_id, 10)
        assert found is not None
        assert list(found[1]) == [both[1]]
        assert (await store.settle(Settlement(queue_id, (), (message(),), told=both[1:]))).removed

    play(open_store, scene)


def test_news_of_a_kind_and_recipient_are_kept_once(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, message(), claim=True)
        later = Settled(0, State.DEFERRED, "451", LATER)
        every = (*news(0), *news(0, kind=ReportKind.DELAY))
        await store.settle(Settlement(queue_id, (later,), news=every))
        await store.settle(Settlement(queue_id, (later,), news=news(0, kind=ReportKind.DELAY)))
        found = await store.news(queue_id, 10)
        assert found is not None
        assert [each.kind for each in found[1]] == [ReportKind.DELAY, ReportKind.FAILURE]

    play(open_store, scene)


def test_a_message_whose_pending_recipients_end_stays_while_it_has_news(open_store: OpenStore) -> None:
    """However it ends: alone, or with others at once."""

    async def scene(store: QueueStore, _: SetClock) -> None:
        kept = [await put(store, message("a@x.example", "b@y.example"), claim=True) for _ in range(2)]
        other = await put(store, message(), claim=True)
        for queue_id in kept:
            await store.settle(Settlement(queue_id, (Settled(0, State.FAILED, "550"),), news=news(0)))
        ended = [(queue_id, (Settled(1, State.DELIVERED),)) for queue_id in kept]
        ended.append((other, (Settled(0, State.DELIVERED),)))
        receipts = await asyncio.gather(
            *(store.settle(Settlement(queue_id, settled, ends_message=True)) for queue_id, settled in ended)
        )
        assert [receipt.removed for receipt in receipts] == [False, False, True]
        assert await store.unreported() == kept
        assert not await store.claim(NOW + 1e6, 10)
        assert (await store.settle(Settlement(kept[0], (), (), told=news(0)))).removed

    play(open_store, scene)


def test_news_of_a_deleted_message_are_gone(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, message("a@x.example", "b@y.example"), claim=True)
        await store.settle(Settlement(queue_id, (Settled(0, State.FAILED, "550"),), news=news(0)))
        assert await store.delete(queue_id)
        assert await store.unreported() == []
        await store.settle(Settlement(queue_id, (Settled(1, State.FAILED, "550"),), news=news(1)))
        assert await store.unreported() == []
        receipt = await store.settle(Settlement(queue_id, (), (message(),), told=news(0)))
        assert receipt.reports == ()
        assert not await store.list(10)

    play(open_store, scene)


def test_what_was_told_of_a_recipient_is_remembered(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        for warned, overdue in ((False, False), (True, False), (False, True), (True, True)):
            queue_id = await put(store, message(), claim=True)
            await store.settle(Settlement(queue_id, (Settled(0, State.DEFERRED, "451", NOW, warned, overdue),)))
            (claim,) = await store.claim(NOW, 10)
            assert (claim.due[0].warned, claim.due[0].overdue) == (warned, overdue)

    play(open_store, scene)


# --- messages to skip, and those to be sent later


def test_messages_to_skip_are_left_out(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        full = await put(store, message("a@x.example", "b@y.example"))
        other = await put(store, message("c@x.example", "d@y.example", arrived=NOW + 1))
        assert await store.next_due(frozenset(), {full}) == NOW + 1
        (claim,) = await store.claim(NOW + 1, 10, {"x.example"}, {full})
        assert (claim.queue_id, numbers([claim])) == (other, [1])
        assert await store.next_due({"x.example"}, {full}) is None
        assert await store.next_due() == NOW

    play(open_store, scene)


RELEASE = NOW + 7 * 86400


def test_a_message_to_be_sent_later_is_not_due_before(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        await put(store, message("a@x.example", "b@y.example", hold_until=RELEASE))
        (listed,) = await store.list(10)
        assert listed.hold_until == RELEASE
        assert not listed.hold
        assert not await store.claim(RELEASE - 1, 10)
        assert await store.next_due() == RELEASE
        assert numbers(await store.claim(RELEASE, 10)) == [0, 1]

    play(open_store, scene)


def test_a_clock_set_back_releases_nothing(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, message(hold_until=RELEASE), claim=True)
        await put(store, message(hold_until=RELEASE))
        assert await store.bring_forward(NOW + 20000, NOW + 300) == 0
        await settle(store, queue_id, Settled(0, State.DEFERRED, "451", NOW + 10**6))
        assert await store.bring_forward(NOW + 20000, NOW + 300) == 1, "it was attempted, and is a retry"
        assert len(await store.claim(NOW + 300, 10)) == 1
        assert await store.next_due() == RELEASE

    play(open_store, scene)


def test_a_retry_by_hand_does_not_wait_for_the_release(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, message(hold_until=RELEASE))
        assert await store.retry(queue_id)
        assert (await store.list(10))[0].hold_until == 0.0
        assert await store.claim(NOW, 10)

    play(open_store, scene)


def test_the_end_of_a_hold_by_hand_leaves_the_release_as_it_was(open_store: OpenStore) -> None:
    async def scene(store: QueueStore, _: SetClock) -> None:
        queue_id = await put(store, message(hold_until=RELEASE))
        await store.hold(queue_id)
        await store.release_hold(queue_id)
        assert not await store.claim(RELEASE - 1, 10)
        assert await store.next_due() == RELEASE

    play(open_store, scene)
