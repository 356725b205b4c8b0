"""valija queue, on real queue files of two workers."""

import asyncio
import os
import re
import time
from collections.abc import Sequence
from datetime import datetime

import msgspec
import pytest

from tests.cli.here import Here
from tests.cli.test_server import Controlled
from tests.cost import processor_time
from valija.admin.control import SOCKET_NAME
from valija.logs import LogBuffer, build_log
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Notify, Recipient
from valija.mail.job import QueueId
from valija.mail.origin import Origin
from valija.mail.outcome import State
from valija.queue.directory import QueueDirectory
from valija.queue.sqlite import SqliteStore
from valija.queue.store import Listed, NewMessage, Settled, Settlement

LOG = build_log("error", "text", LogBuffer(os.open(os.devnull, os.O_WRONLY)))
CONTENT = b"Subject: caf\xc3\xa9\r\nX-Odd: \xff\x1b[31m\r\n\r\nbody\r\n"
ABSENT = "0000000000000"


def message(*recipients: str, sender: str = "alice@example.org") -> NewMessage:
    envelope = Envelope(sender, tuple(Recipient(address, notify=Notify.FAILURE) for address in recipients))
    origin = Origin(
        "submission", time.time(), "192.0.2.9", "laptop", "ESMTPSA", "alice@example.org", "login alice@example.org"
    )
    return NewMessage(envelope, Content.of(CONTENT), origin)


def fill(here: Here, worker: int, *messages: NewMessage) -> list[QueueId]:
    """Put messages into a worker's queue; the first recipient of each has been deferred once."""

    async def run() -> list[QueueId]:
        store = SqliteStore.open(here.data_dir / "queue", worker, clock=time.time, log=LOG)
        queue_ids = []
        for each in messages:
            queue_id = store.new_id()
            await store.put(queue_id, each, claim=True)
            settled = Settled(0, State.DEFERRED, "451 4.7.1 Try later", next_attempt=time.time() + 3600)
            await store.settle(Settlement(queue_id, (settled,)))
            queue_ids.append(queue_id)
        await store.close()
        return queue_ids

    return asyncio.run(run())


def moment(text: str) -> float:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    return datetime.fromisoformat(text).timestamp()


def test_the_list_is_as_the_contract_has_it(here: Here) -> None:
    (queue_id,) = fill(here, 0, message("bob@example.net", "carol@example.net"))
    (listed,) = here.json("queue", "list")
    assert set(listed) == {"queue_id", "reverse_path", "size", "arrived", "hold", "recipients"}
    assert (listed["queue_id"], listed["reverse_path"], listed["hold"]) == (queue_id, "alice@example.org", False)
    assert listed["size"] == len(CONTENT)
    assert abs(moment(listed["arrived"]) - time.time()) < 30
    first, second = listed["recipients"]
    assert set(first) == {"address", "state", "attempts", "next_attempt", "last_reply"}
    assert (first["address"], first["attempts"], first["last_reply"]) == ("bob@example.net", 1, "451 4.7.1 Try later")
    assert abs(moment(first["next_attempt"]) - time.time() - 3600) < 30
    assert (second["address"], second["attempts"]) == ("carol@example.net", 0)


def test_an_empty_queue_is_an_empty_array(here: Here) -> None:
    assert here.json("queue", "list") == []
    assert here.run("queue", "list").stdout == "the queue is empty\n"


