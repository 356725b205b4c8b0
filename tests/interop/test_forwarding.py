"""Mail through an alias to another server, and back: two real servers, one of which is the rest of the world.

`here` hosts example.org. `there` hosts the domains of those who write and of those who are written to, and says itself
what its checks found. What is sent away from one goes to the other.
"""

import re
import smtplib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from tests.live import HOST, LiveServer, message
from tests.ports import free_port

ANN = "ann@sender.example"  # writes
BOB = "bob@there.example"  # is written to, by way of an alias
CAROL = "carol@there.example"  # has moved to an address that does not exist
ALIAS = "sales@example.org"

pytestmark = pytest.mark.interop


@contextmanager
def two_servers() -> Iterator[tuple[LiveServer, LiveServer]]:
    ports = free_port(), free_port()
    here_settings = {"smtp": {"relayhost": f"[{HOST}]:{ports[1]}"}, "smtpd": {"listen": [f"{HOST}:{ports[0]}"]}}
    there_settings = {
        "hostname": "mx.there.example",
        "domains": ["there.example", "sender.example"],
        "mynetworks": [],
        "smtpd": {"listen": [f"{HOST}:{ports[1]}"]},
        "smtp": {
            "relayhost": f"[{HOST}]:{ports[0]}",
            "route": [{"domain": "gone.example", "error": "Nobody lives there any more"}],
        },
    }
    with LiveServer(here_settings) as here, LiveServer(there_settings) as there:
        here.smtpd, there.smtpd = ports
        for address in (ANN, BOB):
            there.add_user(address, "secret")
        add_alias(there, CAROL, "carol@gone.example")
        yield here, there


def add_alias(server: LiveServer, *arguments: str) -> None:
    done = server.valija("alias", "add", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def send(server: LiveServer, sender: str, recipients: Sequence[str], subject: str = "hello") -> None:
    mail = message(subject, sender or "mailer-daemon@sender.example", recipients[0])
    with smtplib.SMTP(HOST, server.smtpd, timeout=20) as client:
        client.sendmail(sender, list(recipients), mail.as_bytes())


def mailbox(server: LiveServer, address: str) -> list[Message]:
    local, _, domain = address.partition("@")
    folder = Path(server.folder, "data", "mail", domain, local, "new")
    return [message_from_bytes(file.read_bytes()) for file in sorted(folder.iterdir())] if folder.exists() else []


def test_a_forwarded_mail_has_a_return_address_and_its_report_finds_back() -> None:
    with two_servers() as (here, there):
        add_alias(here, ALIAS, BOB, CAROL)
        send(here, ANN, [ALIAS])
        there.wait_for_log(rf"attempt .*recipient={BOB} outcome=delivered")
        [copy] = mailbox(there, BOB)
        assert re.fullmatch(r"<SRS0=\w{8}=\w\w=sender\.example=ann@example\.org>", copy["Return-Path"])
        assert copy.get_all("Delivered-To") == [BOB, ALIAS]
        there.wait_for_log(rf"attempt .*recipient={ANN} outcome=delivered")
        [report] = mailbox(there, ANN)
        assert report["Return-Path"] == "<>"
        assert "Original-Recipient: rfc822;sales@example.org" in report.as_string()
