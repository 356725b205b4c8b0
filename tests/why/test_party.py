"""Sums of what is known of a client, a login or an address; and whose a line is."""

import pytest

from tests.why.histories import LOGS, REFUSED, events
from valija.history.lines import Event
from valija.why.party import concerns, tell_party, tell_session
from valija.why.subject import Subject, subject_of

CLIENT = Subject("client", "192.0.2.9")
THROTTLED = (
    "2026-11-25T04:38:50.000Z warn  login throttled  client=192.0.2.9 login=alice@example.org network=192.0.2.0/24\n"
)
AT = 1795581530.0


@pytest.mark.parametrize(
    ("typed", "kind", "value"),
    [
        ("bmmn4132bzj2q", "message", "bmmn4132bzj2q"),
        ("BMMN4132BZJ2Q", "message", "bmmn4132bzj2q"),
        ("4kz02vwm9", "session", "4kz02vwm9"),
        ("192.0.2.1", "client", "192.0.2.1"),
        ("[192.0.2.1]", "client", "192.0.2.1"),
        ("::ffff:192.0.2.1", "client", "192.0.2.1"),
        ("[IPv6:2001:DB8:0::1]", "client", "2001:db8::1"),
        ("<Bob@Example.NET>", "address", "Bob@example.net"),
        ("bob@bücher.example", "address", "bob@xn--bcher-kva.example"),
        ("bob@not..a.domain", "address", "bob@not..a.domain"),
        ("alice", "login", "alice"),
    ],
)
def test_what_is_meant(typed: str, kind: str, value: str) -> None:
    assert subject_of(typed) == Subject(kind, value)  # type: ignore[arg-type]  # the table's words are kinds


def line(**fields: str) -> Event:
    return Event(AT, "info", "attempt", fields)


@pytest.mark.parametrize(
    ("subject", "event", "is_its"),
    [
        (Subject("address", "bob@example.net"), line(recipient="BOB@example.net"), True),
        (Subject("address", "bob@example.net"), line(recipient="bigbob@example.net"), False),
        (Subject("address", "bob@example.net"), line(reverse_path="<bob@example.net>"), True),
        (Subject("address", "bob@example.net"), line(to="eve@example.net,bob@example.net"), True),
        (Subject("address", "bob@example.net"), line(reply="<bob@example.net>: no"), False),
        (Subject("login", "bob"), line(login="bob"), True),
        (CLIENT, line(client="192.0.2.9"), True),
        (CLIENT, line(client="192.0.2.99"), False),
        (CLIENT, line(remote_address="192.0.2.9"), True),
        (Subject("message", "x"), line(about="x"), True),
    ],
)
def test_whose_a_line_is(subject: Subject, event: Event, is_its: bool) -> None:
    assert concerns(event, subject) is is_its


def test_a_client_that_guesses_is_summed_up() -> None:
    found = events(REFUSED["wrong password"] + REFUSED["relay denied"] + THROTTLED)
    story = tell_party(CLIENT, found, ["it is not in mynetworks"], now=AT + 60)
    assert story.state == "refused"
    assert story.now[0] == "it is not in mynetworks"
    assert story.now[1] == "its logins were refused unseen at 2026-11-25 04:38:50, and may be until 2026-11-25 05:38:50"
    assert any(line.startswith("1 x login refused, at") and "alice@example.org (1)" in line for line in story.now)
    assert len(story.cause) == 3
    assert any("Relay" in text or "mynetworks" in text for text in story.cause)


def test_an_old_throttle_is_over() -> None:
    story = tell_party(CLIENT, events(THROTTLED), now=AT + 3700)
    assert not any("unseen" in line for line in story.now)


def test_the_commonest_cause_comes_first() -> None:
    twice = REFUSED["relay denied"] + REFUSED["relay denied"].replace("04:38", "04:39") + REFUSED["wrong password"]
    assert "victim@remote.example" in tell_party(CLIENT, events(twice), now=AT).cause[0]


def test_a_session_that_goes_on_says_so() -> None:
    story = tell_session("4kz02vwm9", events(LOGS["delivered at once"])[:1])
    assert story.state == "accepted"
    assert story.now[-1].startswith("the history has no end of it")
