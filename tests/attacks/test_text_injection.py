"""What a stranger says of itself is text, in the log, in `valija why`, in replies and in header fields.

In each command, in logins, in TLS (the name asked for, certificates shown), in the DNS (reverse names, SPF records).
That each line of the log is one of ours is asserted when the site stops (tests/cases/conftest).
"""

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from tests.attacks.hostile_texts import TEXTS, octets, unprintable
from tests.ca import CertificateAuthority, Issued
from tests.cases.conftest import ALICE, SECRETS, Site, starting_sites
from tests.cases.talk import Talk, plain
from tests.fakedns import FakeDns
from tests.live import HOST, trust_all
from tests.tally import Tally

COMMANDS: Final = {  # what is said before it, and the command
    "HELO": ((), b"HELO %b"),
    "EHLO": ((), b"EHLO %b"),
    "EHLO literal": ((), b"EHLO [%b]"),
    "MAIL": (("EHLO x",), b"MAIL FROM:<%b@evil.example>"),
    "MAIL quoted": (("EHLO x",), b'MAIL FROM:<"%b"@evil.example>'),
    "MAIL domain": (("EHLO x",), b"MAIL FROM:<a@%b.example>"),
    "MAIL SMTPUTF8": (("EHLO x",), b"MAIL FROM:<%b@evil.example> SMTPUTF8"),
    "MAIL parameter": (("EHLO x",), b"MAIL FROM:<a@evil.example> %b"),
    "MAIL ENVID": (("EHLO x",), b"MAIL FROM:<a@evil.example> ENVID=%b"),
    "RCPT": (("EHLO x", "MAIL FROM:<a@evil.example>"), b"RCPT TO:<%b@local.example>"),
    "RCPT quoted": (("EHLO x", "MAIL FROM:<a@evil.example>"), b'RCPT TO:<"%b"@local.example>'),
    "RCPT elsewhere": (("EHLO x", "MAIL FROM:<a@evil.example> SMTPUTF8"), b"RCPT TO:<v@%b.example>"),
    "RCPT ORCPT": (("EHLO x", "MAIL FROM:<a@evil.example>"), b"RCPT TO:<alice@local.example> ORCPT=rfc822;%b"),
    "verb": ((), b"%b"),
    "VRFY": (("EHLO x",), b"VRFY %b"),
    "NOOP": (("EHLO x",), b"NOOP %b"),
    "STARTTLS": (("EHLO x",), b"STARTTLS %b"),
    "BDAT": (("EHLO x", "MAIL FROM:<a@evil.example>", f"RCPT TO:<{ALICE}>"), b"BDAT %b"),
}
REVERSE_NAME: Final = r"evil\013\010x-injected:\0321\)\027[31m\(.evil.example"  # a label may hold any octets
ZONE: Final = {
    "1.0.0.127.in-addr.arpa": [f"PTR {REVERSE_NAME}."],
    REVERSE_NAME: ["A 127.0.0.1"],
    "evil.example": [
        r'TXT "v=spf1 exists:%{i}.evil.example exp=why.evil.example -all"',
        "A 192.0.2.66",
    ],
    "why.evil.example": [r'TXT "%{s}\013\010X-Injected: 1\027[31m"'],
    "broken.example": [r'TXT "v=spf1 ip4:\013\010X-Injected: 1"'],
    "_dmarc.evil.example": [r'TXT "v=DMARC1; p=none; rua=mailto:x\013\010X-Injected: 1@evil.example"'],
}


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def attacked(authority: CertificateAuthority) -> Iterator[Site]:
    """A site that asks its users for certificates, and looks strangers up in a hostile DNS."""
    with starting_sites() as start, FakeDns(dict(ZONE)) as dns, TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        root = authority.write_root(Path(folder) / "users.pem")
        site = start({"dns": {"nameservers": [dns.nameserver]}, "sasl": {"external_ca_file": str(root)}})
        site.furnish()
        yield site


@pytest.fixture
def clean(attacked: Site) -> Iterator[Site]:
    """The site, whose log says nothing but printable lines of its own once a test is over."""
    since = attacked.server.log.mark()
    yield attacked
    with attacked.stranger() as talk:
        talk.say("EHLO last.example")
    attacked.server.wait_for_log("session .*helo=last.example", since=since)
    text = attacked.server.log.text
    assert not unprintable(text), unprintable(text)
    assert not re.search(r"^X-Injected|(?<!\\)\bdetcejnI", text, re.MULTILINE)
    assert max(map(len, text.encode().splitlines())) <= 8192


@pytest.mark.parametrize("name", COMMANDS)
def test_c027_a_command_is_answered_and_logged_as_one(clean: Site, tally: Tally, name: str) -> None:
    before, command = COMMANDS[name]
    for text in TEXTS.values():
        with Talk(clean.server.smtpd) as talk:
            talk.reply()
            for line in before:
                assert talk.say(line).startswith("250")
            talk.send(command % octets(text) + b"\r\nNOOP still here\r\n")
            _assert_sane(_replies(talk))
    tally("smuggling", hostile_commands=len(TEXTS), smuggled=0)


def _replies(talk: Talk) -> list[str]:
    """Return all replies to the end of the session; goodbye is said once the NOOP was answered."""
    replies: list[str] = []
    while reply := talk.reply():
        replies.append(reply)
        if reply == "250 2.0.0 Ok":
            talk.send(b"QUIT\r\n")
    return replies


