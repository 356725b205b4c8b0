"""Logging in at a next hop: what is shown to whom, and that nothing of it makes mail bounce."""

import asyncio
import base64
import os
import ssl
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from tests.ca import CertificateAuthority
from tests.deliver.setting import MemoryLog, Sender, free_port, job_for, sending
from tests.scripted_sink import CLOSE, EXTENSIONS, Answer, ScriptedSink
from tests.token_endpoint import CLIENT, TokenEndpoint
from valija.deliver import login as login_module
from valija.deliver.credentials import LoginOptions, TokenOptions
from valija.deliver.login import Logins, choose
from valija.logs import Log
from valija.mail.job import Route
from valija.mail.outcome import Channel, Outcome, State
from valija.policy.next_hop import NextHop

PASSWORD = "s3cret of ours"
RELAY = "relay.example"
OFFER = (*EXTENSIONS, "AUTH PLAIN LOGIN")


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("login")


@pytest.fixture(scope="module")
def ca_file(authority: CertificateAuthority, folder: Path) -> str:
    return str(authority.write_root(folder / "ca.pem"))


@pytest.fixture(scope="module")
def context(authority: CertificateAuthority, folder: Path) -> ssl.SSLContext:
    return context_for(authority, folder, RELAY)


def context_for(authority: CertificateAuthority, folder: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(name).write(folder, name))
    return context


@pytest.fixture
def work(tmp_path: Path) -> LoginOptions:
    return LoginOptions("work", "alice", str(secret(tmp_path / "password", PASSWORD)))


def secret(file: Path, content: str) -> Path:
    file.touch(mode=0o640)
    file.write_text(f"{content}\n")
    return file


def plain(password: str) -> str:
    return base64.b64encode(b"\0alice\0" + password.encode()).decode()


def to(port: int, login: str = "work") -> Route:
    return Route("remote", RELAY, port, lookup_mx=False, is_relayhost=True, login=login)


ZONE = {RELAY: ["A 127.0.0.1"]}


def look_again(sender: Sender) -> None:
    """Have the next hop tried again at once: that it is left in peace for a while is a matter of its own."""
    sender.agent._memory.look_again()


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def text(outcome: Outcome) -> str:
    assert outcome.state is State.DEFERRED
    assert outcome.reply.is_transient
    assert PASSWORD not in str(outcome.reply)
    return str(outcome.reply)


def test_logged_in_before_mail_and_once_for_all_of_it(
    context: ssl.SSLContext, ca_file: str, work: LoginOptions
) -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"AUTH": ["235 2.7.0 welcome"]}, tls=context, after_tls=OFFER) as sink,
            sending(port=25, zone=ZONE, logins=[work], tls_ca_file=ca_file) as sender,
        ):
            for _ in range(2):
                [outcome] = await sender.deliver(job_for(route=to(sink.port)))
                assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.VERIFIED)
            [session] = sink.sessions
            assert session.verbs()[:5] == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL"]
            assert session.commands[3] == f"AUTH PLAIN {plain(PASSWORD)}"
            assert PASSWORD not in str(sender.log.lines)

    run(main())


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        ({"extensions": OFFER}, "454 4.7.4 TLS is required"),
        ({"extensions": (*OFFER, "STARTTLS"), "script": {"STARTTLS": ["454 no"]}}, "454 4.7.4"),
    ],
    ids=["not offered", "refused"],
)  # fmt: skip
@pytest.mark.parametrize("level", ["none", "may", "encrypt"])
def test_a_password_never_travels_in_clear(sink: dict[str, Any], words: str, level: str, work: LoginOptions) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(**sink) as peer,
            sending(port=25, zone=ZONE, logins=[work], tls_security_level=level) as sender,
        ):
            [outcome] = await sender.deliver(job_for(route=to(peer.port)))
            assert words in text(outcome)
            assert not [session for session in peer.sessions if {"AUTH", "MAIL"} & set(session.verbs())]

    run(main())


