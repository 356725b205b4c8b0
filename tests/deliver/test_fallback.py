"""Fall-back relays: where nobody can be found or reached, and only then."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.deliver.setting import free_port, job_for, sending
from tests.scripted_sink import ScriptedSink
from valija.deliver.fallback import fallback_routes
from valija.mail.job import Route
from valija.mail.outcome import State
from valija.policy.next_hop import NextHop
from valija.policy.tls_rules import TlsRule, TlsRules

REMOTE = Route("remote", "remote.example")
SPARE = ["A 127.0.0.2"]
DEAD = "A 127.0.0.3"  # nobody listens there

Zone = Mapping[str, Sequence[str]]


def zone(**more: Sequence[str]) -> Zone:
    hosts = {"remote.example": ["MX 10 mx1.remote.example"], "mx1.remote.example": [DEAD], "spare.example": SPARE}
    return {**hosts, **{name.replace("_", "."): records for name, records in more.items()}}


@pytest.mark.parametrize(
    "found",
    [
        zone(),
        zone(remote_example=["MX 10 mx1.remote.example", "MX 20 mx2.remote.example"], mx2_remote_example=[DEAD]),
        zone(remote_example=["FAILED"]),
        zone(mx1_remote_example=["FAILED"]),
        zone(mx1_remote_example=[]),
    ],
    ids=["dead", "all dead", "MX look-up fails", "address look-up fails", "no address"],
)
def test_taken_where_nobody_can_be_found_or_reached(found: Zone) -> None:
    async def main() -> None:
        port = free_port()
        relays = (NextHop("spare.example", free_port()), NextHop("spare.example", port))
        async with (
            ScriptedSink(port=port, address="127.0.0.2") as spare,
            sending(port=free_port(), zone=found, fallback_relay=relays) as sender,
        ):
            for _ in range(2):
                [outcome] = await sender.deliver(job_for())
                assert (outcome.state, outcome.remote) == (State.DELIVERED, "spare.example")
            assert len(spare.messages) == 2
            assert sender.log.of("trying a fall-back relay")[0] == {
                "next_hop": "remote.example",
                "relay": "spare.example",
            }

    asyncio.run(main())


@pytest.mark.parametrize(
    ("records", "state"),
    [
        (["MX 0 ."], State.FAILED),
        ([], State.FAILED),
        (["MX 10 mail.example.org"], State.FAILED),
    ],
    ids=["null MX", "no such host", "ourselves"],
)
def test_not_where_it_is_final(records: list[str], state: State) -> None:
    found = {**zone(), "remote.example": records} if records else {"spare.example": SPARE}

    async def main() -> None:
        async with (
            ScriptedSink(address="127.0.0.2") as spare,
            sending(
                port=free_port(),
                zone=found,
                own_names=["mail.example.org"],
                fallback_relay=(NextHop("spare.example", spare.port),),
            ) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is state
            assert not spare.sessions

    asyncio.run(main())


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ({"banner": ["421 4.3.2 not now"]}, State.DEFERRED),
        ({"banner": ["554 5.3.2 never"]}, State.DEFERRED),
        ({"MAIL": ["451 4.7.1 greylisted"]}, State.DEFERRED),
        ({"RCPT": ["550 5.1.1 nobody"]}, State.FAILED),
    ],
)
@pytest.mark.parametrize("and_a_dead_one", ["10", "20", ""])
def test_not_where_a_host_answers(script: dict[str, Any], state: State, and_a_dead_one: str) -> None:
    async def main() -> None:
        port = free_port()
        hosts = ["MX 15 mx1.remote.example"]
        hosts += [f"MX {and_a_dead_one} mx2.remote.example"] if and_a_dead_one else []
        found = zone(remote_example=hosts, mx1_remote_example=["A 127.0.0.1"], mx2_remote_example=[DEAD])
        async with (
            ScriptedSink(script, port=port),
            ScriptedSink(address="127.0.0.2") as spare,
            sending(port=port, zone=found, fallback_relay=(NextHop("spare.example", spare.port),)) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is state
            assert not spare.sessions

    asyncio.run(main())


def test_where_the_relay_fails_too_the_first_reason_is_told() -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"banner": ["554 5.7.1 who are you"]}, address="127.0.0.2") as spare,
            sending(port=free_port(), zone=zone(), fallback_relay=(NextHop("spare.example", spare.port),)) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is State.DEFERRED
            assert "No connection to mx1.remote.example" in outcome.reply.text
            assert spare.sessions

    asyncio.run(main())


def test_what_a_relay_answers_to_the_mail_is_the_outcome() -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"RCPT": ["550 5.1.1 nobody", "450 4.2.1 later"]}, address="127.0.0.2") as spare,
            sending(port=free_port(), zone=zone(), fallback_relay=(NextHop("spare.example", spare.port),)) as sender,
        ):
            outcomes = await sender.deliver(job_for("bob@remote.example", "carol@remote.example"))
            assert [outcome.state for outcome in outcomes] == [State.FAILED, State.DEFERRED]

    asyncio.run(main())


RELAYS = (NextHop("a.example"), NextHop("b.example", 465))


@pytest.mark.parametrize(
    ("route", "rules", "is_taken"),
    [
        (REMOTE, TlsRules(), True),
        (Route("remote", "remote.example", tls_demand="optional"), TlsRules(), True),
        (Route("remote", "remote.example", tls_demand="required"), TlsRules(), False),
        (REMOTE, TlsRules("encrypt"), True),  # the relay is held to it too
        (REMOTE, TlsRules("may", [TlsRule("remote.example", "secure")]), False),
        (REMOTE, TlsRules("may", [TlsRule("remote.example", "encrypt")]), False),
        (REMOTE, TlsRules("encrypt", [TlsRule("remote.example", "may")]), True),
        (REMOTE, TlsRules("may", [TlsRule("other.example", "secure")]), True),
    ],
)
def test_what_has_to_stay_on_its_way_is_not_handed_to_a_relay(route: Route, rules: TlsRules, is_taken: bool) -> None:
    assert bool(fallback_routes(route, RELAYS, rules)) is is_taken


def test_a_relay_is_a_way_of_its_own() -> None:
    route = Route("remote", "relay.example", 587, False, True, login="work", pool="bulk", tls_demand="optional")
    first, second = fallback_routes(route, RELAYS, TlsRules())
    assert first == Route("remote", "a.example", 0, False, True, pool="bulk", tls_demand="optional")
    assert (second.port, second.tls_wrappermode, second.login) == (465, True, "")
