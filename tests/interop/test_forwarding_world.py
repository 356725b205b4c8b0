"""Mail through an alias to another server, and back, with the DNS that both ask.

`here` hosts example.org. `there` stands for the rest of the world: it hosts the domains of those who write and of those
who are written to, and checks what comes. What leaves one server goes to the other.
"""

import smtplib
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import dkim  # type: ignore[import-untyped]  # dkimpy comes without types
import pytest

from tests.fakedns import FakeDns
from tests.live import HOST, LiveServer, message
from tests.ports import free_port
from tests.receive.examined import entry_for, published, signed
from valija.content.dkim_key import DkimKey

ANN = "ann@sender.example"  # writes, from 127.0.0.9
BOB = "bob@there.example"  # is written to, by way of an alias
CAROL = "carol@there.example"  # has moved to an address that does not exist
DAVE = "dave@there.example"  # sends everything back
SALES = "sales@example.org"
SENDERS = "127.0.0.9"

ZONE = {
    "sender.example": [f'TXT "v=spf1 ip4:{SENDERS} -all"', "MX 10 mx.there.example."],
    "_dmarc.sender.example": ['TXT "v=DMARC1; p=reject"'],
    "example.org": ['TXT "v=spf1 ip4:127.0.0.1 -all"'],
    "mx.there.example": [f"A {HOST}"],
}

pytestmark = pytest.mark.interop


class World:
    """The two servers and the DNS."""

    def __init__(self, here: LiveServer, there: LiveServer, dns: FakeDns) -> None:
        self.here = here
        self.there = there
        self.dns = dns

    def send(self, recipients: Sequence[str], *, sign: bool = True, reverse_path: str = ANN) -> None:
        """Have Ann's server hand a message in to `here`."""
        mail = message("hello", ANN, recipients[0]).as_bytes()
        with smtplib.SMTP(HOST, self.here.smtpd, timeout=20, source_address=(SENDERS, 0)) as client:
            client.sendmail(reverse_path, list(recipients), signed(mail, "sender.example") if sign else mail)


@pytest.fixture
def world() -> Iterator[World]:
    ports = free_port(), free_port()
    with FakeDns({**ZONE, **published("sender.example")}) as dns:
        common = {"dns": {"nameservers": [dns.nameserver]}, "mynetworks": []}
        here_settings = {
            **common,
            "smtpd": {"listen": [f"{HOST}:{ports[0]}"]},
            "smtp": {"relayhost": f"[{HOST}]:{ports[1]}"},
        }
        there_settings = {
            **common,
            "hostname": "mx.there.example",
            "domains": ["there.example", "sender.example"],
            "smtpd": {"listen": [f"{HOST}:{ports[1]}"]},
            "smtp": {
                "relayhost": f"[{HOST}]:{ports[0]}",
                "route": [{"domain": "gone.example", "error": "Nobody lives there any more"}],
            },
            "checks": {"trusted_arc_sealers": ["example.org"]},
        }
        with LiveServer(here_settings) as here, LiveServer(there_settings) as there:
            here.smtpd, there.smtpd = ports
            for address in (ANN, BOB):
                there.add_user(address, "secret")
            add_alias(there, CAROL, "carol@gone.example")
            add_alias(there, DAVE, SALES)
            yield World(here, there, dns)


