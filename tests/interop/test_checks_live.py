"""A running server with its defaults, a real Postfix that sends honest mail to it, and five who only pretend."""

import re
import smtplib
from collections.abc import Callable, Iterator
from pathlib import Path

import dkim  # type: ignore[import-untyped]  # dkimpy comes without types
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.fakedns import FakeDns
from tests.interop.postfix import Postfix, need_postfix, wait_for_mail
from tests.live import HOST, LiveServer, message
from tests.receive.examined import entry_for
from valija.content.dkim_key import DkimKey, generate

pytestmark = pytest.mark.interop

KEY = DkimKey.load("postfix.example", "sel", generate("rsa"))
PEM = KEY.private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
BOB, ALICE = "bob@postfix.example", "alice@example.org"
ZONE = {
    "postfix.example": ['TXT "v=spf1 ip4:127.0.0.1 -all"', "A 192.0.2.1"],
    "mx.postfix.example": ["A 127.0.0.1"],
    "_dmarc.postfix.example": ['TXT "v=DMARC1; p=reject; sp=quarantine; adkim=s; aspf=s"'],
    "news.postfix.example": ["A 192.0.2.2"],
    "1.0.0.127.in-addr.arpa": ["PTR mx.postfix.example."],
    "evil.example": ['TXT "v=spf1 +all"', "A 192.0.2.66"],
    **dict([entry_for(KEY)]),
}
Send = Callable[[bytes, str, str], str]


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with FakeDns(dict(ZONE)) as dns, LiveServer({"mynetworks": [], "dns": {"nameservers": [dns.nameserver]}}) as live:
        live.add_user(ALICE, "secret")
        yield live


def signed(subject: str, author: str = BOB, body: str = "Hello.\r\n") -> bytes:
    """Return a message that dkimpy signed for postfix.example."""
    content = f"From: {author}\r\nTo: {ALICE}\r\nSubject: {subject}\r\n\r\n{body}".encode()
    field: bytes = dkim.sign(content, b"sel", b"postfix.example", PEM, include_headers=[b"from", b"to", b"subject"])
    return field + content


def send(server: LiveServer, content: bytes, reverse_path: str, source: str) -> str:
    """Send a message as a stranger; return the reply that ended it."""
    with smtplib.SMTP(HOST, server.smtpd, source_address=(source, 0), local_hostname="mx.evil.example") as client:
        try:
            client.sendmail(reverse_path, [ALICE], content)
        except smtplib.SMTPDataError as refused:
            return str(refused)
    return "250"


def mailbox(server: LiveServer, inner: str = "") -> Path:
    return server.data_dir / "mail" / "example.org" / "alice" / inner / "new"


def taken_from(folder: Path) -> str:
    """Return the one message there, unfolded, and make room for the next."""
    content = wait_for_mail(folder).decode()
    for file in folder.iterdir():
        file.unlink()
    return re.sub(r"\n[ \t]+", " ", content)


def test_mail_that_postfix_sends_is_proven_three_times(server: LiveServer) -> None:
    need_postfix()
    mail = message("honest", BOB, ALICE)
    field = dkim.sign(mail.as_bytes(), b"sel", b"postfix.example", PEM, include_headers=[b"from", b"to", b"subject"])
    name, _, value = field.decode().partition(": ")
    mail[name] = re.sub(r"\r\n\s*", " ", value.rstrip("\r\n"))
    with Postfix({"relayhost": f"[{HOST}]:{server.smtpd}"}) as postfix:
        postfix.send(BOB, ALICE, mail)
        content = taken_from(mailbox(server))
    assert "spf=pass smtp.mailfrom=bob@postfix.example; " in content
    assert "dkim=pass header.d=postfix.example header.s=sel header.a=rsa-sha256 " in content
    assert "dmarc=pass header.from=postfix.example; " in content
    assert "iprev=pass (mx.postfix.example) policy.iprev=127.0.0.1" in content
    server.wait_for_log(r" accepted .* spf=pass dkim=pass dmarc=pass iprev=pass")


FORGED = {
    "in the name of another, with an envelope of its own": (signed("1").partition(b"\r\nFrom")[2], "x@evil.example"),
    "in the name of another, envelope too": (signed("2").partition(b"\r\nFrom")[2], BOB),
    "a signed message with another body": (signed("3").replace(b"Hello.", b"Pay here."), "x@evil.example"),
    "a signed message with another subject": (signed("4 honest").replace(b"4 honest", b"4 urgent"), "x@evil.example"),
    "with verdicts of its own on top": (
        b"Authentication-Results: mail.example.org; dkim=pass; dmarc=pass header.from=postfix.example\r\n"
        b"From" + signed("5").partition(b"\r\nFrom")[2],
        "x@evil.example",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_is_forged_is_refused(server: LiveServer, case: str) -> None:
    content, reverse_path = FORGED[case]
    content = content if content.startswith((b"Auth", b"DKIM")) else b"From" + content
    since = server.log.mark()
    said = send(server, content, reverse_path, "127.0.0.66")
    assert "550, b'5.7.1 postfix.example wants mail refused" in said
    server.wait_for_log(r" content refused .*dmarc=fail dmarc_policy=reject author=postfix\.example", since=since)
    assert not list(mailbox(server).glob("*"))


def test_what_is_doubtful_lies_in_junk_and_says_why(server: LiveServer) -> None:
    forged = (
        b"Authentication-Results: (x) MAIL.example.org; dmarc=pass\r\nFrom: news@news.postfix.example\r\n\r\nbuy\r\n"
    )
    assert send(server, forged, "x@evil.example", "127.0.0.66") == "250"
    content = taken_from(mailbox(server, ".Junk"))
    assert content.lower().count("authentication-results:") == 1
    assert "dmarc=fail (p=quarantine) header.from=news.postfix.example" in content


def test_a_forwarded_message_is_proven_by_its_signature(server: LiveServer) -> None:
    assert send(server, signed("forwarded"), "list@evil.example", "127.0.0.66") == "250"
    assert "dmarc=pass header.from=postfix.example" in taken_from(mailbox(server))


def test_why_tells_what_was_found(server: LiveServer) -> None:
    assert send(server, signed("explained"), BOB, HOST) == "250"
    queue_id = server.wait_for_log(r" accepted  .*queue_id=(\S+) .*dmarc=pass", since=0)[1]
    told = server.valija("why", queue_id)
    assert told.returncode == 0, told.stderr
    assert "dmarc" in told.stdout