def _assert_sane(replies: list[str]) -> None:
    """Replies to this command, perhaps to what a CRLF within made another one, to NOOP and to QUIT."""
    assert 1 <= len(replies) <= 5, replies
    for reply in replies:
        assert not unprintable(reply), reply
        assert "\nX-Injected" not in reply
        assert all(re.match(r"\d{3}[ -]", line) for line in reply.split("\n")), reply
    assert replies[-1][:3] in ("221", "421", "500", "554"), replies


MECHANISMS: Final = ("PLAIN", "LOGIN", "SCRAM-SHA-256")


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_logins_are_text(clean: Site, tally: Tally, mechanism: str) -> None:
    tried = 0
    for text in TEXTS.values():
        with Talk(clean.server.submissions, tls=True) as talk:
            talk.hello()
            for login in (octets(text), octets(text) + b"@local.example"):
                answer = _log_in(talk, mechanism, login)
                assert re.match(r"(535 5\.7\.8|501 5\.5\.2|454 4\.7\.0|421 4\.7\.0) ", answer), answer
                assert not unprintable(answer)
                tried += 1
                if answer.startswith("421"):
                    break
            talk.send(b"QUIT\r\n")
    with clean.alice() as talk:
        assert talk.say("NOOP").startswith("250"), "the owner logs in meanwhile"
    tally("smuggling", hostile_logins=tried, smuggled=0)


def _log_in(talk: Talk, mechanism: str, login: bytes) -> str:
    encoded = {
        "PLAIN": (base64.b64encode(b"\0" + login + b"\0secret").decode(),),
        "LOGIN": (base64.b64encode(login).decode(), base64.b64encode(b"secret").decode()),
        "SCRAM-SHA-256": (
            base64.b64encode(b"n,,n=" + login + b",r=abc").decode(),
            base64.b64encode(b"c=biws").decode(),
        ),
    }[mechanism]
    answer = talk.say(f"AUTH {mechanism} {encoded[0]}")
    for line in encoded[1:]:
        if answer.startswith("334"):
            answer = talk.say(line)
    return answer


def test_the_name_asked_for_in_tls_is_text(clean: Site, tally: Tally) -> None:
    """OpenSSL's own client asks for anything; the handshake ends well (C055), and the name goes nowhere."""
    names = [text.replace("\0", "") for text in TEXTS.values() if len(text) < 250]
    for name in names:
        command = ["openssl", "s_client", "-connect", f"{HOST}:{clean.server.submissions}", "-quiet", "-servername"]
        done = subprocess.run([*command, octets(name)], input=b"QUIT\r\n", capture_output=True, timeout=20, check=False)
        assert done.stdout.startswith(b"220 "), done
    tally("smuggling", hostile_names_in_tls=len(names), smuggled=0)


def test_what_a_client_s_certificate_says_is_text(clean: Site, tally: Tally, authority: CertificateAuthority) -> None:
    """Each comes from a network of its own, as failures make a network wait."""
    with TemporaryDirectory() as folder:
        for number, text in enumerate(TEXTS.values()):
            context = trust_all()
            context.load_cert_chain(*_certificate(authority, text).write(Path(folder), str(number)))
            with Talk(clean.server.submissions, source=f"127.0.{number}.9") as talk:
                talk.socket = context.wrap_socket(talk.socket)
                banner = talk.reply()
                if banner is None:
                    assert text == TEXTS["not UTF-8"], "no library reads that certificate: it ends its own session"
                    continue
                talk.ehlo()
                assert talk.say("AUTH EXTERNAL =").startswith("535 5.7.8 ")
                answer = talk.say(f"AUTH PLAIN {plain(ALICE, SECRETS[ALICE])}")
                assert answer.startswith("235"), "her password is as good as ever"
    tally("smuggling", hostile_certificates=len(TEXTS), smuggled=0)


def _certificate(authority: CertificateAuthority, text: str) -> Issued:
    """A certificate whose subject and mail addresses are this text, as no honest authority would write them."""
    addresses = (octets(text)[:90] + b"@local.example", b"bob@local.example" + octets(text)[:90])
    names = b"".join(bytes((0x81, len(address))) + address for address in addresses)  # rfc822Name is [1] IA5String
    length = bytes((len(names),)) if len(names) < 128 else bytes((0x81, len(names)))
    san = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30" + length + names)
    said = octets(text).decode("utf-8", "replace")[:60]
    return authority.issue(common_name=said, extension=san)


def test_what_the_dns_says_is_text_in_header_fields(clean: Site, tally: Tally) -> None:
    """Reverse names, SPF records and their explanations are the attacker's to write."""
    senders = ("a@evil.example", "a@broken.example", '"x\\" y"@evil.example', "a@none.example")
    for sender in senders:
        with clean.stranger() as talk:
            message = clean.delivered(talk.send_message(sender, ALICE, b"From: <a@evil.example>\r\n\r\nx\r\n"))
        header = message.partition(b"\n\n")[0].decode("ascii")
        assert not unprintable(header.replace("\t", ""))
        assert "\nX-Injected" not in header
        assert all(re.match(r"[!-9;-~]+:|[ \t]+\S", line) for line in header.split("\n")), header
        assert "Authentication-Results: mail.local.example" in header
    tally("smuggling", hostile_records=len(ZONE), smuggled=0)


def test_nor_in_what_is_asked_about_it_later(clean: Site) -> None:
    for words in (["why", "127.0.0.1"], ["why", "a@evil.example"], ["why", ALICE], ["queue", "list"]):
        shown = clean.server.valija(*words)
        assert shown.stdout, shown.stderr
        assert not unprintable(shown.stdout)
        assert "\nX-Injected" not in shown.stdout
