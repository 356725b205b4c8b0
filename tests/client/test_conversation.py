"""Conversations with a server that says what a test wants."""

import asyncio
import base64
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ca import CertificateAuthority
from tests.scripted_sink import CLOSE, EXTENSIONS, SILENT, Script, ScriptedSink
from valija.client.connection import Connection
from valija.client.conversation import converse
from valija.client.order import Account, Order, SendOutcome
from valija.client.record import Record
from valija.smtp.sasl_oauth import BEARERS, Bearer

CONTENT = b"Subject: hello\r\n\r\n.dot\r\nbye\r\n"
LOGINS = (*EXTENSIONS, "AUTH PLAIN LOGIN")
ALICE = Account("alice@example.org", "correct horse")
GOLDEN = Path(__file__).parent.parent / "golden" / "send"


class Said:
    """One conversation: what came of it, what was shown, and the server that heard it."""

    def __init__(self, outcome: SendOutcome, record: Record, sink: ScriptedSink) -> None:
        self.outcome = outcome
        self.lines = [str(line) for line in record.lines]
        self.sink = sink


def said(
    script: Script | None = None,
    *,
    extensions: Sequence[str] = EXTENSIONS,
    context: ssl.SSLContext | None = None,
    **changes: Any,
) -> Said:
    """Converse with a sink of that script and those extensions, which has TLS where it has a context."""
    facts: dict[str, Any] = {
        "host": "127.0.0.1",
        "mode": "smtp",
        "ehlo": "me.example",
        "name": "mx.example",
        "tls": "may",
        "reverse_path": "a@example.org",
        "recipients": ("b@example.net",),
        "content": CONTENT,
        "timeout": 5.0,
    }

    async def run() -> Said:
        record = Record()
        async with ScriptedSink(script, extensions=extensions, tls=context) as sink:
            outcome = await converse(Order(port=sink.port, **(facts | changes)), record)
            return Said(outcome, record, sink)

    return asyncio.run(run())


class Pki:
    def __init__(self, folder: Path) -> None:
        authority = CertificateAuthority()
        self.ca_file = str(authority.write_root(folder / "ca.pem"))
        self._authority, self._folder = authority, folder

    def context(self, name: str = "mx.example", days: tuple[float, float] = (-1, 90)) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._authority.issue(name, days=days).write(self._folder))
        return context


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def test_one_message_word_for_word() -> None:
    done = said(recipients=("b@example.net", "c@example.net"))
    assert done.outcome.accepted
    assert [each.accepted for each in done.outcome.recipients] == [True, True]
    assert done.sink.messages[0].content == CONTENT
    told = "\n".join(done.lines).replace(str(done.sink.port), "PORT")
    assert told + "\n" == (GOLDEN / "one_message.txt").read_text()


def test_a_login_word_for_word() -> None:
    name, password = "YWxpY2VAZXhhbXBsZS5vcmc=", "Y29ycmVjdCBob3JzZQ=="
    script = {"AUTH": ["334 VXNlcm5hbWU6"], name.upper(): ["334 UGFzc3dvcmQ6"], password.upper(): ["235 ok"]}
    account = Account("alice@example.org", "correct horse", "LOGIN")
    done = said(script, extensions=LOGINS, account=account, insecure=True)
    assert done.outcome.accepted, done.lines
    assert done.outcome.mechanism == "LOGIN"
    told = "\n".join(done.lines).replace(str(done.sink.port), "PORT")
    assert told + "\n" == (GOLDEN / "login.txt").read_text()


def test_one_recipient_of_two_is_refused() -> None:
    done = said({"RCPT": ["250 ok", "550 5.1.1 unknown"]}, recipients=("b@example.net", "c@example.net"))
    assert not done.outcome.accepted
    assert done.outcome.reason == "c@example.net: 550 5.1.1 unknown"
    assert [each.accepted for each in done.outcome.recipients] == [True, False]
    assert len(done.sink.messages) == 1


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"MAIL": ["550 5.7.1 not you"]}, "b@example.net: 550 5.7.1 not you"),
        ({"DATA": ["451 4.3.0 later"]}, "b@example.net: 451 4.3.0 later"),
        ({".": ["554 5.6.0 spam"]}, "b@example.net: 554 5.6.0 spam"),
        ({"banner": ["554 5.7.1 go away"]}, "the server says 554 5.7.1 go away"),
        ({"banner": ["nonsense"]}, "The peer does not speak SMTP as agreed: not an SMTP reply: nonsense"),
        ({".": [CLOSE]}, "the server closed the connection while we waited for the reply to the final dot"),
        ({"RCPT": [["421 4.3.2 bye", CLOSE]]}, "the server says 421 4.3.2 bye"),
    ],
)
def test_what_a_server_says_no_to(script: Script, reason: str) -> None:
    outcome = said(script).outcome
    assert (outcome.accepted, outcome.reason) == (False, reason)
    assert not any(each.accepted for each in outcome.recipients)


def test_a_verdict_that_comes_with_the_end_of_the_connection_counts() -> None:
    assert said({".": [["250 2.0.0 taken", CLOSE]]}).outcome.accepted


def test_silence_is_not_waited_for() -> None:
    outcome = said({"EHLO": [SILENT]}, timeout=0.2).outcome
    assert outcome.reason == "no answer within 0.2 s while waiting for the reply to EHLO"


def test_no_connection() -> None:
    async def run() -> SendOutcome:
        async with ScriptedSink() as sink:
            port = sink.port
        return await converse(Order("127.0.0.1", port, "smtp", "me", "mx", recipients=("b@example.net",)), Record())

    assert "Connect call failed" in asyncio.run(run()).reason


