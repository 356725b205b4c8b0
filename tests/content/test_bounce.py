"""Reports. Those in tests/golden/bounces are for people to read: VALIJA_UPDATE_GOLDEN=1 writes them anew."""

import os
import re
from email import message_from_bytes, policy
from email.message import MIMEPart
from pathlib import Path

import msgspec
import pytest

from valija.content.bounce import FULL_LIMIT, UNASKED_FULL_LIMIT, Reported, ReportKind, report
from valija.content.header import fields, split, values
from valija.mail.envelope import Envelope, Notify, Recipient, Ret
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply

GOLDEN = Path(__file__).parent.parent / "golden" / "bounces"
ARRIVED = 1764072000.0
NOW = ARRIVED + 3600

HEADER = (
    b"From: Alice <alice@local.example>\r\nTo: x@remote.example\r\nSubject: hi\r\nMessage-ID: <1@local.example>\r\n"
)
CONTENT = HEADER + b"\r\nbody\r\n"
NO_SUCH_USER = Reply(550, "5.1.1", "No such user here")
HOSTILE = (
    "first\ntype: mda\n\n\r\nFinal-Recipient: rfc822; x@evil.example\r\n\r\n\0\x1b[31mred\u202e\x85\udcff" + "y" * 5000
)


def failed(address: str = "x@remote.example", reply: Reply = NO_SUCH_USER, **facts: str) -> Reported:
    recipient = Recipient(address, Notify.FAILURE, facts.get("orcpt", ""), facts.get("given", ""))
    remote = facts.get("remote", "mx.remote.example")
    return Reported(recipient, Outcome(0, State.FAILED, reply, remote, "192.0.2.9" if remote else ""))


def make(
    *reported: Reported,
    kind: ReportKind = ReportKind.FAILURE,
    content: bytes = CONTENT,
    full: bool = True,
    reverse_path: str = "alice@local.example",
    ret: Ret = "",
    envid: str = "",
) -> bytes:
    reported = reported or (failed(),)
    envelope = Envelope(reverse_path, tuple(one.recipient for one in reported), ret=ret, envid=envid)
    octets = report(
        kind,
        envelope,
        content,
        ARRIVED,
        "4F2",
        reported,
        hostname="mail.local.example",
        now=NOW,
        unique="4F2.a1b2c3",
        full_content=content if full else None,
    )
    assert_sound(octets)
    return octets


def assert_sound(octets: bytes) -> None:
    assert octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r")
    assert octets.endswith(b"\r\n")
    assert [field.name for field in fields(split(octets).header)].count(b"content-type") == 1


def parts_of(octets: bytes) -> tuple[MIMEPart, MIMEPart, MIMEPart]:
    message = message_from_bytes(octets, policy=policy.default)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    first, second, third = message.iter_parts()
    assert second.get_content_type() == "message/delivery-status"
    return first, second, third


def status_groups(octets: bytes) -> list[dict[str, str]]:
    """Return the groups of fields in the machine part, unfolded."""
    raw = octets.split(b"Content-Type: message/delivery-status\r\n\r\n")[1].partition(b"\r\n--=_")[0]
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    groups = []
    for group in raw.removesuffix(b"\r\n").split(b"\r\n\r\n"):
        found = [(field.name.decode(), field.value.decode()) for field in fields(group.removesuffix(b"\r\n") + b"\r\n")]
        assert len(dict(found)) == len(found), "no field occurs twice"
        groups.append({name: value.replace("\r\n", "").strip() for name, value in found})
    return groups


def human_words(octets: bytes) -> str:
    return " ".join(parts_of(octets)[0].get_content().split())


def test_c096_the_shape_of_a_report() -> None:
    octets = make(full=False)
    message = message_from_bytes(octets, policy=policy.default)
    assert values(split(octets).header, b"to") == [b" <alice@local.example>"]
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.local.example>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Date"].datetime.timestamp() == NOW
    assert message["Message-ID"] == "<4F2.a1b2c3@mail.local.example>"
    assert message["In-Reply-To"] == "<1@local.example>"
    assert message["MIME-Version"] == "1.0"
    first, _, third = parts_of(octets)
    assert first.get_content_type() == "text/plain"
    assert third.get_content_type() == "text/rfc822-headers"
    assert octets.isascii()
    assert "Content-Transfer-Encoding" not in message


