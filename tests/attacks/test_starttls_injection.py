"""Nothing that is said in clear around STARTTLS counts inside it: commands to the server, replies to the client.

Whoever sits on the line adds octets that each side might take for the other's, said inside TLS (RFC 3207 section 6,
CVE-2011-0411, CVE-2021-33515).
"""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.ca import CertificateAuthority
from tests.cases.conftest import ALICE, Site
from tests.cases.talk import Talk
from tests.deliver.setting import job_for, sending
from tests.live import HOST, trust_all
from tests.scripted_sink import EXTENSIONS, ScriptedSink
from tests.tally import Tally
from valija.mail.outcome import Channel, State

MALLORY: Final = "injected@evil.example"
ENVELOPE: Final = f"MAIL FROM:<{MALLORY}>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\n".encode()
BEHIND: Final = {
    "a command": b"NOOP\r\n",
    "a session": b"EHLO evil.example\r\n" + ENVELOPE,
    "a message": b"EHLO evil.example\r\n" + ENVELOPE + b"Subject: injected\r\n\r\nboo\r\n.\r\n",
    "a login": b"AUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAb3BlbiBzZXNhbWU=\r\n",
    "half a command": b"MAIL FROM:<" + MALLORY.encode(),
    "one letter": b"N",
    "an empty line": b"\r\n",
    "LF": b"\n",
    "CR": b"\r",
    "NUL": b"\0",
    "STARTTLS again": b"STARTTLS\r\n",
    "goodbye": b"QUIT\r\n",
    "64 KiB": b"NOOP\r\n" * 11_000,
}
SPELLINGS: Final = (b"STARTTLS\r\n", b"starttls\r\n", b"STARTTLS \r\n", b"NOOP\r\nSTARTTLS\r\n")


@pytest.mark.parametrize("port", ["smtpd", "submission"])
def test_c052_what_comes_behind_starttls_ends_the_session(site: Site, tally: Tally, port: str) -> None:
    tried = 0
    for spelling in SPELLINGS:
        for behind in BEHIND.values():
            with Talk(getattr(site.server, port)) as talk:
                talk.hello()
                talk.send(spelling + behind)
                verdict = talk.reply() or ""
                if spelling.startswith(b"NOOP"):
                    assert verdict == "250 2.0.0 Ok"
                    verdict = talk.reply() or ""
                assert verdict.startswith("554 5.5.0 "), (spelling, behind, verdict)
                assert talk.is_closed()
            tried += 1
    assert MALLORY not in site.server.log.text
    tally("smuggling", starttls_injections=tried, smuggled=0)


@pytest.mark.parametrize("port", ["smtpd", "submission"])
def test_c052_in_clear_behind_the_220_is_no_handshake(site: Site, tally: Tally, port: str) -> None:
    """What an attacker puts before the client's first octets of TLS reaches the handshake, and breaks it."""
    for behind in BEHIND.values():
        with Talk(getattr(site.server, port)) as talk:
            talk.hello()
            assert talk.say("STARTTLS").startswith("220")
            talk.send(behind)
            with pytest.raises((ssl.SSLError, OSError)):
                talk.start_tls()
    with site.alice(tls=False) as other:
        assert other.say("NOOP").startswith("250"), "others are served"
    assert MALLORY not in site.server.log.text
    tally("smuggling", starttls_injections=len(BEHIND), smuggled=0)


@pytest.mark.parametrize("port", ["smtpd", "submission"])
def test_c052_in_clear_behind_the_handshake_is_no_command(site: Site, tally: Tally, port: str) -> None:
    """Octets in clear between two records of TLS end the session."""
    for behind in BEHIND.values():
        with Talk(getattr(site.server, port)) as talk:
            talk.hello()
            assert talk.say("STARTTLS").startswith("220")
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            inside = trust_all().wrap_bio(incoming, outgoing, server_hostname=HOST)
            while True:
                try:
                    inside.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    talk.send(outgoing.read())
                    incoming.write(talk.socket.recv(65536))
            inside.write(b"EHLO honest.example\r\n")
            talk.send(outgoing.read() + behind.ljust(5, b"\n"))  # a record begins with five octets
            assert _is_ended(talk)
    assert MALLORY not in site.server.log.text
    tally("smuggling", starttls_injections=len(BEHIND), smuggled=0)


