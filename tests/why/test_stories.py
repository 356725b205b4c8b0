"""Stories of ten situations, told in full: tests/golden/why has what a user reads."""

from pathlib import Path

import msgspec
import pytest

from tests.why.histories import ID, LOGS, SESSION, SITUATIONS, events, facts_of, in_queue, story_of
from valija.why.message import tell_message
from valija.why.story import as_json, lines_of

GOLDEN = Path(__file__).parent.parent / "golden" / "why"


def _file(name: str) -> Path:
    return GOLDEN / f"{name.replace(', ', '_').replace(' ', '_')}.txt"


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_a_user_reads(name: str) -> None:
    told = "".join(f"{line}\n" for line in lines_of(story_of(name)))
    assert told == _file(name).read_text(), f"if this is meant, write it to {_file(name)}"


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("delivered at once", "delivered"),
        ("greylisted, then delivered", "delivered"),
        ("bounced, unknown user", "bounced"),
        ("deferred by DANE", "deferred"),
        ("spam refused", "bounced"),
        ("expired", "expired"),
        ("held by hand", "held"),
        ("held, the account is frozen", "held"),
        ("relay denied", "refused"),
        ("wrong password", "refused"),
    ],
)
def test_where_it_stands_for_programs(name: str, state: str) -> None:
    told = as_json(story_of(name))
    assert told["state"] == state
    assert told["subject"] == (ID if name in LOGS else SESSION)
    assert bool(told["cause"]) == (state != "delivered")
    times = [entry["time"] for entry in told["timeline"]]
    assert times == sorted(times)


def test_a_message_that_only_the_queue_knows() -> None:
    story = tell_message(msgspec.structs.replace(facts_of("held by hand"), events=(), session=(), queued=in_queue()))
    assert story.state == "deferred"
    assert story.now == ("in the queue for bob@example.net: next attempt 2026-11-25 05:05:00",)
    assert story.entries[0].about == "accepted"


def test_a_message_that_was_deleted_by_hand() -> None:
    deleted = f'2026-11-25T04:41:00.000Z info  removed  queue_id={ID} by="valija queue delete"\n'
    facts = facts_of("held by hand")
    story = tell_message(msgspec.structs.replace(facts, events=[*facts.events, *events(deleted)], queued=None))
    assert story.state == "removed"
    assert "removed from the queue by hand (valija queue delete), without a report" in story.now
    assert story.cause == ("Somebody removed it by `valija queue delete`.",)


def test_a_message_whose_end_was_not_kept_is_not_said_to_be_delivered() -> None:
    story = tell_message(msgspec.structs.replace(facts_of("held by hand"), queued=None))
    assert story.state == "unknown"
    assert story.now == ("not in the queue any more, and the history has no end of it for bob@example.net",)


def test_several_recipients_have_several_fates() -> None:
    text = LOGS["bounced, unknown user"].replace("recipients=1 to=bob@", "recipients=2 to=eve@example.net,bob@")
    attempt = text.splitlines(keepends=True)[3]
    other = attempt.replace("bob@example.net outcome=failed", "eve@example.net outcome=delivered")
    found = events(text + other)
    story = tell_message(msgspec.structs.replace(facts_of("bounced, unknown user"), events=found))
    assert story.state == "bounced"
    assert [line.split(":")[0] for line in story.now[:2]] == [
        "not delivered to bob@example.net",
        "delivered to eve@example.net",
    ]


def test_a_route_that_the_configuration_has_changed_since_is_not_explained_by_it() -> None:
    facts = facts_of("delivered at once")
    facts = msgspec.structs.replace(facts, explain=lambda _sender, _address: ("relay.example", "[smtp] relayhost"))
    said = [entry.said[0] for entry in tell_message(facts).entries if entry.about == "route"]
    assert said == ["bob@example.net goes to example.net: by the configuration of then; today's says otherwise"]