def test_c096_the_fields_for_programs() -> None:
    whole, recipient = status_groups(make())
    assert whole == {
        "reporting-mta": "dns; mail.local.example",
        "x-queue-id": "4F2",
        "arrival-date": "Tue, 25 Nov 2025 12:00:00 +0000",
    }
    assert recipient == {
        "final-recipient": "rfc822; x@remote.example",
        "action": "failed",
        "status": "5.1.1",
        "remote-mta": "dns; mx.remote.example",
        "diagnostic-code": "smtp; 550 5.1.1 No such user here",
        "last-attempt-date": "Tue, 25 Nov 2025 13:00:00 +0000",
    }


def test_c096_one_group_for_each_recipient_that_is_reported() -> None:
    groups = status_groups(make(failed("x@remote.example"), failed("y@third.example")))
    assert [group["final-recipient"] for group in groups[1:]] == ["rfc822; x@remote.example", "rfc822; y@third.example"]


@pytest.mark.parametrize(
    ("kind", "reply", "status"),
    [
        (ReportKind.FAILURE, Reply(550, "5.1.1", "x"), "5.1.1"),
        (ReportKind.FAILURE, Reply(550, "", "x"), "5.0.0"),
        (ReportKind.FAILURE, Reply(550, "4.7.1", "x"), "5.0.0"),
        (ReportKind.FAILURE, Reply(550, "", "4.7.1 odd"), "5.0.0"),
        (ReportKind.FAILURE, Reply(550, "", "no\n5.1.1 such user"), "5.1.1"),
        (ReportKind.FAILURE, Reply(550, "", "no\n5.1.1such user"), "5.0.0"),
        (ReportKind.FAILURE, Reply(550, "5.1.1\r\nX: y", "x"), "5.0.0"),
        (ReportKind.FAILURE, Reply(451, "4.7.1", "x"), "4.4.7"),
        (ReportKind.DELAY, Reply(451, "4.7.1", "x"), "4.7.1"),
        (ReportKind.DELAY, Reply(421, "", "x"), "4.0.0"),
        (ReportKind.SUCCESS, Reply(250, "2.1.5", "x"), "2.1.5"),
        (ReportKind.RELAYED, Reply(250, "", "x"), "2.0.0"),
    ],
)
def test_c096_the_status_agrees_with_the_news(kind: ReportKind, reply: Reply, status: str) -> None:
    assert status_groups(make(failed(reply=reply), kind=kind))[1]["status"] == status


def test_the_diagnostic_code_is_the_peers_own_words() -> None:
    recipient = status_groups(make(failed(reply=Reply(550, "", "4.7.1 odd"))))[1]
    assert recipient["diagnostic-code"] == "smtp; 550 4.7.1 odd"
    assert recipient["status"] == "5.0.0"


def expired(reply: Reply, seconds: float = 432_000) -> Reported:
    return msgspec.structs.replace(failed(reply=reply), expired_after=seconds)


@pytest.mark.parametrize("reply", [Reply(451, "4.7.1", "Later"), Reply(554, "5.3.2", "No service"), Reply(450, "", "")])
def test_c091_what_expired_has_its_own_status_and_the_peers_last_words(reply: Reply) -> None:
    octets = make(expired(reply))
    recipient = status_groups(octets)[1]
    assert recipient["action"] == "failed"
    assert recipient["status"] == "4.4.7"
    assert recipient["remote-mta"] == "dns; mx.remote.example"
    assert recipient["diagnostic-code"] == f"smtp; {reply}".strip()
    assert "Delivery time expired after 5 days." in human_words(octets)
    assert "when it was last tried" in human_words(octets)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (4, "4 seconds"),
        (1, "1 second"),
        (0.5, "0.5 seconds"),
        (90, "90 seconds"),
        (1800, "30 minutes"),
        (3600, "1 hour"),
        (129_600, "36 hours"),
        (86_400, "1 day"),
        (432_000, "5 days"),
    ],
)
def test_a_duration_is_told_in_a_unit_that_fits(seconds: float, words: str) -> None:
    assert f"Delivery time expired after {words}." in human_words(make(expired(Reply(451, "4.7.1", "x"), seconds)))


def test_our_own_finding_has_no_remote_mta() -> None:
    reply = Reply(556, "5.1.10", "remote.example takes no mail (null MX)")
    recipient = status_groups(make(failed(reply=reply, remote="")))[1]
    assert "remote-mta" not in recipient
    assert recipient["diagnostic-code"] == "x-valija; 556 5.1.10 remote.example takes no mail (null MX)"


