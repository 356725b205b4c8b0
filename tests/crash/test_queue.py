"""Kills within the queue itself: between any two writes and syncs of SQLite, at a start, and in an adoption."""

import asyncio
from pathlib import Path

import pytest

from tests.crash.actor import BODY, act
from tests.queue.samples import NOW, LogLines, SetClock
from tests.tally import Tally
from valija.mail.job import QueueId
from valija.queue.recovery import Recovery
from valija.queue.sqlite import SqliteStore

MESSAGES = 12


def found(folder: Path) -> tuple[Recovery, dict[QueueId, bool]]:
    """Open a queue as the next start does; return what it recovered, and of each message whether it is whole."""

    async def look() -> tuple[Recovery, dict[QueueId, bool]]:
        store = SqliteStore.open(folder, 0, clock=SetClock(), log=LogLines().log)
        claims = await store.claim(NOW, 1000)
        whole = {}
        for claim in claims:
            content = b"".join(store.spool.read(claim.message.content))
            head = f"Subject: {claim.queue_id}\r\n\r\n".encode()
            whole[claim.queue_id] = content in (head + b"small", head + BODY)
        await store.close()
        return store.recovery, whole

    return asyncio.run(asyncio.wait_for(look(), 60))


@pytest.mark.parametrize("point", ["disk.write", "disk.sync"])
def test_a_kill_between_any_two_of_sqlites_steps(
    point: str, tmp_path: Path, request: pytest.FixtureRequest, tally: Tally
) -> None:
    # Making the file takes the first writes and syncs, the messages those after it, closing the last ones.
    places = range(1, 80) if request.config.getoption("--soak") else [1, 4, 9, 12, 15, 20, 27]
    kills = accepted = 0
    for place in places:
        folder = tmp_path / str(place)
        run = act("put", folder, failing=f"{point}:kill@{place}", count=MESSAGES)
        kills += run.was_killed
        accepted += len(run.said)
        recovery, whole = found(folder)
        assert not recovery.set_aside
        assert set(run.said) <= set(whole)
        assert all(whole.values())
        if not run.was_killed:
            assert len(run.said) == MESSAGES
    assert kills >= 3
    tally("crash", kills=kills, accepted=accepted, queued=accepted, lost=0)


def test_a_kill_in_the_order_at_the_start(tmp_path: Path, tally: Tally) -> None:
    assert act("put", tmp_path, failing="queue.committed:kill@9", count=MESSAGES).was_killed
    assert act("open", tmp_path, failing="recovery.counted:kill").was_killed
    recovery, whole = found(tmp_path)
    assert len(whole) >= 9
    assert recovery.messages == len(whole)
    assert all(whole.values())
    tally("crash", kills=2, accepted=8, queued=8, lost=0)


@pytest.mark.parametrize("renamed", [1, 2])
def test_a_kill_while_an_unusable_queue_is_set_aside(renamed: int, tmp_path: Path, tally: Tally) -> None:
    kept = act("put", tmp_path, count=MESSAGES).said
    database = tmp_path / "worker-0.sqlite3"
    written = database.read_bytes()
    database.write_bytes(b"garbage" + written[7:])
    assert act("open", tmp_path, failing=f"recovery.aside:kill@{renamed}").was_killed
    assert act("put", tmp_path, count=3).said
    _, whole = found(tmp_path)
    assert len(whole) == 3
    assert all(whole.values())
    aside = sorted(path for path in tmp_path.iterdir() if ".damaged-" in path.name)
    bodies = [body for path in aside if path.is_dir() for body in path.iterdir()]
    files = [path for path in aside if path.is_file()]
    assert len(bodies) == MESSAGES // 3
    assert [path.read_bytes()[7:] for path in files] == [written[7:]]
    tally("crash", kills=1, accepted=len(kept), set_aside=len(kept), lost=0)


@pytest.mark.parametrize("point", ["adoption.linked", "adoption.taken", "adoption.forgotten"])
def test_a_kill_in_an_adoption(point: str, tmp_path: Path, tally: Tally) -> None:
    left = act("put-as-1", tmp_path, count=MESSAGES).said
    assert act("adopt", tmp_path, failing=f"{point}:kill").was_killed
    act("adopt", tmp_path)
    _, whole = found(tmp_path)
    assert set(whole) == set(left)
    assert all(whole.values())
    assert not (tmp_path / "worker-1.sqlite3").exists()
    tally("crash", kills=1, accepted=len(left), queued=len(left), lost=0)
