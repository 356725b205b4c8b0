"""Bounces and DSN, end to end: who is told what, in which shape, and what hostile peers can't put into it."""

import email
import email.policy
import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage, MIMEPart
from typing import Final, cast

import pytest

from tests.cases.conftest import ALICE, Site
from tests.cases.refusing_sink import RefusingSink
from tests.cases.talk import queue_id_of
from tests.live import Settings

HEADER: Final = b"From: alice@local.example\r\nTo: x@remote.example\r\nSubject: hola\r\nAccept-Language: es-ES\r\n"
CONTENT: Final = HEADER + b"\r\nsecret body\r\n"
OUTSIDER: Final = "outsider@far.example"


class Reports:
    """The reports that a site makes to alice."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def report_on(self, queue_id: str, kind: str) -> EmailMessage:
        """Return the report on a message, as it lies in alice's Maildir."""
        server = self.site.server
        report_id = server.wait_for_log(rf"report queued .*queue_id=(\S+) kind={kind} about={queue_id}\b")[1]
        server.wait_for_log(rf"attempt .*queue_id={report_id} .*outcome=delivered")
        (octets,) = [
            octets
            for octets in (file.read_bytes() for file in server.data_dir.rglob("new/*"))
            if f"X-Queue-Id: {queue_id}".encode() in octets and f"\nAction: {ACTIONS[kind]}".encode() in octets
        ]
        assert max(map(len, octets.splitlines())) <= 998
        return parsed(octets)


class Post(Reports):
    """A site whose next hop refuses some, and the reports that come of it."""

    def __init__(self, site: Site, sink: RefusingSink) -> None:
        super().__init__(site)
        self.sink = sink

    def send(self, *recipients: str, mail: str = "", rcpt: str = "", content: bytes = CONTENT) -> str:
        """Submit a message of alice's; return its queue id."""
        with self.site.alice() as talk:
            commands = [f"MAIL FROM:<{ALICE}>{mail}", *(f"RCPT TO:<{each}>{rcpt}" for each in recipients), "DATA"]
            answers = [talk.say(command) for command in commands]
            assert answers[-1].startswith("354"), answers
            talk.send(content + b".\r\n")
            return queue_id_of(talk.reply() or "")

    def is_silent_about(self, queue_id: str) -> bool:
        """Whether a message ended without any report."""
        self.site.server.wait_for_log(rf"removed .*queue_id={queue_id}\b")
        return f"about={queue_id}" not in self.site.server.log.text


ACTIONS: Final = {"failure": "failed", "delay": "delayed", "success": "delivered", "relayed": "relayed"}


def parsed(octets: bytes) -> EmailMessage:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    return message


def parts_of(report: EmailMessage) -> tuple[str, list[MIMEPart], MIMEPart]:
    """Return the text, the groups of fields for programs, and what came back."""
    text, status, returned = report.iter_parts()
    assert status.get_content_type() == "message/delivery-status"
    return text.get_content(), cast("list[MIMEPart]", status.get_payload()), returned


@pytest.fixture(scope="module")
def posts(sites: Callable[[Settings], Site]) -> Iterator[dict[bool, Post]]:
    """One site whose next hop knows no DSN, and one whose next hop does."""
    with RefusingSink(dsn=False) as plain, RefusingSink(dsn=True) as knowing:
        found = {sink.dsn: Post(sites({"smtp": {"relayhost": sink.relayhost}}), sink) for sink in (plain, knowing)}
        for post in found.values():
            post.site.furnish()
        yield found


@pytest.fixture
def post(posts: dict[bool, Post]) -> Post:
    return posts[False]


