"""STARTTLS on the way out, by policy: C058, fall-back to clear text, and checks of certificates."""

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.ca import CertificateAuthority
from tests.deliver.setting import Run, both_loops, free_port, job_for, sending, states
from tests.scripted_sink import CLOSE, EXTENSIONS, SILENT, Answer, ScriptedSink
from valija.mail.job import Route
from valija.mail.outcome import Channel, State

MX = "mx1.remote.example"


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ca_file(authority: CertificateAuthority, folder: Path) -> str:
    return str(authority.write_root(folder / "ca.pem"))


def server_context(authority: CertificateAuthority, folder: Path, *names: str) -> ssl.SSLContext:
    chain, key = authority.issue(*names).write(folder, names[0].replace(":", "_"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


@pytest.fixture(scope="module")
def context(authority: CertificateAuthority, folder: Path) -> ssl.SSLContext:
    return server_context(authority, folder, MX)


@both_loops
@pytest.mark.parametrize("level", ["may", "encrypt"])
def test_encrypted_whatever_the_certificate(run: Run[None], level: str, context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with ScriptedSink(tls=context) as sink, sending(port=sink.port, tls_security_level=level) as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.ENCRYPTED)
            assert outcome.tls is not None
            assert outcome.tls.version == "TLSv1.3"
            assert sink.messages[0].tls
            [line] = sender.log.of("attempt")
            assert (line["tls"], line["tls_version"], line["cipher"]) == ("encrypted", "TLSv1.3", outcome.tls.cipher)

    run(main())


def test_none_never_asks(context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with ScriptedSink(tls=context) as sink, sending(port=sink.port, tls_security_level="none") as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.NONE)
            assert "STARTTLS" not in sink.sessions[0].verbs()

    asyncio.run(main())


def test_c058_a_not_offered_one_ehlo_and_delivered() -> None:
    async def main() -> None:
        plain = "250-sink.example\r\n250 PIPELINING"
        async with ScriptedSink({"EHLO": [plain, "503 once is enough"]}) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert sink.sessions[0].verbs() == ["EHLO", "MAIL", "RCPT", "DATA"]

    asyncio.run(main())


@both_loops
def test_c058_b_what_is_announced_inside_tls_counts(run: Run[None], context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(extensions=["DSN"], after_tls=["SIZE 1000", "8BITMIME"], tls=context) as sink,
            sending(port=sink.port) as sender,
        ):
            job = job_for(envid="x", body="8BITMIME")
            assert states(await sender.deliver(job)) == [State.DELIVERED]
            assert sink.sessions[0].verbs()[:3] == ["EHLO", "STARTTLS", "EHLO"]
            assert sink.messages[0].mail == f"MAIL FROM:<alice@example.org> SIZE={job.content.size} BODY=8BITMIME"

    run(main())


@both_loops
@pytest.mark.parametrize("reply", ["454 4.7.0 not now", "502 5.5.1 what"])
def test_c058_c_d_a_refused_starttls(run: Run[None], reply: str) -> None:
    async def main() -> None:
        extensions = [*EXTENSIONS, "STARTTLS"]
        async with (
            ScriptedSink({"STARTTLS": [reply]}, extensions=extensions) as sink,
            sending(port=sink.port, tls_security_level="may") as may,
            sending(port=sink.port, tls_security_level="encrypt") as encrypt,
        ):
            [outcome] = await may.deliver(job_for())
            assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.NONE)
            assert len(sink.sessions) == 1  # on the same connection
            [outcome] = await encrypt.deliver(job_for())
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.4")
            assert len(sink.messages) == 1

    run(main())


def test_encrypt_defers_where_nothing_is_offered() -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, tls_security_level="encrypt") as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.4")
            await sink.until(lambda: sink.sessions[0].closed)
            assert sink.sessions[0].verbs() == ["EHLO", "QUIT"]

    asyncio.run(main())


@both_loops
@pytest.mark.parametrize(
    "after",
    [["220 go", CLOSE], ["220 go", SILENT], ["220 go", "this is no TLS", SILENT]],
    ids=["closed", "stalled", "garbage"],
)
def test_a_failed_handshake_at_may_goes_on_in_clear_in_the_same_attempt(run: Run[None], after: Answer) -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"STARTTLS": [after]}, extensions=[*EXTENSIONS, "STARTTLS"]) as sink,
            sending(port=sink.port, starttls_timeout=0.5) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.NONE)
            assert len(sink.sessions) == 2
            assert "STARTTLS" not in sink.sessions[1].verbs()

    run(main())