def test_a_password_is_not_shown_to_a_machine_in_the_middle(
    authority: CertificateAuthority, folder: Path, ca_file: str, work: LoginOptions
) -> None:
    other = context_for(authority, folder, "middle.example")
    stranger = context_for(CertificateAuthority("Stranger"), folder, RELAY)

    async def main(shown: ssl.SSLContext) -> None:
        async with (
            ScriptedSink({"AUTH": ["235 2.7.0 welcome"]}, tls=shown, after_tls=OFFER) as sink,
            sending(port=25, zone=ZONE, logins=[work], tls_ca_file=ca_file) as sender,
        ):
            [outcome] = await sender.deliver(job_for(route=to(sink.port)))
            assert "454 4.7.5" in text(outcome)
            assert not [session for session in sink.sessions if {"AUTH", "MAIL"} & set(session.verbs())]

    for shown in (other, stranger):
        run(main(shown))


@pytest.mark.parametrize(
    ("script", "offer", "words"),
    [
        ({"AUTH": ["535 5.7.8 no such user"]}, OFFER, "454 4.7.8 relay.example refuses the login work: 535 5.7.8"),
        ({"AUTH": ["530 5.7.0 what"]}, OFFER, "454 4.7.8 relay.example refuses the login work: 530"),
        ({"AUTH": ["334 more", "235 ok"]}, OFFER, "454 4.7.8 relay.example is not to be trusted with the login work"),
        ({}, EXTENSIONS, "454 4.7.4 relay.example has no mechanism for the login work: it has none at all"),
        ({}, (*EXTENSIONS, "AUTH GSSAPI XOAUTH2"), "it has GSSAPI XOAUTH2"),
    ],
    ids=["wrong", "530", "odd", "none", "others"],
)  # fmt: skip
def test_what_the_postmaster_has_to_mend_is_said_once_and_not_hammered(
    script: dict[str, Any],
    offer: Sequence[str],
    words: str,
    context: ssl.SSLContext,
    ca_file: str,
    work: LoginOptions,
) -> None:
    async def main() -> None:
        async with (
            ScriptedSink({**script, "*": ["501 as you wish"]}, tls=context, after_tls=offer) as sink,
            sending(port=25, zone=ZONE, logins=[work], tls_ca_file=ca_file) as sender,
        ):
            for _ in range(3):
                [outcome] = await sender.deliver(job_for(route=to(sink.port)))
                assert words in text(outcome)
                look_again(sender)
            assert len(sink.sessions) == 1
            [line] = sender.log.of("cannot log in")
            assert line["login"] == "work"
            assert words[10:] in line["reason"]
            assert [level for level, event, _ in sender.log.lines if event == "cannot log in"] == ["error"]
            assert PASSWORD not in str(sender.log.lines)

    run(main())


def test_a_password_that_was_mended_counts_at_once(context: ssl.SSLContext, ca_file: str, work: LoginOptions) -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"AUTH": ["535 5.7.8 no", "235 2.7.0 welcome"]}, tls=context, after_tls=OFFER) as sink,
            sending(port=25, zone=ZONE, logins=[work], tls_ca_file=ca_file) as sender,
        ):
            [outcome] = await sender.deliver(job_for(route=to(sink.port)))
            assert "4.7.8" in text(outcome)
            Path(work.password_file).write_text("better")
            os.utime(work.password_file, ns=(1, 1))
            look_again(sender)
            [outcome] = await sender.deliver(job_for(route=to(sink.port)))
            assert outcome.state is State.DELIVERED
            assert sink.sessions[1].commands[3] == f"AUTH PLAIN {plain('better')}"

    run(main())


def test_whoever_asks_for_it_has_it_tried_at_once(context: ssl.SSLContext, ca_file: str, work: LoginOptions) -> None:
    async def main() -> None:
        logins = Logins([work], Path(), cast("Log", MemoryLog()))
        async with (
            ScriptedSink({"AUTH": ["535 no", "235 welcome"]}, tls=context, after_tls=OFFER) as sink,
            sending(port=25, zone=ZONE, logins=logins, tls_ca_file=ca_file) as sender,
        ):
            [outcome] = await sender.deliver(job_for(route=to(sink.port)))
            assert "4.7.8" in text(outcome)
            look_again(sender)
            logins.look_again()
            [outcome] = await sender.deliver(job_for(route=to(sink.port)))
            assert outcome.state is State.DELIVERED

    run(main())