@pytest.mark.parametrize(
    ("stop", "verbs"),
    [
        ("connect", ["QUIT"]),
        ("ehlo", ["EHLO", "QUIT"]),
        ("starttls", ["EHLO", "QUIT"]),
        ("auth", ["EHLO", "AUTH", "QUIT"]),
        ("mail", ["EHLO", "AUTH", "MAIL", "QUIT"]),
        ("rcpt", ["EHLO", "AUTH", "MAIL", "RCPT", "QUIT"]),
        ("data", ["EHLO", "AUTH", "MAIL", "RCPT", "DATA"]),
    ],
)
def test_quit_after(stop: str, verbs: list[str]) -> None:
    done = said({"AUTH": ["235 ok"]}, extensions=LOGINS, account=ALICE, insecure=True, quit_after=stop)
    assert done.outcome.accepted, done.outcome
    assert done.outcome.stopped_after == stop
    assert done.sink.sessions[0].verbs() == verbs
    assert done.sink.messages == []


def test_quit_after_what_was_refused_is_no_success() -> None:
    outcome = said({"RCPT": ["550 5.1.1 unknown"]}, quit_after="rcpt").outcome
    assert (outcome.accepted, outcome.reason) == (False, "b@example.net: 550 5.1.1 unknown")
    assert not said({"MAIL": ["550 no"]}, quit_after="mail").outcome.accepted


def test_tls_that_is_verified(pki: Pki) -> None:
    done = said(context=pki.context(), ca_file=pki.ca_file)
    shown = done.outcome.certificate
    assert shown is not None
    assert (shown.verified, shown.names, shown.issuer) == (True, ("mx.example",), "CN=Root")
    assert done.outcome.tls is not None
    assert done.outcome.tls.version == "TLSv1.3"
    assert len(done.sink.sessions) == 1
    assert done.sink.messages[0].tls


@pytest.mark.parametrize(
    ("name", "days", "why"),
    [
        ("other.example", (-1, 90), "Hostname mismatch"),
        ("mx.example", (-30, -1), "certificate has expired"),
        ("mx.example", (1, 30), "certificate is not yet valid"),
    ],
)
@pytest.mark.parametrize("insecure", [False, True])
def test_a_certificate_that_is_not_accepted(
    pki: Pki, name: str, days: tuple[float, float], why: str, insecure: bool
) -> None:
    context = pki.context(name, days)
    done = said(context=context, mode="submission", tls="required", ca_file=pki.ca_file, insecure=insecure)
    shown = done.outcome.certificate
    assert shown is not None
    assert not shown.verified
    assert why in shown.why_not
    assert shown.names == (name,)
    assert done.outcome.accepted == insecure
    assert len(done.sink.messages) == insecure
    assert any("NOT accepted" in line for line in done.lines)


def test_between_servers_any_certificate_will_do_but_not_for_a_password(pki: Pki) -> None:
    assert said(context=pki.context("other.example")).outcome.accepted
    done = said(context=pki.context("other.example"), extensions=LOGINS, account=ALICE)
    assert not done.outcome.accepted
    assert all("AUTH" not in session.verbs() for session in done.sink.sessions)


def test_no_starttls() -> None:
    assert said().outcome.tls is None
    outcome = said(tls="required").outcome
    assert "does not offer STARTTLS" in outcome.reason


def test_no_password_leaves_in_clear() -> None:
    done = said(extensions=LOGINS, account=ALICE)
    assert "the server offers no mechanism to log in with here: PLAIN LOGIN" in done.outcome.reason
    done = said(extensions=LOGINS, account=Account("alice", "secret", "PLAIN"))
    assert "PLAIN in clear would show the secret" in done.outcome.reason
    assert "AUTH" not in done.sink.sessions[0].verbs()


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_is_shown_to_the_server_alone(pki: Pki, mechanism: str) -> None:
    account = Account("alice@example.org", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGE", mechanism)
    done = said({"AUTH": ["235 ok"]}, context=pki.context(), ca_file=pki.ca_file, account=account)
    assert done.outcome.accepted, done.lines
    [line] = [each for each in done.sink.sessions[0].commands if each.startswith("AUTH ")]
    bearer = BEARERS[mechanism].parse(base64.b64decode(line.split(" ")[2]))
    assert bearer == Bearer("alice@example.org", account.secret)
    assert account.secret not in "\n".join(done.lines) + repr(account)
    assert line.split(" ")[2] not in "\n".join(done.lines)


def test_an_address_that_needs_smtputf8() -> None:
    done = said(extensions=("SIZE 1000",), recipients=("ñandú@example.net",))
    assert "does not offer SMTPUTF8" in done.outcome.reason
    assert said(recipients=("ñandú@example.net",)).outcome.accepted


def test_an_address_that_would_be_two_commands() -> None:
    done = said(recipients=("b@example.net>\r\nRCPT TO:<c@example.net",))
    assert "line break" in done.outcome.reason
    assert "MAIL" not in done.sink.sessions[0].verbs()


def test_trust_that_cannot_be_read(tmp_path: Path) -> None:
    assert "name a readable file" in said(ca_file=str(tmp_path / "none.pem")).outcome.reason


def test_a_server_that_is_gone_before_we_look_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transport knows no peer any more, as that of a connection which was reset at once."""

    class Gone(asyncio.Transport):
        def close(self) -> None:
            return

    monkeypatch.setattr("valija.client.connection.Connection.connection_made", lambda self, _: _set(self, Gone()))
    told = said()
    assert not told.outcome.accepted
    assert told.outcome.reason == "the server hung up at once"


def _set(connection: Connection, transport: asyncio.Transport) -> None:
    connection.transport = transport