def test_c082_a_hostile_reply_ends_up_as_text_in_a_report_and_nowhere_else(post: Post) -> None:
    queue_id = post.send("hostile@remote.example", mail=" RET=HDRS ENVID=QQ314159")
    report = post.report_on(queue_id, "failure")
    text, groups, _ = parts_of(report)
    assert len(groups) == 2
    assert groups[0]["Original-Envelope-Id"] == "QQ314159"
    (recipient,) = groups[1:]
    assert recipient.keys().count("Diagnostic-Code") == recipient.keys().count("Final-Recipient") == 1
    assert recipient["Final-Recipient"] == "rfc822; hostile@remote.example"
    assert recipient["Diagnostic-Code"].startswith("smtp; 553 ")
    assert "evil.example" not in [*groups[0].values(), *recipient.values()]
    for line in (*text.splitlines(), *recipient.values()):
        assert str(line).isprintable(), line
    assert post.site.server.queue() == []
    again = post.send("gone@remote.example")
    assert parts_of(post.report_on(again, "failure"))[1][1]["Status"] == "5.1.1"


def test_c093_never_is_never(post: Post) -> None:
    assert post.is_silent_about(post.send("gone@remote.example", rcpt=" NOTIFY=NEVER"))
    assert post.is_silent_about(post.send("gone@remote.example", rcpt=" NOTIFY=SUCCESS,DELAY"))


def test_c093_success_behind_a_hop_without_dsn_is_relayed(post: Post) -> None:
    queue_id = post.send("x@remote.example", rcpt=" NOTIFY=SUCCESS")
    _, groups, returned = parts_of(post.report_on(queue_id, "relayed"))
    assert groups[1]["Action"] == "relayed"
    assert returned.get_content_type() == "text/rfc822-headers"


def test_c093_success_behind_a_hop_with_dsn_is_its_to_tell(posts: dict[bool, Post]) -> None:
    post = posts[True]
    assert post.is_silent_about(post.send("x@remote.example", rcpt=" NOTIFY=SUCCESS,FAILURE"))
    assert post.sink.commands[-1] == "RCPT TO:<x@remote.example> NOTIFY=SUCCESS,FAILURE"


def test_c093_a_delivery_here_is_told_where_it_was_asked(post: Post) -> None:
    asked = post.send(ALICE, rcpt=" NOTIFY=SUCCESS")
    assert parts_of(post.report_on(asked, "success"))[1][1]["Action"] == "delivered"
    assert post.is_silent_about(post.send(ALICE))


@pytest.mark.parametrize(
    ("ret", "media_type"),
    [("", "message/rfc822"), (" RET=FULL", "message/rfc822"), (" RET=HDRS", "text/rfc822-headers")],
)
def test_c094_what_comes_back_is_what_was_asked(post: Post, ret: str, media_type: str) -> None:
    report = post.report_on(post.send("gone@remote.example", mail=ret), "failure")
    assert parts_of(report)[2].get_content_type() == media_type
    assert ("secret body" in report.as_string()) == (media_type == "message/rfc822")
    assert "Subject: hola" in report.as_string()


def test_c094_of_a_message_of_20_megabytes_the_header_comes_back(post: Post) -> None:
    line = b"secret body ".ljust(998, b"x") + b"\r\n"
    queue_id = post.send("gone@remote.example", mail=" RET=FULL", content=HEADER + b"\r\n" + line * 20_000)
    report = post.report_on(queue_id, "failure")
    assert parts_of(report)[2].get_content_type() == "text/rfc822-headers"
    assert len(report.as_bytes()) < 10_000


@pytest.mark.parametrize("dsn", [True, False])
def test_c095_envid_and_orcpt_travel_as_they_came_and_are_read_in_the_report(
    posts: dict[bool, Post], dsn: bool
) -> None:
    post = posts[dsn]
    del post.sink.commands[:]
    mail, rcpt = " ENVID=QQ+2B314159 RET=HDRS", " ORCPT=rfc822;a+2Bb@remote.example NOTIFY=FAILURE"
    post.is_silent_about(post.send("x@remote.example", mail=mail, rcpt=rcpt))
    sent = " ".join(post.sink.commands)
    assert ("ENVID=QQ+2B314159" in sent) == dsn
    assert ("ORCPT=rfc822;a+2Bb@remote.example" in sent) == dsn
    assert ("NOTIFY=FAILURE" in sent) == ("RET=HDRS" in sent) == dsn
    _, groups, _ = parts_of(post.report_on(post.send("gone@remote.example", mail=mail, rcpt=rcpt), "failure"))
    assert groups[0]["Original-Envelope-Id"] == "QQ+314159"
    assert groups[1]["Original-Recipient"] == "rfc822;a+b@remote.example"