def test_c082_a_hostile_reply_adds_no_field_and_reaches_no_terminal() -> None:
    reply = Reply(553, "5.1.1", HOSTILE)
    octets = make(failed(reply=reply, remote="mx\r\nX-Forged: 1\r\n\r\n"))
    groups = status_groups(octets)
    assert len(groups) == 2
    assert groups[1]["final-recipient"] == "rfc822; x@remote.example"
    assert set(groups[1]) == {
        "final-recipient", "action", "status", "remote-mta", "diagnostic-code", "last-attempt-date"
    }  # fmt: skip
    assert r"\x{1B}[31mred\x{202E}\x{85}\xFF" in groups[1]["diagnostic-code"].replace(" ", "")
    assert all(line.isprintable() for line in octets.decode().replace("\t", " ").split("\r\n"))
    assert max(map(len, octets.split(b"\r\n"))) <= 998


def test_c082_a_reply_of_ten_thousand_lines_is_cut() -> None:
    assert len(make(failed(reply=Reply(550, "5.0.0", "no\n" * 10_000)))) < 10_000


def test_c095_envid_and_orcpt_are_decoded() -> None:
    octets = make(failed(orcpt="rfc822;a+2Bb@remote.example"), envid="QQ+2B314159")
    whole, recipient = status_groups(octets)
    assert whole["original-envelope-id"] == "QQ+314159"
    assert recipient["original-recipient"] == "rfc822;a+b@remote.example"


def test_c095_hostile_xtext_stays_in_its_field() -> None:
    octets = make(failed(orcpt="rfc822;a+0D+0AAction:+20delivered"), envid="a+0D+0A+0D+0Ab+00+FF+")
    whole, recipient = status_groups(octets)
    assert whole["original-envelope-id"] == r"a\x{D}\x{A}\x{D}\x{A}b\x{0}\xFF+"
    assert recipient["original-recipient"] == r"rfc822;a\x{D}\x{A}Action: delivered"


def test_c097_the_target_of_an_alias_is_not_told() -> None:
    octets = make(failed("secret@remote.example", given="sales@local.example"))
    assert b"secret@" not in octets
    assert status_groups(octets)[1]["final-recipient"] == "rfc822; sales@local.example"
    assert "<sales@local.example>" in human_words(octets)


@pytest.mark.parametrize(
    ("kind", "ret", "size", "media_type"),
    [
        (ReportKind.FAILURE, "HDRS", 10, "text/rfc822-headers"),
        (ReportKind.FAILURE, "FULL", 10, "message/rfc822"),
        (ReportKind.FAILURE, "", 10, "message/rfc822"),
        (ReportKind.FAILURE, "", UNASKED_FULL_LIMIT, "text/rfc822-headers"),
        (ReportKind.FAILURE, "FULL", UNASKED_FULL_LIMIT, "message/rfc822"),
        (ReportKind.FAILURE, "FULL", FULL_LIMIT, "text/rfc822-headers"),
        (ReportKind.DELAY, "FULL", 10, "text/rfc822-headers"),
        (ReportKind.SUCCESS, "FULL", 10, "text/rfc822-headers"),
        (ReportKind.RELAYED, "", 10, "text/rfc822-headers"),
    ],
)
def test_c094_what_comes_back(kind: ReportKind, ret: Ret, size: int, media_type: str) -> None:
    content = HEADER + b"\r\nsecret " + b"x" * size + b"\r\n"
    octets = make(kind=kind, ret=ret, content=content)
    assert parts_of(octets)[2].get_content_type() == media_type
    assert (b"secret" in octets) == (media_type == "message/rfc822")
    assert HEADER in octets


def test_8_bit_content_is_declared() -> None:
    content = HEADER + b"\r\nGr\xfc\xdfe\r\n"
    octets = make(content=content)
    assert not octets.isascii()
    assert values(split(octets).header, b"content-transfer-encoding") == [b" 8bit"]
    assert b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + content in octets
    assert b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" in octets


def test_internationalised_addresses() -> None:
    octets = make(failed("gr\u00e5+x@remote.example"), reverse_path="j\u00fcrgen@local.example")
    assert status_groups(octets)[1]["final-recipient"] == r"utf-8; gr\x{E5}\x{2B}x@remote.example"
    assert values(split(octets).header, b"to") == [" <j\u00fcrgen@local.example>".encode()]
    assert "gr\u00e5+x@remote.example" in human_words(octets)
    assert b"charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n" in octets


