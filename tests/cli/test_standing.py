"""valija user allow, disallow, limit, contact, freeze and unfreeze."""

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from tests.cli.here import Here
from valija.admin.control import SOCKET_NAME, Arguments, ControlServer
from valija.conduct.ledger import Arrival, Ledger
from valija.logs import LogBuffer, build_log
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.job import QueueId
from valija.mail.origin import Origin
from valija.queue.sqlite import SqliteStore
from valija.queue.store import NewMessage

ALICE = "alice@example.org"
BOB = "bob@example.org"
HOME, ELSEWHERE = "192.0.2.9", "198.51.100.9"
LOG = build_log("error", "text", LogBuffer(os.open(os.devnull, os.O_WRONLY)))


@pytest.fixture
def here(here: Here) -> Here:
    for address in (ALICE, BOB):
        here.add_user(address)
    return here


def users(here: Here) -> dict[str, dict[str, object]]:
    return {each.pop("address"): each for each in here.json("user", "list")}


def fill(here: Here, *messages: tuple[str, str, float]) -> list[QueueId]:
    """Put messages into two workers' queues: whose, from where, how many seconds ago."""

    async def put() -> list[QueueId]:
        ids = []
        for number, (login, client, age) in enumerate(messages):
            moment = time.time() - age
            store = SqliteStore.open(here.data_dir / "queue", number % 2, clock=lambda: moment, log=LOG)  # noqa: B023
            queue_id = store.new_id()
            origin = Origin("submission", moment, client, login=login)
            envelope = Envelope(login, (Recipient("x@remote.example"),))
            await store.put(queue_id, NewMessage(envelope, Content.of(b"\r\n"), origin), claim=False)
            await store.close()
            ids.append(queue_id)
        return ids

    return asyncio.run(put())


def queue(here: Here) -> dict[str, bool]:
    """Return what is in the queue, and whether it is on hold."""
    return {message["queue_id"]: message["hold"] for message in here.json("queue", "list")}


# Delegations, limits, contacts


def test_what_is_allowed_is_listed_until_it_is_taken_back(here: Here) -> None:
    told = here.json("user", "allow", "Alice@example.org", "@News.example")
    assert told == {"address": ALICE, "may_send_as": ["@news.example"]}
    here.json("user", "allow", ALICE, BOB)
    assert users(here)[ALICE]["may_send_as"] == ["@news.example", BOB]
    assert here.run("user", "list").stdout.splitlines() == [ALICE, f"    may send as @news.example, {BOB}", BOB]
    assert here.json("user", "disallow", ALICE, BOB) == {"address": ALICE, "may_send_as": ["@news.example"]}
    assert "may no longer send as @news.example" in here.run("user", "disallow", ALICE, "@news.example").stdout
    assert "may_send_as" not in users(here)[ALICE]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("allow", "nobody@example.org", BOB), "there is no account nobody@example.org"),
        (("allow", "alice", BOB), "there is no account alice"),
        (("allow", ALICE, "@"), "'@' names no domain"),
        (("allow", ALICE, "bob"), "'bob' is no mail address"),
        (("disallow", ALICE, BOB), f"{ALICE} is not allowed to send as {BOB}"),
        (("limit", "nobody@example.org", "--default"), "there is no account nobody@example.org"),
        (("contact", ALICE, ALICE), "is the account itself"),
        (("contact", ALICE, "nonsense"), "'nonsense' is no mail address"),
        (("freeze", "nobody@example.org"), "there is no account nobody@example.org"),
        (("unfreeze", ALICE), f"{ALICE} is not frozen"),
    ],
)
def test_what_makes_no_sense_is_refused(here: Here, arguments: tuple[str, ...], words: str) -> None:
    assert words in here.refused("user", *arguments)


def test_system_users_have_standings_where_they_log_in(here: Here) -> None:
    here.configuration.write_text(here.configuration.read_text() + '[sasl]\ntype = "dovecot"\n')
    here.json("user", "allow", "carol", "@news.example")
    here.json("user", "limit", "carol", "--messages-per-day", "5")
    assert users(here)["carol"] == {"may_send_as": ["@news.example"], "limits": {"messages_per_day": 5}}
    assert here.run("user", "list").stdout.splitlines()[-3:] == [
        "carol",
        "    may send as @news.example",
        "    limits: messages_per_day = 5",
    ]


def test_limits_are_shown_set_and_taken_back(here: Here) -> None:
    everybodys = here.json("user", "limit", ALICE)
    assert everybodys == {
        "address": ALICE,
        "messages_per_day": 50_000,
        "recipients_per_day": 100_000,
        "first_time_recipients_per_day": 20_000,
        "circuit_breaker": True,
    }
    own = here.json(
        "user", "limit", ALICE, "--messages-per-day", "7", "--recipients-per-day", "0", "--no-circuit-breaker"
    )
    assert own == {**everybodys, "messages_per_day": 7, "recipients_per_day": 0, "circuit_breaker": False}
    assert here.run("user", "limit", ALICE).stdout.splitlines() == [
        f"{ALICE}:",
        "    messages_per_day: 7",
        "    recipients_per_day: no limit",
        "    first_time_recipients_per_day: 20000, as everybody",
        "    circuit_breaker: off",
    ]
    assert here.json("user", "limit", ALICE, "--default") == everybodys


