"""Reports as a whole. Those in tests/golden/bounces are for people to read: VALIJA_UPDATE_GOLDEN=1 writes them anew."""

import os
import re
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from pathlib import Path

import msgspec
import pytest

from tests.content.reports import (
    BOTH,
    CONTENT,
    ENGLISH,
    HEADER,
    HOSTILE,
    NOW,
    SPANISH,
    delayed,
    delivered,
    expired,
    failed,
    human_text,
    human_words,
    make,
    parts_of,
    status_groups,
)
from valija.content.bounce import FULL_LIMIT, UNASKED_FULL_LIMIT
from valija.content.bounce_words import MAX_NAMED
from valija.content.header import names, split, values
from valija.content.options import ReportOptions
from valija.content.reported import ReportKind
from valija.mail.envelope import DeliverBy, Ret
from valija.mail.reply import Reply

GOLDEN = Path(__file__).parent.parent / "golden" / "bounces"


def test_c096_the_shape_of_a_report() -> None:
    octets = make(full=False)
    message = message_from_bytes(octets, policy=policy.default)
    assert values(split(octets).header, b"to") == [b" <alice@local.example>"]
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.local.example>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Date"].datetime.timestamp() == NOW
    assert message["Message-ID"] == "<4F2.a1b2c3@mail.local.example>"
    assert message["In-Reply-To"] == message["References"] == "<1@local.example>"
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


def test_c082_a_reply_of_encoded_words_is_not_decoded_into_lines() -> None:
    reply = Reply(550, "5.1.1", "=?utf-8?q?x=0D=0AAction=3A_delivered?=")
    recipient = status_groups(make(failed(reply=reply)))[1]
    assert recipient["diagnostic-code"] == r"smtp; 550 5.1.1 =\x{3F}utf-8?q?x=0D=0AAction=3A_delivered?="
    assert str(make_header(decode_header(recipient["diagnostic-code"]))) == recipient["diagnostic-code"]


def test_our_own_finding_has_no_remote_mta() -> None:
    reply = Reply(556, "5.1.10", "remote.example takes no mail (null MX)")
    recipient = status_groups(make(failed(reply=reply, remote="")))[1]
    assert "remote-mta" not in recipient
    assert recipient["diagnostic-code"] == "x-valija; 556 5.1.10 remote.example takes no mail (null MX)"