def _is_ended(talk: Talk) -> bool:
    """Wait for the end of the connection."""
    try:
        while talk.socket.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


# A hostile peer, or who sits before it, speaks to our client

FAKE: Final = (  # all replies that a client waits for, so that mail would seem to be delivered
    b"250-mx.remote.example\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n"
    b"354 go\r\n250 2.0.0 taken\r\n221 bye\r\n"
)
GREETING: Final = "\r\n".join(f"250-{word}" for word in ("mx", *EXTENSIONS)).encode() + b"\r\n250 STARTTLS\r\n"
SCRIPTS: Final[dict[str, dict[str, list[bytes]]]] = {
    "behind the 220": {"STARTTLS": [b"220 go\r\n" + FAKE]},
    "one octet behind the 220": {"STARTTLS": [b"220 go\r\n2"]},
    "behind an LF": {"STARTTLS": [b"220 go\n" + FAKE]},
    "NUL behind the 220": {"STARTTLS": [b"220 go\r\n\0"]},
    "220 before it is asked for": {"EHLO": [GREETING + b"220 go\r\n"]},
    "a session before it is asked for": {"EHLO": [GREETING + b"220 go\r\n" + FAKE]},
    "with the banner": {"banner": [b"220 mx\r\n" + GREETING + b"220 go\r\n" + FAKE]},
    "two in one": {"STARTTLS": [b"220-go\r\n220 on\r\n220 go\r\n"]},
}


@pytest.fixture(scope="module")
def context() -> Iterator[ssl.SSLContext]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        context.load_cert_chain(*CertificateAuthority().issue("mx1.remote.example").write(Path(folder)))
        yield context


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_replies_that_came_in_clear_are_not_believed(
    tally: Tally, context: ssl.SSLContext, script: dict[str, list[bytes]]
) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(script, tls=context) as sink,
            sending(port=sink.port, tls_security_level="encrypt", starttls_timeout=5.0) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is State.DEFERRED, outcome.reply
            assert outcome.channel is Channel.NONE
            assert not sink.messages
            for session in sink.sessions:
                assert not {"MAIL", "RCPT", "DATA", "AUTH"} & set(session.verbs())

    asyncio.run(main())
    tally("smuggling", starttls_injections=1, smuggled=0)


def test_a_220_with_replies_in_its_text_is_one_reply(tally: Tally, context: ssl.SSLContext) -> None:
    async def main() -> None:
        script = {"STARTTLS": [b"220 go\r" + FAKE.replace(b"\r\n", b"\r") + b"\r\n"]}
        async with (
            ScriptedSink(script, tls=context) as sink,
            sending(port=sink.port, tls_security_level="encrypt") as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.ENCRYPTED)
            assert [message.tls for message in sink.messages] == [True]

    asyncio.run(main())
    tally("smuggling", starttls_injections=1, smuggled=0)


def test_what_was_announced_in_clear_is_forgotten(tally: Tally, context: ssl.SSLContext) -> None:
    """Extensions that only the clear text named are not used; a size limit that only it named refuses nothing."""

    async def main() -> None:
        async with (
            ScriptedSink(
                tls=context,
                extensions=("PIPELINING", "DSN", "SIZE 10", "CHUNKING", "SMTPUTF8"),
                after_tls=("8BITMIME",),
            ) as sink,
            sending(port=sink.port, tls_security_level="encrypt") as sender,
        ):
            [outcome] = await sender.deliver(job_for(envid="x", ret="HDRS"))
            assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.ENCRYPTED)
            (message,) = sink.messages
            assert message.mail == "MAIL FROM:<alice@example.org>"
            assert message.tls
            assert not message.is_chunk

    asyncio.run(main())
    tally("smuggling", starttls_injections=1, smuggled=0)