def test_all_workers_queues_are_one_list(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.cli.queue._PAGE", 2)
    ids = fill(here, 0, *[message(f"a{n}@example.net") for n in range(3)])
    ids += fill(here, 7, *[message(f"b{n}@example.net", sender="") for n in range(4)])
    assert [listed["queue_id"] for listed in here.json("queue", "list")] == sorted(ids)
    text = here.run("queue", "list").stdout
    assert text.endswith("7 messages in the queue\n")
    assert "from <>" in text


@pytest.mark.parametrize("form", [["--json"], []])
def test_the_list_is_printed_while_it_is_read(here: Here, monkeypatch: pytest.MonkeyPatch, form: list[str]) -> None:
    ids = fill(here, 0, *[message("a@example.net")] * 5)
    monkeypatch.setattr("valija.cli.queue._PAGE", 2)
    printed: list[str] = []
    seen: list[int] = []
    read = QueueDirectory.list

    def list_page(directory: QueueDirectory, limit: int, after: QueueId | None = None) -> Sequence[Listed]:
        seen.append(sum(queue_id in "".join(printed) for queue_id in ids))
        return read(directory, limit, after)

    monkeypatch.setattr(QueueDirectory, "list", list_page)
    monkeypatch.setattr("valija.cli.queue.click.echo", printed.append)
    here.run("queue", "list", *form)
    assert seen == [0, 2, 4, 5]


def test_hold_release_retry_and_delete(here: Here) -> None:
    (queue_id,) = fill(here, 0, message("bob@example.net"))
    assert here.json("queue", "hold", queue_id) == {"changed": [queue_id], "missing": []}
    assert here.json("queue", "list")[0]["hold"] is True
    assert here.json("queue", "release", queue_id.upper()) == {"changed": [queue_id], "missing": []}
    assert here.json("queue", "list")[0]["hold"] is False
    here.json("queue", "retry", queue_id)
    assert moment(here.json("queue", "list")[0]["recipients"][0]["next_attempt"]) <= time.time() + 1
    assert here.run("queue", "delete", queue_id).stdout == f"{queue_id} deleted\n"
    assert here.json("queue", "list") == []


def test_all_means_every_worker(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.cli.queue._PAGE", 2)
    ids = fill(here, 0, *[message("a@example.net")] * 3) + fill(here, 1, *[message("b@example.net")] * 3)
    assert here.json("queue", "hold", "--all")["changed"] == sorted(ids)
    assert all(listed["hold"] for listed in here.json("queue", "list"))
    assert here.json("queue", "delete", "--all") == {"changed": sorted(ids), "missing": []}
    assert here.json("queue", "retry", "--all") == {"changed": [], "missing": []}


def test_what_is_not_there_is_said_and_the_rest_done(here: Here) -> None:
    (queue_id,) = fill(here, 0, message("bob@example.net"))
    result = here.run("queue", "hold", ABSENT, queue_id, "--json")
    assert result.exit_code == 1
    assert msgspec.json.decode(result.stdout) == {"changed": [queue_id], "missing": [ABSENT]}
    assert result.stderr == f"valija: there is no message {ABSENT} in the queue\n"
    assert f"there is no message {ABSENT}" in here.refused("queue", "show", ABSENT)
    assert "is no queue id" in here.refused("queue", "delete", "1; rm -rf /")


def test_a_message_is_shown_whole(here: Here) -> None:
    (queue_id,) = fill(here, 0, message("bob@example.net"))
    shown = here.json("queue", "show", queue_id)
    assert shown["envelope"]["recipients"][0]["notify"] == int(Notify.FAILURE)
    assert shown["origin"]["login"] == "alice@example.org"
    assert shown["header"].startswith("Subject: café\nX-Odd: \\xff")
    result = here.run("queue", "show", queue_id)
    assert "came by submission from [192.0.2.9] (laptop) with ESMTPSA, logged in as alice@example.org" in result.stdout
    assert "\x1b" not in result.stdout
    assert "body" not in result.stdout


def test_the_running_server_is_told(here: Here) -> None:
    (queue_id,) = fill(here, 0, message("bob@example.net"))
    with Controlled(here.data_dir / SOCKET_NAME) as server:
        here.json("queue", "retry", queue_id)
        assert server.told == ["queue-changed"]
        here.json("queue", "list")
        assert server.told == ["queue-changed"]


def test_the_running_server_is_told_what_was_done_also_where_it_is_cut_short(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = fill(here, 0, message("bob@example.net"), message("carol@example.net"))
    told: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr("valija.admin.by_hand.poke", lambda _, command, **what: told.append((command, what)))
    here.json("queue", "delete", first)
    assert told == [("queue-changed", {"verb": "delete", "queue_ids": [first]})]
    assert here.run("queue", "hold", ABSENT).exit_code == 1
    assert len(told) == 1
    hold = QueueDirectory.hold

    def hold_one(directory: QueueDirectory, queue_id: QueueId) -> bool:
        if queue_id == ABSENT:
            raise KeyboardInterrupt
        return hold(directory, queue_id)

    monkeypatch.setattr(QueueDirectory, "hold", hold_one)
    assert here.run("queue", "hold", second, ABSENT).exit_code == 1
    assert told[1:] == [("queue-changed", {"verb": "hold", "queue_ids": [second]})]


def test_retry_tells_of_a_message_on_hold(here: Here) -> None:
    held, free = fill(here, 0, message("bob@example.net"), message("carol@example.net"))
    here.json("queue", "hold", held)
    assert here.run("queue", "retry", held, free).stdout == f"{held} on hold, due when released\n{free} due now\n"
    result = here.run("queue", "retry", "--all", "--json")
    assert msgspec.json.decode(result.stdout) == {"changed": [held, free], "missing": []}
    assert result.stderr == f"valija: 1 of them on hold, due when released: {held}\n"
    assert here.run("queue", "release", held).stdout == f"{held} released\n"
    assert here.run("queue", "retry", held).stdout == f"{held} due now\n"


def test_a_queue_file_that_is_no_file_is_named_and_the_rest_is_listed(here: Here) -> None:
    (queue_id,) = fill(here, 0, message("bob@example.net"))
    (here.data_dir / "queue" / "worker-1.sqlite3").mkdir()
    result = here.run("queue", "list", "--json")
    assert [listed["queue_id"] for listed in msgspec.json.decode(result.stdout)] == [queue_id]
    assert "worker-1.sqlite3: it is no file" in result.stderr


def test_a_damaged_queue_file_does_not_hide_the_others(here: Here) -> None:
    (queue_id,) = fill(here, 0, message("bob@example.net"))
    (here.data_dir / "queue" / "worker-1.sqlite3").write_bytes(b"no database at all, but of some length " * 100)
    result = here.run("queue", "list", "--json")
    assert result.exit_code == 0
    assert [listed["queue_id"] for listed in msgspec.json.decode(result.stdout)] == [queue_id]
    assert "worker-1.sqlite3" in result.stderr


def test_the_list_is_there_at_once(here: Here) -> None:
    fill(here, 0, message("bob@example.net"))
    assert here.program("queue", "list").returncode == 0
    assert processor_time(lambda: here.program("queue", "list")) < 0.2
