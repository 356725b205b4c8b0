"""What a sender asked for, on the way out: passed on where it can be, and never broken where it can't."""

import asyncio
import time
from typing import Any

import pytest

from tests.deliver.setting import CONTENT, job_for, sending, states
from tests.scripted_sink import EXTENSIONS, ScriptedSink
from valija.deliver.errand import Attempt, Errand, Peer, Target
from valija.deliver.verdicts import refuse_unfit
from valija.mail.envelope import DeliverBy
from valija.mail.outcome import Channel, Outcome, State
from valija.smtp.client_capabilities import Capabilities

PEER = Peer(Target("mx1.remote.example", "192.0.2.1", 25), Channel.VERIFIED)
NOW = 1000.0


def judged(capabilities: Capabilities, *, peer: Peer = PEER, now: float = NOW, **envelope: Any) -> Outcome | None:
    """The outcome that a message gets before anything is said to a host, None where it may be said."""

    async def main() -> Outcome | None:
        attempt = Attempt(job_for(**envelope), asyncio.get_running_loop())
        errand = Errand(attempt, attempt.job.numbers)
        refuse_unfit(errand, peer, capabilities, now)
        assert bool(attempt.outcomes) != bool(errand.numbers)
        return attempt.outcomes[0] if attempt.outcomes else None

    return asyncio.run(main())


# REQUIRETLS


def test_requiretls_never_reaches_a_host_without_it() -> None:
    outcome = judged(Capabilities(), require_tls=True)
    assert outcome is not None
    assert outcome.state is State.FAILED
    assert str(outcome.reply).startswith("550 5.7.30 ")


@pytest.mark.parametrize("channel", [Channel.NONE, Channel.ENCRYPTED])
def test_requiretls_never_reaches_a_host_that_proved_nothing(channel: Channel) -> None:
    outcome = judged(Capabilities(require_tls=True), peer=Peer(PEER.target, channel), require_tls=True)
    assert outcome is not None
    assert outcome.state is State.DEFERRED


def test_requiretls_reaches_a_host_that_has_it() -> None:
    assert judged(Capabilities(require_tls=True), require_tls=True) is None


def test_a_report_is_not_lost_for_requiretls() -> None:
    assert judged(Capabilities(), require_tls=True, reverse_path="") is None


def test_requiretls_says_nothing_to_a_host_in_clear() -> None:
    async def main() -> None:
        async with (
            ScriptedSink(extensions=(*EXTENSIONS, "REQUIRETLS")) as sink,
            sending(port=sink.port) as sender,
        ):
            assert states(await sender.deliver(job_for(require_tls=True))) != [State.DELIVERED]
            assert not any(command.startswith(("MAIL", "RCPT")) for one in sink.sessions for command in one.commands)

    asyncio.run(main())


# DELIVERBY


@pytest.mark.parametrize(
    ("capabilities", "until", "code"),
    [
        (Capabilities(), NOW + 60, "550 5.3.3 "),
        (Capabilities(deliver_by=True, least_deliver_by=61), NOW + 60, "550 5.3.3 "),
        (Capabilities(deliver_by=True), NOW + 0.5, "550 5.4.7 "),
        (Capabilities(deliver_by=True), NOW - 5, "550 5.4.7 "),
    ],
)
def test_what_is_to_be_returned_goes_only_where_that_is_known(
    capabilities: Capabilities, until: float, code: str
) -> None:
    outcome = judged(capabilities, deliver_by=DeliverBy(until, returns=True))
    assert outcome is not None
    assert outcome.state is State.FAILED
    assert str(outcome.reply).startswith(code)


def test_in_time_where_it_is_known() -> None:
    capabilities = Capabilities(deliver_by=True, least_deliver_by=60)
    assert judged(capabilities, deliver_by=DeliverBy(NOW + 60, returns=True)) is None


@pytest.mark.parametrize("until", [NOW + 60, NOW - 60])
def test_who_only_wants_to_be_told_is_served_everywhere(until: float) -> None:
    assert judged(Capabilities(), deliver_by=DeliverBy(until, returns=False)) is None


@pytest.mark.parametrize(("extension", "passed_on"), [("DELIVERBY", True), ("X-NOTHING", False)])
def test_the_time_that_is_left_travels_on(extension: str, passed_on: bool) -> None:
    async def main() -> None:
        async with ScriptedSink(extensions=(*EXTENSIONS, extension)) as sink, sending(port=sink.port) as sender:
            by = DeliverBy(time.time() + 100, returns=False)
            [outcome] = await sender.deliver(job_for(deliver_by=by))
            assert outcome.state is State.DELIVERED
            assert outcome.deliver_by_passed_on is passed_on
            mail = sink.messages[0].mail
            assert (" BY=100;N" in mail or " BY=99;N" in mail) is passed_on
            assert ("DELAY" in sink.messages[0].recipients[0]) is not passed_on

    asyncio.run(main())


# MT-PRIORITY, SIZE


@pytest.mark.parametrize(("extension", "parameter"), [("MT-PRIORITY", " MT-PRIORITY=-4"), ("X-NOTHING", "")])
def test_a_priority_travels_on_where_it_is_understood(extension: str, parameter: str) -> None:
    async def main() -> None:
        async with ScriptedSink(extensions=(extension,)) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for(priority=-4))) == [State.DELIVERED]
            assert sink.messages[0].mail == f"MAIL FROM:<alice@example.org>{parameter}"

    asyncio.run(main())


@pytest.mark.parametrize(("limit", "state"), [(len(CONTENT), State.DELIVERED), (len(CONTENT) - 1, State.FAILED)])
def test_what_a_host_can_not_take_is_not_offered_to_it(limit: int, state: State) -> None:
    async def main() -> None:
        async with ScriptedSink(extensions=("PIPELINING", f"SIZE {limit}")) as sink, sending(port=sink.port) as sender:
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is state
            if state is State.FAILED:
                assert str(outcome.reply).startswith("552 5.3.4 ")
                assert "MAIL" not in sink.sessions[0].verbs()

    asyncio.run(main())


def test_a_host_that_is_asked_for_nothing_special_hears_nothing_special() -> None:
    everything = ("PIPELINING", "REQUIRETLS", "DELIVERBY", "MT-PRIORITY MIXER", "FUTURERELEASE 5 2031-01-01T00:00:00Z")

    async def main() -> None:
        async with ScriptedSink(extensions=everything) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for(tls_optional=True))) == [State.DELIVERED]
            assert sink.messages[0].mail == "MAIL FROM:<alice@example.org>"

    asyncio.run(main())