def add_alias(server: LiveServer, *arguments: str) -> None:
    done = server.valija("alias", "add", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def seal_as_example_org(world: World) -> None:
    """Have `here` seal what it forwards, and publish the key."""
    done = world.here.valija("dkim", "create", "example.org", "--json")
    assert done.returncode == 0, done.stderr
    for path in sorted((world.here.data_dir / "dkim" / "example.org").glob("*.pem")):
        name, record = entry_for(DkimKey.load("example.org", path.stem, path.read_bytes()))
        world.dns.zone[name] = record


def mailbox(server: LiveServer, address: str) -> list[bytes]:
    local, _, domain = address.partition("@")
    folder = Path(server.data_dir, "mail", domain, local, "new")
    return [file.read_bytes() for file in sorted(folder.iterdir())] if folder.exists() else []


def arrived(server: LiveServer, address: str) -> Message:
    """Wait for the only message of a mailbox."""
    server.wait_for_log(rf"attempt .*recipient={address} outcome=delivered")
    [content] = mailbox(server, address)
    return message_from_bytes(content)


def results(mail: Message) -> str:
    return " ".join(str(mail["Authentication-Results"]).split())


def test_a_signature_of_the_sender_outlives_an_alias(world: World) -> None:
    add_alias(world.here, SALES, BOB)
    world.send([SALES])
    copy = arrived(world.there, BOB)
    assert "dkim=pass header.d=sender.example" in results(copy)
    assert "dmarc=pass header.from=sender.example" in results(copy)
    assert "spf=pass smtp.mailfrom=" in results(copy), "the return address is one of ours"
    assert copy["Return-Path"].endswith("=sender.example=ann@example.org>")
    assert copy.get_all("Delivered-To") == [BOB, SALES]


def test_a_seal_vouches_for_what_spf_alone_proved(world: World) -> None:
    seal_as_example_org(world)
    add_alias(world.here, SALES, BOB)
    world.send([SALES], sign=False)
    copy = arrived(world.there, BOB)
    assert "dmarc=fail" in results(copy), "neither SPF nor DKIM speaks for sender.example here"
    assert "arc=pass" in results(copy)
    [content] = mailbox(world.there, BOB)
    whole = content.replace(b"\n", b"\r\n")
    assert b"DKIM-Signature" not in whole, "an outsider's mail is never signed in our name"
    verdict, _, why = dkim.arc_verify(whole, dnsfunc=lambda name, timeout=5: _record(world, name))
    assert verdict == b"pass", why


def _record(world: World, name: bytes) -> bytes:
    [record] = world.dns.zone[name.decode().rstrip(".")]
    return record.removeprefix("TXT ").replace('" "', "").strip('"').encode()


def test_without_a_seal_it_is_refused_there_and_ann_is_told_of_the_alias(world: World) -> None:
    add_alias(world.here, SALES, BOB)
    world.send([SALES], sign=False)
    world.here.wait_for_log(rf"attempt .*recipient={BOB} outcome=failed .*DMARC")
    report = arrived(world.there, ANN).as_string()
    assert SALES in report
    assert "Final-Recipient: rfc822; sales@example.org" in report


def test_c097_the_report_of_a_server_further_on_finds_back_and_names_the_alias(world: World) -> None:
    add_alias(world.here, SALES, CAROL)
    world.send([SALES])
    world.there.wait_for_log("attempt .*recipient=carol@gone.example outcome=failed")
    world.here.wait_for_log(rf"attempt .*recipient={ANN} outcome=delivered")
    report = arrived(world.there, ANN)
    assert report["Return-Path"] == "<>"
    assert "Original-Recipient: rfc822;sales@example.org" in report.as_string()


def test_a_loop_over_another_server_ends_with_one_report(world: World) -> None:
    add_alias(world.here, SALES, DAVE, BOB)
    world.send([SALES])
    world.here.wait_for_log(rf"attempt .*recipient={SALES} outcome=failed .*5\.4\.6")
    report = arrived(world.there, ANN).as_string()
    assert "Final-Recipient: rfc822; sales@example.org" in report
    assert "5.4.6" in report
    arrived(world.there, BOB)
    assert not world.here.queue()
    assert not world.there.queue()
    assert len(mailbox(world.there, ANN)) == len(mailbox(world.there, BOB)) == 1


def test_a_report_to_an_alias_of_ours_goes_where_the_alias_leads(world: World) -> None:
    world.here.add_user("alice@example.org", "secret")
    add_alias(world.here, SALES, "alice@example.org", BOB)
    world.send([SALES], reverse_path="")
    assert arrived(world.here, "alice@example.org")["Return-Path"] == "<>"
    assert arrived(world.there, BOB)["Return-Path"] == "<>", "the null reverse-path stays what it is"
    since = world.here.log.mark()
    world.here.submit("alice@example.org", "secret", "nobody@there.example", _as_sales())
    world.here.wait_for_log(r"attempt .*recipient=nobody@there.example outcome=failed", since=since)
    world.here.wait_for_log(r"attempt .*recipient=alice@example.org outcome=delivered", since=since)
    world.there.wait_for_log(r"accepted .*to=bob@there.example")


def _as_sales() -> bytes:
    return message("in the name of sales", SALES, "nobody@there.example").as_bytes()


@pytest.mark.parametrize(
    "forged",
    ["SRS0=AAAAAAAA=7C=victim.example=eve@example.org", "srs1=AAAAAAAA=a.example==x=y=b=c@example.org"],
)
def test_forged_return_addresses_are_nobodys(world: World, forged: str) -> None:
    with smtplib.SMTP(HOST, world.here.smtpd, timeout=20) as client:
        client.ehlo()
        client.mail("")
        assert client.rcpt(forged)[0] == 550