def test_after_a_pause_it_is_tried_again(
    context: ssl.SSLContext, ca_file: str, work: LoginOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_module, "PAUSE", 0.0)

    async def main() -> None:
        async with (
            ScriptedSink({"AUTH": ["535 no", "535 no", "235 welcome"]}, tls=context, after_tls=OFFER) as sink,
            sending(port=25, zone=ZONE, logins=[work], tls_ca_file=ca_file) as sender,
        ):
            for state in (State.DEFERRED, State.DEFERRED, State.DELIVERED):
                [outcome] = await sender.deliver(job_for(route=to(sink.port)))
                assert outcome.state is state
                look_again(sender)
            assert len(sender.log.of("cannot log in")) == 1  # it is no news the second time

    run(main())


def test_a_wrong_password_is_shown_once_however_much_mail_there_is(
    context: ssl.SSLContext, ca_file: str, work: LoginOptions
) -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"AUTH": ["535 5.7.8 no"]}, tls=context, after_tls=OFFER) as sink,
            sending(port=25, zone=ZONE, logins=[work], tls_ca_file=ca_file) as sender,
        ):
            jobs = [job_for(route=to(sink.port)) for _ in range(60)]
            outcomes = await asyncio.gather(*(sender.deliver(job) for job in jobs))
            assert all("4.7.8" in text(outcome) for [outcome] in outcomes)
            tries = [command for session in sink.sessions for command in session.commands if command.startswith("AUTH")]
            assert len(tries) == 1

    run(main())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("454 4.7.0 the directory is away", "454 4.7.0 the directory is away"),
        ("421 4.3.2 too much", "421 4.3.2 too much"),
        (["nonsense"], "450 4.5.0"),
    ],
)
def test_what_passes_by_itself_is_a_deferral_and_tried_with_the_next_attempt(
    answer: Answer, words: str, context: ssl.SSLContext, ca_file: str, work: LoginOptions
) -> None:
    async def main() -> None:
        script = {"AUTH": [answer, "235 2.7.0 welcome"]}
        async with (
            ScriptedSink(script, tls=context, after_tls=OFFER) as sink,
            sending(port=25, zone=ZONE, logins=[work], tls_ca_file=ca_file) as sender,
        ):
            [outcome] = await sender.deliver(job_for(route=to(sink.port)))
            assert words in text(outcome)
            look_again(sender)
            [outcome] = await sender.deliver(job_for(route=to(sink.port)))
            assert outcome.state is State.DELIVERED
            assert not sender.log.of("cannot log in")

    run(main())


def test_a_connection_lost_within_the_login_is_a_deferral(
    context: ssl.SSLContext, ca_file: str, work: LoginOptions
) -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"AUTH": [CLOSE]}, tls=context, after_tls=OFFER) as sink,
            sending(port=25, zone=ZONE, logins=[work], tls_ca_file=ca_file) as sender,
        ):
            [outcome] = await sender.deliver(job_for(route=to(sink.port)))
            assert "450 4.4.2" in text(outcome)

    run(main())


def test_no_connection_is_made_for_a_login_that_cannot_be(work: LoginOptions) -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=25, zone=ZONE, logins=[work]) as sender:
            Path(work.password_file).unlink()
            for _ in range(2):
                [outcome] = await sender.deliver(job_for(route=to(sink.port)))
                assert "454 4.7.0 The login work at relay.example can't be used now" in text(outcome)
                look_again(sender)
            [outcome] = await sender.deliver(job_for(route=to(sink.port, login="gone")))
            assert "454 4.3.5 The login gone is not configured any more" in text(outcome)
            assert not sink.sessions
            [line] = sender.log.of("cannot log in")
            assert work.password_file in line["reason"]

    run(main())


def test_the_fall_back_relay_is_not_shown_the_password(
    context: ssl.SSLContext, ca_file: str, work: LoginOptions
) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(tls=context, after_tls=OFFER) as sink,
            sending(
                port=25,
                zone={RELAY: ["A 127.0.0.1"], "spare.example": ["A 127.0.0.1"]},
                logins=[work],
                tls_ca_file=ca_file,
                fallback_relay=(NextHop("spare.example", sink.port),),
            ) as sender,
        ):
            [outcome] = await sender.deliver(job_for(route=to(free_port())))
            assert (outcome.state, outcome.remote) == (State.DELIVERED, "spare.example")
            assert "AUTH" not in sink.sessions[0].verbs()

    run(main())