@pytest.mark.parametrize("options", [ENGLISH, SPANISH, BOTH])
def test_c082_a_hostile_reply_adds_no_field_and_reaches_no_terminal(options: ReportOptions) -> None:
    reply = Reply(553, "5.1.1", HOSTILE)
    octets = make(failed(reply=reply, remote="mx\r\nX-Forged: 1\r\n\r\n"), options=options)
    groups = status_groups(octets)
    assert len(groups) == 2
    assert groups[1]["final-recipient"] == "rfc822; x@remote.example"
    assert set(groups[1]) == {
        "final-recipient", "action", "status", "remote-mta", "diagnostic-code", "last-attempt-date"
    }  # fmt: skip
    assert r"\x{1B}[31mred\x{202E}\x{85}\xFF" in groups[1]["diagnostic-code"].replace(" ", "")
    assert all(line.isprintable() for line in octets.decode().replace("\t", " ").split("\r\n"))
    assert all(line.isprintable() for line in human_text(octets).split("\n"))
    assert max(map(len, octets.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("options", [ENGLISH, SPANISH, BOTH])
def test_c082_hostile_addresses_queue_ids_and_hosts_stay_on_their_line(options: ReportOptions) -> None:
    evil = "x\r\nBcc: y@evil.example\r\n\r\n--=_4F2.a1b2c3--\u202e{count}{0}%s"
    octets = make(failed(f"{evil}@remote.example", remote=evil), failed(), options=options)
    header = split(octets).header
    assert {name for name in names(header) if name in (b"bcc", b"cc")} == set()
    assert len(status_groups(octets)) == 3
    assert "{count}{0}%s" in human_text(octets).replace("\n", "")
    assert "\u202e" not in human_text(octets)


def test_c082_a_reply_of_ten_thousand_lines_is_cut() -> None:
    assert len(make(failed(reply=Reply(550, "5.0.0", "no\n" * 10_000)))) < 10_000


def test_c095_envid_and_orcpt_are_decoded() -> None:
    octets = make(failed(orcpt="rfc822;a+2Bb@remote.example"), envid="QQ+2B314159")
    whole, recipient = status_groups(octets)
    assert whole["original-envelope-id"] == "QQ+314159"
    assert recipient["original-recipient"] == "rfc822;a+b@remote.example"


@pytest.mark.parametrize(
    ("orcpt", "reverse_path", "shown"),
    [
        (r"utf-8;gr\x{E5}@remote.example", "alice@local.example", r"utf-8;gr\x{E5}@remote.example"),
        (r"utf-8;gr\x{E5}@remote.example", "\u00e5@local.example", "utf-8;gr\u00e5@remote.example"),
        ("UTF-8;gr\u00e5+2Bx@remote.example", "alice@local.example", r"utf-8;gr\x{E5}\x{2B}x@remote.example"),
        ("utf-8;gr\u00e5@remote.example", "\u00e5@local.example", "utf-8;gr\u00e5@remote.example"),
        (r"utf-8;a\x{202E}\x{D}b@remote.example", "\u00e5@local.example", r"utf-8;a\x{202E}\x{5C}x{D}b@remote.example"),
        (r"utf-8;a\x{0D}\x{0A}b@remote.example", "alice@local.example", r"utf-8;a\x{0D}\x{0A}b@remote.example"),
    ],
)  # fmt: skip
def test_c095_an_internationalised_orcpt_is_decoded_as_far_as_the_report_can_carry_it(
    orcpt: str, reverse_path: str, shown: str
) -> None:
    recipient = status_groups(make(failed(orcpt=orcpt), reverse_path=reverse_path))[1]
    assert recipient["original-recipient"] == shown


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


@pytest.mark.parametrize("options", [ENGLISH, SPANISH])
def test_c097_nor_by_the_words_of_the_server_it_leads_to(options: ReportOptions) -> None:
    reply = Reply(550, "5.1.1", "<Secret@Remote.example>: Recipient address rejected: secret@remote.example unknown")
    octets = make(failed("secret@remote.example", reply, given="sales@local.example"), options=options)
    assert b"secret@" not in octets.lower()
    assert b"<sales@local.example>: Recipient address rejected" in octets
    assert "sales@local.example unknown" in status_groups(octets)[1]["diagnostic-code"]


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


def test_c094_a_message_that_required_tls_never_comes_back_whole() -> None:
    octets = make(ret="FULL", require_tls=True, content=HEADER + b"\r\nsecret\r\n")
    assert parts_of(octets)[2].get_content_type() == "text/rfc822-headers"
    assert b"secret" not in octets


def test_8_bit_content_is_declared() -> None:
    content = HEADER + b"\r\nGr\xfc\xdfe\r\n"
    octets = make(content=content)
    assert not octets.isascii()
    assert values(split(octets).header, b"content-transfer-encoding") == [b" 8bit"]
    assert b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + content in octets
    assert b"Content-Type: text/plain; charset=us-ascii\r\nContent-Language: en\r\n\r\n" in octets


def test_accents_alone_make_no_8_bit_report() -> None:
    octets = make(options=SPANISH)
    assert octets.isascii()
    assert b"Content-Language: es\r\nContent-Transfer-Encoding: quoted-printable\r\n" in octets
    assert "La direcci\u00f3n no existe." in human_words(octets)
    assert max(map(len, octets.split(b"\r\n"))) <= 78


UTF8_HEADER = "From: J\u00fcrgen <j\u00fcrgen@local.example>\r\nSubject: Gr\u00fc\u00dfe\r\n".encode()


@pytest.mark.parametrize("full", [True, False])
def test_an_internationalised_reverse_path_gets_an_internationalised_report(full: bool) -> None:
    octets = make(
        failed("gr\u00e5+x@remote.example", Reply(550, "5.6.7", "Gr\u00e5? No.")),
        reverse_path="j\u00fcrgen@local.example",
        content=UTF8_HEADER + b"\r\nbody\r\n",
        full=full,
    )
    _, second, third = parts_of(octets)
    assert second.get_content_type() == "message/global-delivery-status"
    assert third.get_content_type() == ("message/global" if full else "message/global-headers")
    assert status_groups(octets)[1]["final-recipient"] == "utf-8; gr\u00e5+x@remote.example"
    assert status_groups(octets)[1]["diagnostic-code"] == "smtp; 550 5.6.7 Gr\u00e5? No."
    assert values(split(octets).header, b"to") == [" <j\u00fcrgen@local.example>".encode()]
    assert "<gr\u00e5+x@remote.example>" in human_words(octets)
    assert UTF8_HEADER in octets


@pytest.mark.parametrize("full", [True, False])
def test_c090_a_report_to_an_ascii_reverse_path_needs_no_smtputf8(full: bool) -> None:
    octets = make(
        failed("gr\u00e5+x@remote.example", Reply(550, "5.6.7", "Gr\u00e5? No.")),
        content=UTF8_HEADER + b"\r\nbody\r\n",
        full=full,
    )
    assert split(octets).header.isascii()
    _, second, third = parts_of(octets)
    assert second.get_content_type() == "message/delivery-status"
    assert third.get_content_type() == ("message/rfc822" if full else "text/rfc822-headers")
    assert status_groups(octets)[1]["final-recipient"] == r"utf-8; gr\x{E5}\x{2B}x@remote.example"
    assert status_groups(octets)[1]["diagnostic-code"] == r"smtp; 550 5.6.7 Gr\x{E5}? No."
    assert message_from_bytes(octets, policy=policy.default)["Subject"] == (
        "Mail not delivered: gr\u00e5+x@remote.example"
    )
    assert "<gr\u00e5+x@remote.example>" in human_words(octets)


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
        assert not {b"in-reply-to", b"references"} & set(names(split(octets).header))


def test_a_report_stands_in_the_thread_of_its_message() -> None:
    before = " ".join(f"<{number}@far.example>" for number in range(40))
    octets = make(content=HEADER + f"References: {before}\r\n <1@local.example>\r\n\r\nhi\r\n".encode())
    references = message_from_bytes(octets, policy=policy.default)["References"].split()
    assert references == [f"<{number}@far.example>" for number in range(30, 40)] + ["<1@local.example>"]
    hostile = make(content=HEADER + b"References: <a@b> evil\r\n\r\n")
    assert message_from_bytes(hostile, policy=policy.default)["References"] == "<1@local.example>"


def test_a_null_reverse_path_gets_no_report() -> None:
    with pytest.raises(ValueError, match="null reverse-path"):
        make(reverse_path="")


def test_a_deadline_is_told_to_programs_and_people() -> None:
    by = DeliverBy(NOW - 60, returns=True)
    late = failed(reply=Reply(451, "4.7.1", "Later"), deadline_passed=True)
    octets = make(late, deliver_by=by)
    whole, recipient = status_groups(octets)
    assert whole["deliver-by-date"] == "Tue, 25 Nov 2025 12:59:00 +0000"
    assert recipient["status"] == "5.4.7"
    assert recipient["diagnostic-code"] == "smtp; 451 4.7.1 Later"
    assert "within a time that you had set" in human_words(octets)
    assert "You asked for its delivery by Tuesday, 25 November 2025, 12:59 UTC." in human_words(octets)
    still_tried = msgspec.structs.replace(delayed(), deadline_passed=True)
    assert status_groups(make(still_tried, kind=ReportKind.DELAY, deliver_by=by))[1]["status"] == "4.4.7"


def test_a_mailing_to_thousands_is_reported_whole_to_programs_and_in_short_to_people() -> None:
    crowd = [failed(f"u{number}@remote.example") for number in range(3000)]
    others = [failed(f"v{number}@remote.example", Reply(550, "", f"No {number}" + "x" * 900)) for number in range(200)]
    octets = make(*crowd, *others, options=BOTH)
    groups = status_groups(octets)
    assert len(groups) == 3201
    assert groups[3200]["diagnostic-code"].startswith("smtp; 550 No 199xxx")
    assert len(octets) < 3201 * 700
    text = human_text(octets)
    assert text.count("<u") == 2 * MAX_NAMED
    assert "<v" not in text
    assert "u99@" in text
    assert "and 2900 more" in text
    assert "y 2900 m\u00e1s" in text
    assert subject_of(octets) == "Mail not delivered: 3200 recipients / Correo no entregado: 3200 destinatarios"


def subject_of(octets: bytes) -> str:
    return str(message_from_bytes(octets, policy=policy.default)["Subject"])


def test_what_was_asked_in_the_messages_own_header_is_the_language() -> None:
    octets = make(content=b"Accept-Language: es-MX, en;q=0.5\r\n" + CONTENT, options=ReportOptions())
    assert subject_of(octets) == "Correo no entregado: x@remote.example"
    assert human_text(octets).startswith("No se pudo entregar")
    octets = make(options=ReportOptions())
    assert subject_of(octets) == "Mail not delivered / Correo no entregado: x@remote.example"
    assert b"Content-Language: en, es\r\n" in octets


EXAMPLES = {
    "failure": lambda: make(
        failed(orcpt="rfc822;x@remote.example"),
        failed("y@third.example", Reply(556, "5.1.10", "third.example takes no mail (null MX)"), remote=""),
        envid="QQ+2B314159",
    ),
    "expired": lambda: make(expired(Reply(451, "4.3.0", "Try later\nWe are full")), ret="HDRS"),
    "hostile": lambda: make(failed(reply=Reply(553, "5.1.1", HOSTILE[:200])), full=False),
    "delay": lambda: make(delayed(), kind=ReportKind.DELAY),
    "success": lambda: make(delivered(""), kind=ReportKind.SUCCESS),
    "relayed": lambda: make(delivered("mx.remote.example"), kind=ReportKind.RELAYED),
    "ascii": lambda: make(failed("gr\u00e5@remote.example", Reply(550, "5.6.7", "Gr\u00e5? No."))),
    "internationalised": lambda: make(
        failed("gr\u00e5@remote.example", Reply(550, "5.6.7", "Gr\u00e5? No.")),
        reverse_path="j\u00fcrgen@local.example",
        content=UTF8_HEADER + b"\r\nbody\r\n",
    ),
    "spanish": lambda: make(options=SPANISH),
    "both": lambda: make(options=BOTH),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_read_as_they_should(name: str) -> None:
    text = EXAMPLES[name]().replace(b"\r\n", b"\n")
    path = GOLDEN / f"{name}.eml"
    if os.environ.get("VALIJA_UPDATE_GOLDEN"):
        path.write_bytes(text)
    assert text == path.read_bytes()
    assert not re.search(rb"[ \t]\n", text)