def test_the_boundary_stands_nowhere_else() -> None:
    content = HEADER + b"\r\n--=_4F2.a1b2c3\r\nContent-Type: text/html\r\n\r\nforged\r\n--=_4F2.a1b2c3_--\r\n"
    parts_of(make(content=content))
    assert b'boundary="=_4F2.a1b2c3__"' in make(content=content)


@pytest.mark.parametrize("content", [b"a\nb\r\rc\r\n\nd", b"X: y\n\nbody", b"\r", b"", b"no header", b"X" * 300_000])
def test_odd_contents_do_no_harm(content: bytes) -> None:
    parts_of(make(content=content))
    parts_of(make(content=content, ret="HDRS"))


def test_a_hostile_message_id_is_not_repeated() -> None:
    for value in (b"<a@b>\r\n <c@d>", b"a@b", b"<a b@c>", b"<" + b"a" * 500 + b"@b>", b"<a\xff@b>"):
        octets = make(content=b"Message-ID: " + value + b"\r\n\r\n")
        assert values(split(octets).header, b"in-reply-to") == []


def test_a_null_reverse_path_gets_no_report() -> None:
    with pytest.raises(ValueError, match="null reverse-path"):
        make(reverse_path="")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(550, "5.1.1", "x"), "look for a typing mistake"),
        (Reply(552, "5.2.2", "x"), "mailbox is full"),
        (Reply(552, "5.3.4", "x"), "send it smaller"),
        (Reply(550, "5.7.26", "x"), "refused the message by its rules"),
        (Reply(451, "4.3.0", "x"), "for as long as this server tries"),
        (Reply(550, "5.4.7", "x"), "for as long as this server tries"),
        (Reply(550, "5.99.99", "x"), "all that is known"),
    ],
)
def test_the_advice_fits_the_reason(reply: Reply, words: str) -> None:
    octets = make(failed(reply=reply))
    assert words in human_words(octets)
    assert f"said: {reply.code} {reply.enhanced} x" in human_words(octets)


def delayed() -> Reported:
    outcome = Outcome(
        0, State.DEFERRED, Reply(451, "4.7.1", "Greylisted, try again later"), "mx.remote.example", "2001:db8::9"
    )
    return Reported(Recipient("x@remote.example"), outcome, ARRIVED + 5 * 86_400)


def test_a_delay_tells_until_when() -> None:
    octets = make(delayed(), kind=ReportKind.DELAY)
    assert status_groups(octets)[1]["will-retry-until"] == "Sun, 30 Nov 2025 12:00:00 +0000"
    assert "only a warning" in human_words(octets)
    assert "until Sun, 30 Nov 2025 12:00:00 +0000" in human_words(octets)


def delivered(remote: str) -> Reported:
    outcome = Outcome(0, State.DELIVERED, Reply(250, "2.0.0", "Ok"), remote)
    return Reported(Recipient("x@remote.example", Notify.SUCCESS), outcome)


EXAMPLES = {
    "failure": lambda: make(
        failed(orcpt="rfc822;x@remote.example"),
        failed("y@third.example", Reply(556, "5.1.10", "third.example takes no mail (null MX)"), remote=""),
        envid="QQ+2B314159",
    ),
    "expired": lambda: make(failed(reply=Reply(451, "4.3.0", "Try later\nWe are full")), ret="HDRS"),
    "hostile": lambda: make(failed(reply=Reply(553, "5.1.1", HOSTILE[:200])), full=False),
    "delay": lambda: make(delayed(), kind=ReportKind.DELAY),
    "success": lambda: make(delivered(""), kind=ReportKind.SUCCESS),
    "relayed": lambda: make(delivered("mx.remote.example"), kind=ReportKind.RELAYED),
    "internationalised": lambda: make(failed("gr\u00e5@remote.example", Reply(550, "5.6.7", "Gr\u00e5? No."))),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_read_as_they_should(name: str) -> None:
    text = EXAMPLES[name]().replace(b"\r\n", b"\n")
    path = GOLDEN / f"{name}.eml"
    if os.environ.get("VALIJA_UPDATE_GOLDEN"):
        path.write_bytes(text)
    assert text == path.read_bytes()
    assert not re.search(rb"[ \t]\n", text)