def with_tokens(folder: Path, provider: TokenEndpoint) -> LoginOptions:
    refresh = secret(folder / "refresh", provider.granted)
    return LoginOptions("work", "alice", oauth=TokenOptions(provider.url, CLIENT[0], "", str(refresh)))


def bearer(token: str) -> str:
    said = f"user=alice\x01auth=Bearer {token}\x01\x01"
    return f"AUTH XOAUTH2 {base64.b64encode(said.encode()).decode()}"


def test_a_token_that_is_refused_is_shown_once_and_followed_by_a_fresh_one(
    context: ssl.SSLContext, ca_file: str, tmp_path: Path
) -> None:
    refusal = base64.b64encode(b'{"status":"401"}').decode()

    async def main() -> None:
        script = {"AUTH": [f"334 {refusal}", "235 2.7.0 welcome"], "": ["535 5.7.8 expired"]}
        async with (
            TokenEndpoint() as provider,
            ScriptedSink(script, tls=context, after_tls=(*EXTENSIONS, "AUTH XOAUTH2 PLAIN")) as sink,
        ):
            logins = Logins([with_tokens(tmp_path, provider)], tmp_path / "tokens", cast("Log", log := MemoryLog()))
            async with sending(port=25, zone=ZONE, logins=logins, tls_ca_file=ca_file) as sender:
                [outcome] = await sender.deliver(job_for(route=to(sink.port)))
                assert "454 4.7.8 relay.example refuses the login work: 535 5.7.8 expired" in text(outcome)
                look_again(sender)
                logins.look_again()
                [outcome] = await sender.deliver(job_for(route=to(sink.port)))
                assert outcome.state is State.DELIVERED
            tried = [command for session in sink.sessions for command in session.commands if command.startswith("AUTH")]
            assert tried == [bearer("access-1"), bearer("access-2")]
            assert "access-" not in str((log.lines, sender.log.lines))

    run(main())


def test_where_there_is_no_token_the_mail_waits_and_the_log_says_why(tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider, ScriptedSink() as sink:
            provider.refuses = "invalid_grant"
            login = with_tokens(tmp_path, provider)
            async with sending(port=25, zone=ZONE, logins=[login], tokens_dir=tmp_path / "tokens") as sender:
                for _ in range(3):
                    [outcome] = await sender.deliver(job_for(route=to(sink.port)))
                    assert "454 4.7.0 The login work at relay.example can't be used now" in text(outcome)
                    look_again(sender)
                [line] = sender.log.of("cannot log in")
                assert "invalid_grant" in line["reason"]
                assert provider.url in line["reason"]
                assert len(provider.asked) == 1
                assert not sink.sessions
                assert provider.granted not in str(sender.log.lines)

    run(main())


@pytest.mark.parametrize(
    ("offered", "options", "chosen"),
    [
        (("LOGIN", "PLAIN"), {}, "PLAIN"),
        (("LOGIN",), {}, "LOGIN"),
        (("PLAIN", "SCRAM-SHA-256"), {}, "SCRAM-SHA-256"),
        (("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), {}, "SCRAM-SHA-256-PLUS"),
        (("PLAIN", "SCRAM-SHA-256"), {"mechanisms": ("PLAIN",)}, "PLAIN"),
        (("SCRAM-SHA-256",), {"mechanisms": ("PLAIN",)}, ""),
        (("XOAUTH2", "OAUTHBEARER"), {}, ""),
        (("GSSAPI", "CRAM-MD5"), {}, ""),
        (("PLAIN", "XOAUTH2", "OAUTHBEARER"), {"oauth": TokenOptions("https://id.example")}, "OAUTHBEARER"),
        (("PLAIN", "XOAUTH2"), {"oauth": TokenOptions("https://id.example")}, "XOAUTH2"),
        (("PLAIN",), {"oauth": TokenOptions("https://id.example")}, ""),
    ],
)
def test_the_strongest_mechanism(offered: tuple[str, ...], options: dict[str, Any], chosen: str) -> None:
    assert choose(LoginOptions("work", **options), offered, can_bind=True) == chosen


def test_no_channel_binding_where_there_is_nothing_to_bind_to() -> None:
    offered = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
    assert choose(LoginOptions("work"), offered, can_bind=False) == "SCRAM-SHA-256"
