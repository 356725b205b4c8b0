"""What is demanded of TLS and who demands it, on real connections: MTA-STS, the postmaster, port 465."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.ca import CertificateAuthority
from tests.deliver.setting import Run, both_loops, free_port, job_for, sending, states
from tests.scripted_sink import CLOSE, EXTENSIONS, SILENT, Script, ScriptedSink
from valija.mail.job import Route
from valija.mail.outcome import Channel, Outcome, State
from valija.policy.mta_sts import StsPolicy
from valija.policy.tls_rules import TlsRule

DOMAIN, MX = "remote.example", "mx1.remote.example"
ENFORCE = {DOMAIN: StsPolicy("enforce", ("*.remote.example",), 86400, "version: STSv1\nmode: enforce\n")}
TESTING = {DOMAIN: StsPolicy("testing", ("*.remote.example",), 86400)}
ELSEWHERE = ("mx.elsewhere.example",)

ROOT = CertificateAuthority()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ca_file(folder: Path) -> str:
    return str(ROOT.write_root(folder / "ca.pem"))


@pytest.fixture(scope="module")
def right(folder: Path) -> ssl.SSLContext:
    return context(folder, MX)


def context(folder: Path, *names: str, authority: CertificateAuthority = ROOT, **more: Any) -> ssl.SSLContext:
    issued = authority.issue(*names, **more)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*issued.write(folder, str(id(issued))))
    return made


def facts(outcome: Outcome) -> tuple[State, Channel, str, str]:
    return outcome.state, outcome.channel, outcome.tls_level, outcome.tls_source


# MTA-STS


@both_loops
@pytest.mark.parametrize("level", ["may", "encrypt", "dane"])
def test_enforce(run: Run[None], level: str, right: ssl.SSLContext, ca_file: str) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(tls=right) as sink,
            sending(port=sink.port, sts=ENFORCE, tls_ca_file=ca_file, tls_security_level=level) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert facts(outcome) == (State.DELIVERED, Channel.VERIFIED, "verify", "mta-sts")
            [noted] = sender.noted
            assert (noted.policy_type, noted.result, noted.mx_patterns) == ("sts", "", ("*.remote.example",))
            assert noted.policy == ("version: STSv1", "mode: enforce")

    run(main())


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "name": ("certificate-host-mismatch", {"names": ["mx.elsewhere.example"]}),
    "authority": ("certificate-not-trusted", {"names": [MX], "authority": CertificateAuthority("Evil")}),
    "expired": ("certificate-expired", {"names": [MX], "days": (-30, -1)}),
    "nameless": ("certificate-host-mismatch", {"names": [], "common_name": MX}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_enforce_refuses_a_wrong_certificate_before_any_mail_command(wrong: str, folder: Path, ca_file: str) -> None:
    result, made = WRONG[wrong]
    tls = context(folder, *made["names"], **{key: value for key, value in made.items() if key != "names"})

    async def main() -> None:
        async with ScriptedSink(tls=tls) as sink, sending(port=sink.port, sts=ENFORCE, tls_ca_file=ca_file) as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.5")
            assert "MTA-STS policy of remote.example" in outcome.reply.text
            assert (outcome.tls_level, outcome.tls_source) == ("verify", "mta-sts")
            assert [session.verbs() for session in sink.sessions] == [["EHLO", "STARTTLS"]]
            assert [noted.result for noted in sender.noted] == [result]

    asyncio.run(main())


def test_enforce_waits_where_starttls_was_stripped() -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, sts=ENFORCE) as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.4")
            assert not sink.messages
            assert [noted.result for noted in sender.noted] == ["starttls-not-supported"]

    asyncio.run(main())


def test_enforce_does_not_connect_to_hosts_that_are_not_named(right: ssl.SSLContext, ca_file: str) -> None:
    """Whoever forges an MX answer of an unsigned domain wins nothing."""

    async def main() -> None:
        port = free_port()
        zone = {
            DOMAIN: ["MX 5 mx.evil.example", f"MX 10 {MX}"],
            "mx.evil.example": ["A 127.0.0.2"],
            MX: ["A 127.0.0.1"],
        }
        only = {DOMAIN: ["MX 5 mx.evil.example"], "mx.evil.example": ["A 127.0.0.2"]}
        async with (
            ScriptedSink(tls=right, port=port) as good,
            ScriptedSink(tls=right, port=port, address="127.0.0.2") as evil,
        ):
            async with sending(port=port, zone=zone, sts=ENFORCE, tls_ca_file=ca_file) as sender:
                [outcome] = await sender.deliver(job_for())
                assert outcome.state is State.DELIVERED
                assert [(noted.host, noted.result) for noted in sender.noted] == [
                    ("mx.evil.example", "validation-failure"),
                    (MX, ""),
                ]
            async with sending(port=port, zone=only, sts=ENFORCE, tls_ca_file=ca_file) as sender:
                [outcome] = await sender.deliver(job_for())
                assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.5")
                assert "does not name mx.evil.example" in outcome.reply.text
            assert len(good.messages) == 1
            assert not evil.sessions

    asyncio.run(main())


@pytest.mark.parametrize("wrong", WRONG)
def test_testing_reports_and_delivers(wrong: str, folder: Path, ca_file: str) -> None:
    result, made = WRONG[wrong]
    tls = context(folder, *made["names"], **{key: value for key, value in made.items() if key != "names"})

    async def main() -> None:
        async with ScriptedSink(tls=tls) as sink, sending(port=sink.port, sts=TESTING, tls_ca_file=ca_file) as sender:
            [outcome] = await sender.deliver(job_for())
            assert facts(outcome) == (State.DELIVERED, Channel.ENCRYPTED, "may", "default")
            assert [noted.result for noted in sender.noted] == [result]
            assert len(sink.messages) == 1

    asyncio.run(main())


def test_testing_goes_well(right: ssl.SSLContext, ca_file: str) -> None:
    async def main() -> None:
        async with ScriptedSink(tls=right) as sink, sending(port=sink.port, sts=TESTING, tls_ca_file=ca_file) as sender:
            [outcome] = await sender.deliver(job_for())
            assert facts(outcome) == (State.DELIVERED, Channel.VERIFIED, "may", "default")
            assert [noted.result for noted in sender.noted] == [""]
            assert len(sink.sessions) == 1

    asyncio.run(main())


def test_testing_without_tls_and_with_hosts_not_named(right: ssl.SSLContext, ca_file: str) -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, sts=TESTING) as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.NONE)
            assert [noted.result for noted in sender.noted] == ["starttls-not-supported"]
        unnamed = {DOMAIN: StsPolicy("testing", ELSEWHERE, 86400)}
        async with ScriptedSink(tls=right) as sink, sending(port=sink.port, sts=unnamed) as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.ENCRYPTED)
            assert [(noted.result, noted.detail) for noted in sender.noted] == [
                ("validation-failure", "the policy does not name the host")
            ]

    asyncio.run(main())


def test_testing_ends_in_clear_text_where_no_handshake_works() -> None:
    async def main() -> None:
        script: Script = {"STARTTLS": [["220 go", CLOSE]]}
        async with (
            ScriptedSink(script, extensions=[*EXTENSIONS, "STARTTLS"]) as sink,
            sending(port=sink.port, sts=TESTING) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert facts(outcome) == (State.DELIVERED, Channel.NONE, "may", "default")
            assert len(sink.sessions) == 3  # with proof, without, without TLS
            assert [noted.result for noted in sender.noted] == ["validation-failure"]

    asyncio.run(main())


def test_an_unusable_trust_is_nobodys_fault_but_ours(right: ssl.SSLContext) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(tls=right) as sink,
            sending(port=sink.port, sts=ENFORCE, tls_ca_file="/nowhere/ca.pem") as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is State.DEFERRED
            assert "/nowhere/ca.pem" in outcome.reply.text
            assert not sender.noted

    asyncio.run(main())


# The postmaster's word


@pytest.mark.parametrize(
    ("rule", "names", "state"),
    [
        (TlsRule(DOMAIN, "secure"), [DOMAIN], State.DELIVERED),
        (TlsRule(DOMAIN, "secure"), ["mx7.remote.example"], State.DELIVERED),
        (TlsRule(DOMAIN, "secure"), ["mx.elsewhere.example"], State.DEFERRED),
        (TlsRule(DOMAIN, "secure", match=ELSEWHERE), ["mx.elsewhere.example"], State.DELIVERED),
        (TlsRule(DOMAIN, "secure", match=("nexthop",)), ["mx7.remote.example"], State.DEFERRED),
        (TlsRule(DOMAIN, "verify", match=(".elsewhere.example",)), ["a.b.elsewhere.example"], State.DELIVERED),
        (TlsRule(".example", "verify"), [DOMAIN], State.DEFERRED),
        (TlsRule(".example", "verify"), [MX], State.DELIVERED),
        (TlsRule("other.example", "verify"), [DOMAIN], State.DELIVERED),
    ],
)
def test_rules(rule: TlsRule, names: list[str], state: State, folder: Path, ca_file: str) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(tls=context(folder, *names)) as sink,
            sending(port=sink.port, policies=(rule,), tls_ca_file=ca_file) as sender,
        ):
            assert states(await sender.deliver(job_for())) == [state]

    asyncio.run(main())


def test_a_rule_may_ask_for_less(right: ssl.SSLContext) -> None:
    async def main() -> None:
        rules = (TlsRule(DOMAIN, "none"),)
        async with (
            ScriptedSink(tls=right) as sink,
            sending(port=sink.port, policies=rules, tls_security_level="secure", sts=ENFORCE) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert facts(outcome) == (State.DELIVERED, Channel.NONE, "none", "configured")
            assert not sender.noted  # nothing was tried

    asyncio.run(main())


# TLS before the banner


@both_loops
@pytest.mark.parametrize(
    ("names", "state"), [(["127.0.0.1"], State.DELIVERED), (["mx.elsewhere.example"], State.DEFERRED)]
)
def test_tls_first(run: Run[None], names: list[str], state: State, folder: Path, ca_file: str) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(tls=context(folder, *names), tls_first=True) as sink,
            sending(port=1, tls_ca_file=ca_file, tls_security_level="verify") as sender,
        ):
            route = Route("remote", "127.0.0.1", sink.port, lookup_mx=False, is_relayhost=True, tls_wrappermode=True)
            [outcome] = await sender.deliver(job_for(route=route))
            assert outcome.state is state
            if state is State.DELIVERED:
                assert outcome.channel is Channel.VERIFIED
                assert sink.sessions[0].verbs()[:2] == ["EHLO", "MAIL"]
            else:
                assert outcome.reply.enhanced == "4.7.5"
                assert not any(session.commands for session in sink.sessions)

    run(main())


@pytest.mark.parametrize("script", [{}, {"banner": [SILENT]}], ids=["speaks", "silent"])
@pytest.mark.parametrize("level", ["may", "verify"])
def test_tls_first_never_becomes_clear_text(script: Any, level: str) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(script) as sink,
            sending(port=1, starttls_timeout=0.5, tls_security_level=level) as sender,
        ):
            route = Route("remote", "127.0.0.1", sink.port, lookup_mx=False, is_relayhost=True, tls_wrappermode=True)
            [outcome] = await sender.deliver(job_for(route=route))
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.5")
            assert not sink.messages
            assert not any("MAIL" in session.verbs() for session in sink.sessions)

    asyncio.run(main())


# What it costs


def test_the_plain_way_costs_its_look_ups_once_and_nothing_per_message(right: ssl.SSLContext) -> None:
    async def main() -> None:
        async with ScriptedSink(tls=right) as sink, sending(port=sink.port) as sender:
            for _ in range(5):
                assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert len(sink.sessions) == 1
            assert sorted(sender.resolver.asked) == [(MX, "A"), (MX, "AAAA"), (DOMAIN, "MX")]
            assert len(sender.noted) == 1

    asyncio.run(main())