def test_a_contact(here: Here) -> None:
    assert here.json("user", "contact", ALICE) == {"address": ALICE, "contact": None}
    assert "is told in the account's own mailbox" in here.run("user", "contact", ALICE).stdout
    assert here.json("user", "contact", ALICE, "a@home.example")["contact"] == "a@home.example"
    assert users(here)[ALICE]["contact"] == "a@home.example"
    assert here.json("user", "contact", ALICE, "--none")["contact"] is None
    assert here.run("user", "contact", ALICE, "a@home.example", "--none").exit_code == 2


# Frozen


def test_freezing_holds_what_the_login_has_in_the_queue(here: Here) -> None:
    fresh, old, bobs = fill(here, (ALICE, HOME, 60), (ALICE, HOME, 3 * 86_400), (BOB, HOME, 60))
    told = here.json("user", "freeze", ALICE, "--reason", "the bill is not paid")
    assert told == {"address": ALICE, "frozen": True, "on_hold": [fresh]}
    assert queue(here) == {fresh: True, old: False, bobs: False}
    frozen = users(here)[ALICE]["frozen"]
    assert isinstance(frozen, dict)
    assert frozen["reason"] == "the bill is not paid"
    assert "    frozen since 20" in here.run("user", "list").stdout
    assert f"{ALICE} is frozen already" in here.refused("user", "freeze", ALICE)


@pytest.mark.parametrize("release", [True, False])
def test_what_was_held_is_released_or_stays(here: Here, release: bool) -> None:
    (fresh,) = fill(here, (ALICE, HOME, 60))
    here.json("user", "freeze", ALICE)
    told = here.json("user", "unfreeze", ALICE, *(["--release"] if release else []))
    assert told == {"address": ALICE, "frozen": False, **({"released": [fresh]} if release else {})}
    assert queue(here) == {fresh: not release}
    assert "frozen" not in users(here)[ALICE]


def test_a_purge_takes_the_thief_s_mail_and_lets_the_owner_s_go(here: Here) -> None:
    before, thiefs, late, owners = fill(
        here, (ALICE, HOME, 7200), (ALICE, ELSEWHERE, 60), (ALICE, ELSEWHERE, 50), (ALICE, HOME, 40)
    )
    ledger = Ledger(here.data_dir / "account-use.sqlite3", LOG)
    asyncio.run(note(ledger))
    ledger.close()
    here.json("user", "freeze", ALICE)
    told = here.json("user", "unfreeze", ALICE, "--purge")
    assert told["deleted"] == [thiefs, late]
    assert told["released"] == [before, owners]
    assert queue(here) == {before: False, owners: False}


async def note(ledger: Ledger) -> None:
    now = time.time()
    await ledger.foreign(ALICE, Arrival(now - 86_500, "192.0.2.0/24", 0), now)
    await ledger.foreign(ALICE, Arrival(now - 60, "198.51.100.0/24", 1), now)


def test_where_nothing_was_foreign_a_purge_takes_all_since_the_misuse_began(here: Here) -> None:
    older, fresh = fill(here, (ALICE, HOME, 86_400 + 3600), (ALICE, HOME, 60))
    here.json("user", "freeze", ALICE)
    told = here.json("user", "unfreeze", ALICE, "--purge")
    assert (told["deleted"], told["released"]) == ([fresh], [older])


def test_release_and_purge_are_two_things(here: Here) -> None:
    assert here.run("user", "unfreeze", ALICE, "--release", "--purge").exit_code == 2


def test_a_running_server_is_told(here: Here) -> None:
    (fresh,) = fill(here, (ALICE, HOME, 60))
    asked: list[tuple[str, Arguments]] = []

    def act() -> None:
        here.json("user", "freeze", ALICE)
        here.json("user", "unfreeze", ALICE, "--release")

    asyncio.run(beside_a_server(here, asked, act))
    assert asked == [
        ("standings", {}),
        ("queue-changed", {"verb": "hold", "queue_ids": [fresh], "by": "valija user freeze"}),
        ("standings", {}),
        ("queue-changed", {"verb": "release", "queue_ids": [fresh], "by": "valija user unfreeze"}),
    ]


async def beside_a_server(here: Here, asked: list[tuple[str, Arguments]], act: Callable[[], None]) -> None:
    """Run `act` in a thread beside a control socket that notes what it is asked."""

    async def note_standings(arguments: Arguments) -> object:
        asked.append(("standings", arguments))
        return None

    async def note_queue(arguments: Arguments) -> object:
        asked.append(("queue-changed", arguments))
        return None

    handlers = {"standings": note_standings, "queue-changed": note_queue}
    server = ControlServer(here.data_dir / SOCKET_NAME, handlers, LOG)
    await server.start()
    try:
        await asyncio.wait_for(asyncio.to_thread(act), 30)
    finally:
        await server.close()