def test_c096_the_shape_of_a_report_on_one_bad_recipient_of_two(post: Post) -> None:
    content = b"Message-ID: <c096@local.example>\r\n" + CONTENT
    queue_id = post.send("full@remote.example", "good@third.example", content=content)
    report = post.report_on(queue_id, "failure")
    text, groups, returned = parts_of(report)
    assert report["To"] == ALICE
    assert report["From"] == "Mail Delivery System <MAILER-DAEMON@mail.local.example>"
    assert report["Return-Path"] == "<>"
    assert report["Auto-Submitted"] == "auto-replied"
    assert report["In-Reply-To"] == report["References"] == "<c096@local.example>"
    assert report["Date"].datetime
    assert re.fullmatch(r"<[0-9a-f]{32}@mail\.local\.example>", report["Message-ID"])
    assert len(groups) == 2, "only who failed is named"
    assert groups[0]["Reporting-MTA"] == "dns; mail.local.example"
    failed = groups[1]
    assert failed["Final-Recipient"] == "rfc822; full@remote.example"
    assert (failed["Action"], failed["Status"]) == ("failed", "5.2.2")
    assert failed["Remote-MTA"].startswith("dns; ")
    assert failed["Diagnostic-Code"] == (
        r"smtp; 552 5.2.2 The mailbox is full, says \x{41F}\x{43E}\x{447}\x{442}\x{430}"
    )
    assert "says \u041f\u043e\u0447\u0442\u0430" in " ".join(text.split())
    assert "third.example" not in text
    assert returned.get_content_type() == "message/rfc822"


def test_c096_a_reply_that_contradicts_itself_is_reported_by_its_first_digit(post: Post) -> None:
    failed = parts_of(post.report_on(post.send("code@remote.example"), "failure"))[1][1]
    assert failed["Status"] == "5.0.0"
    assert failed["Diagnostic-Code"] == "smtp; 550 4.7.1 contradictory"


def test_c096_the_reader_is_spoken_to_in_the_language_of_the_message(post: Post) -> None:
    report = post.report_on(post.send("gone@remote.example"), "failure")
    assert report["Subject"] == "Correo no entregado: gone@remote.example"
    assert "La direcci\u00f3n no existe." in parts_of(report)[0]
    plain = CONTENT.replace(b"Accept-Language: es-ES\r\n", b"")
    report = post.report_on(post.send("gone@remote.example", content=plain), "failure")
    assert report["Subject"] == "Mail not delivered / Correo no entregado: gone@remote.example"


def test_c097_a_report_to_an_outsider_names_the_alias_and_not_where_it_leads(post: Post) -> None:
    added = post.site.server.valija("alias", "add", "sales@local.example", "gone@remote.example")
    assert added.returncode == 0, added.stderr
    with post.site.stranger() as talk:
        queue_id = queue_id_of(talk.send_message(OUTSIDER, "sales@local.example", b"Subject: buy\r\n\r\nhi\r\n"))
    server = post.site.server
    report_id = server.wait_for_log(rf"report queued .*queue_id=(\S+) kind=failure about={queue_id}\b")[1]
    server.wait_for_log(rf"removed .*queue_id={report_id}\b")
    (caught,) = [each for each in post.sink.caught if each.recipients == (OUTSIDER,)]
    assert caught.reverse_path == ""
    assert b"gone@" not in caught.content
    text, groups, _ = parts_of(parsed(caught.content))
    assert groups[1]["Final-Recipient"] == "rfc822; sales@local.example"
    assert groups[1]["Diagnostic-Code"] == "smtp; 550 5.1.1 <sales@local.example>: No such user here"
    assert "<sales@local.example>" in text