def test_a_failed_handshake_at_encrypt_is_deferred() -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"STARTTLS": [["220 go", CLOSE]]}, extensions=[*EXTENSIONS, "STARTTLS"]) as sink,
            sending(port=sink.port, tls_security_level="encrypt") as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.5")
            assert len(sink.sessions) == 1

    asyncio.run(main())


@both_loops
def test_octets_behind_the_220_are_never_taken_for_what_is_said_inside(run: Run[None], context: ssl.SSLContext) -> None:
    async def main() -> None:
        injected = b"220 go\r\n250-mx\r\n250 X-INJECTED\r\n"
        async with (
            ScriptedSink({"STARTTLS": [injected]}, tls=context) as sink,
            sending(port=sink.port, tls_security_level="encrypt") as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is State.DEFERRED
            assert not sink.messages

    run(main())


@both_loops
@pytest.mark.parametrize("level", ["verify", "secure"])
def test_a_verified_peer(run: Run[None], level: str, context: ssl.SSLContext, ca_file: str) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(tls=context) as sink,
            sending(port=sink.port, tls_security_level=level, tls_ca_file=ca_file) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.VERIFIED)

    run(main())


@both_loops
@pytest.mark.parametrize("level", ["verify", "secure"])
@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_a_peer_that_is_not_who_it_should_be_is_deferred(
    run: Run[None], level: str, wrong: str, authority: CertificateAuthority, folder: Path, ca_file: str
) -> None:
    names = ["mx.evil.example"] if wrong == "name" else [MX]
    issuer = authority if wrong == "name" else CertificateAuthority("Evil")

    async def main() -> None:
        async with (
            ScriptedSink(tls=server_context(issuer, folder, *names)) as sink,
            sending(port=sink.port, tls_security_level=level, tls_ca_file=ca_file) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.5")
            assert not sink.messages
            assert len(sink.sessions) == 1  # nothing in clear

    run(main())


def test_secure_does_not_believe_the_dns(authority: CertificateAuthority, folder: Path, ca_file: str) -> None:
    zone = {"remote.example": ["MX 10 mx.elsewhere.example"], "mx.elsewhere.example": ["A 127.0.0.1"]}

    async def attempt(level: str, name: str) -> State:
        async with (
            ScriptedSink(tls=server_context(authority, folder, name)) as sink,
            sending(port=sink.port, zone=zone, tls_security_level=level, tls_ca_file=ca_file) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            return outcome.state

    assert asyncio.run(attempt("verify", "mx.elsewhere.example")) is State.DELIVERED
    assert asyncio.run(attempt("secure", "mx.elsewhere.example")) is State.DEFERRED
    assert asyncio.run(attempt("secure", "remote.example")) is State.DELIVERED


@pytest.mark.parametrize(("named", "state"), [("127.0.0.1", State.DELIVERED), ("127.0.0.9", State.DEFERRED)])
def test_a_relayhost_by_address_is_checked_by_address(
    named: str, state: State, authority: CertificateAuthority, folder: Path, ca_file: str
) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(tls=server_context(authority, folder, named)) as sink,
            sending(port=free_port(), tls_security_level="secure", tls_ca_file=ca_file) as sender,
        ):
            route = Route("remote", "127.0.0.1", sink.port, lookup_mx=False)
            assert states(await sender.deliver(job_for(route=route))) == [state]

    asyncio.run(main())


def test_a_missing_ca_file_defers_and_says_so(context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(tls=context) as sink,
            sending(port=sink.port, tls_security_level="verify", tls_ca_file="/nowhere/ca.pem") as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is State.DEFERRED
            assert "/nowhere/ca.pem" in outcome.reply.text

    asyncio.run(main())


@both_loops
def test_many_messages_inside_tls(run: Run[None], context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with ScriptedSink(tls=context) as sink, sending(port=sink.port) as sender:
            outcomes = await asyncio.gather(*(sender.deliver(job_for()) for _ in range(60)))
            assert all(states(one) == [State.DELIVERED] for one in outcomes)
            assert all(message.tls for message in sink.messages)

    run(main())
