"""The commands of a transaction, the verdicts, and the extensions a peer announced."""

from typing import Any

import pytest

from valija.mail.content import Content
from valija.mail.envelope import DeliverBy, Envelope, Notify, Recipient
from valija.mail.reply import Reply
from valija.smtp.client_capabilities import KEYWORDS, Capabilities, read_capabilities
from valija.smtp.client_content import Unclean
from valija.smtp.client_transaction import Transaction, plan

ALL = Capabilities(size=True, eight_bit_mime=True, smtputf8=True, dsn=True, pipelining=True)
CONTENT = Content.of(b"Subject: x\r\n\r\nx\r\n")


def test_all_parameters() -> None:
    recipients = (
        Recipient("b@example.net", Notify.NEVER, "rfc822;b@example.net"),
        Recipient('"odd user"@example.net', Notify.SUCCESS | Notify.FAILURE | Notify.DELAY),
        Recipient("c@example.net"),
    )
    envelope = Envelope("a@example.org", recipients, "8BITMIME", True, "FULL", "QQ+2B31")
    assert plan(envelope, recipients, CONTENT, ALL).commands == [
        b"MAIL FROM:<a@example.org> SIZE=17 BODY=8BITMIME RET=FULL ENVID=QQ+2B31\r\n",
        b"RCPT TO:<b@example.net> NOTIFY=NEVER ORCPT=rfc822;b@example.net\r\n",
        b'RCPT TO:<"odd user"@example.net> NOTIFY=SUCCESS,FAILURE,DELAY\r\n',
        b"RCPT TO:<c@example.net>\r\n",
        b"DATA\r\n",
    ]


def test_nothing_is_announced_nothing_is_said() -> None:
    recipient = Recipient("b@example.net", Notify.NEVER, "rfc822;b@example.net")
    envelope = Envelope("", (recipient,), "8BITMIME", True, "FULL", "QQ")
    assert plan(envelope, [recipient], CONTENT, Capabilities()).commands[:2] == [
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<b@example.net>\r\n",
    ]


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope("a@example.org>\r\nDATA", (Recipient("b@example.net"),)),
        Envelope("a@example.org", (Recipient("b\n@example.net"),)),
        Envelope("a@example.org", (Recipient("b@example.net", orcpt="rfc822;a\rb"),)),
        Envelope("a@example.org", (Recipient("b@example.net"),), envid="x\r\nRSET"),
        Envelope("a\0@example.org", (Recipient("b@example.net"),)),
        Envelope("a\udcff@example.org", (Recipient("b@example.net"),)),
    ],
)
def test_c005_no_line_break_within_a_command(envelope: Envelope) -> None:
    with pytest.raises(Unclean):
        plan(envelope, envelope.recipients, CONTENT, ALL)


def reply(code: int, enhanced: str = "") -> Reply:
    return Reply(code, enhanced, "")


@pytest.mark.parametrize(
    ("mail", "rcpt", "data", "final", "code"),
    [
        (250, [250], 354, 250, 250),
        (550, [503], None, None, 550),
        (250, [450], None, None, 450),
        (250, [250], 554, None, 554),
        (250, [250], 354, 451, 451),
        (250, [250], 354, None, None),
        (250, [], None, None, None),
        (None, [], None, None, None),
    ],
)
def test_the_verdict(mail: int | None, rcpt: list[int], data: int | None, final: int | None, code: int | None) -> None:
    transaction = Transaction([b"", b"", b""], b"")
    transaction.mail_reply = reply(mail) if mail else None
    transaction.rcpt_replies = [reply(one) for one in rcpt]
    transaction.data_reply = reply(data) if data else None
    transaction.final_reply = reply(final) if final else None
    verdict = transaction.verdict(0)
    assert (verdict.code if verdict else None) == code


@pytest.mark.parametrize(
    ("first", "code", "enhanced", "postponed"),
    [
        (250, 452, "4.5.3", True),
        (250, 452, "4.0.0", True),
        (250, 452, "", True),
        (250, 552, "5.5.3", True),
        (250, 452, "4.2.2", False),
        (250, 452, "4.3.1", False),
        (250, 552, "5.2.2", False),
        (250, 450, "4.5.3", False),
        (452, 452, "4.5.3", False),  # none was taken: another transaction would be no better
    ],
)
def test_too_many_recipients(first: int, code: int, enhanced: str, postponed: bool) -> None:
    transaction = Transaction([b""] * 4, b"")
    transaction.mail_reply = reply(250)
    transaction.rcpt_replies = [reply(first), reply(code, enhanced)]
    assert transaction.is_postponed(1) is postponed


@pytest.mark.parametrize(
    ("text", "capabilities"),
    [
        ("mx", Capabilities()),
        ("PIPELINING", Capabilities()),  # the first line is the greeting
        (
            "mx\npipelining\n8bitmime\nSize\nStartTLS",
            Capabilities(pipelining=True, eight_bit_mime=True, size=True, starttls=True),
        ),
        ("mx\nSIZE 1000", Capabilities(size=True, size_limit=1000)),
        ("mx\nSIZE " + "9" * 40, Capabilities(size=True)),
        ("mx\nSIZE ٣", Capabilities(size=True)),
        ("mx\nLIMITS RCPTMAX=20 MAILMAX=5 X=1", Capabilities(rcpt_max=20, mail_max=5)),
        ("mx\nLIMITS RCPTMAX=0 MAILMAX=-1", Capabilities()),
        (
            "mx\nREQUIRETLS\nDELIVERBY\nMT-PRIORITY MIXER",
            Capabilities(require_tls=True, deliver_by=True, mt_priority=True),
        ),
        ("mx\nDELIVERBY 240,x", Capabilities(deliver_by=True, least_deliver_by=240)),
        ("mx\nDELIVERBY soon", Capabilities(deliver_by=True)),
        (
            "mx\nDSN\nCHUNKING\nENHANCEDSTATUSCODES\nSMTPUTF8",
            Capabilities(dsn=True, chunking=True, enhanced_status_codes=True, smtputf8=True),
        ),
    ],
)
def test_capabilities(text: str, capabilities: Capabilities) -> None:
    assert read_capabilities(text) == capabilities


def test_each_keyword_that_matters_can_be_ignored() -> None:
    everything = "mx\n" + "\n".join(f"{word} 5" for word in KEYWORDS)
    assert read_capabilities(everything, KEYWORDS) == Capabilities()
    for word in KEYWORDS - {"LIMITS"}:
        assert read_capabilities(everything, [word]) != read_capabilities(everything)
    assert read_capabilities("mx\nLIMITS MAILMAX=1", ["LIMITS"]) == Capabilities()


REQUESTING = Capabilities(require_tls=True, deliver_by=True, mt_priority=True)


@pytest.mark.parametrize(
    ("envelope", "parameters"),
    [
        ({"require_tls": True}, b" REQUIRETLS"),
        ({"tls_optional": True}, b""),
        ({"priority": -4}, b" MT-PRIORITY=-4"),
        ({"hold_until": 5.0}, b""),
        ({"deliver_by": DeliverBy(1098.5, returns=True)}, b" BY=98;R"),
        ({"deliver_by": DeliverBy(1098.5, returns=False, traces=True)}, b" BY=98;NT"),
        ({"deliver_by": DeliverBy(979.5, returns=False)}, b" BY=-21;N"),
        ({"deliver_by": DeliverBy(9e12, returns=False)}, b" BY=999999999;N"),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_requests_are_passed_on(envelope: dict[str, Any], parameters: bytes) -> None:
    one = Envelope("a@example.org", (Recipient("b@example.net"),), **envelope)
    assert plan(one, one.recipients, CONTENT, REQUESTING, now=1000.0).commands[0] == (
        b"MAIL FROM:<a@example.org>" + parameters + b"\r\n"
    )
    assert (
        plan(one, one.recipients, CONTENT, Capabilities(), now=1000.0).commands[0] == b"MAIL FROM:<a@example.org>\r\n"
    )


def test_a_host_without_deliverby_is_asked_to_tell_of_delays() -> None:
    recipients = (
        Recipient("a@example.net"),
        Recipient("b@example.net", Notify.NEVER),
        Recipient("c@example.net", Notify.SUCCESS, "rfc822;c@example.net"),
    )
    envelope = Envelope("a@example.org", recipients, deliver_by=DeliverBy(1000.0, returns=False))
    transaction = plan(envelope, recipients, CONTENT, Capabilities(dsn=True), now=0.0)
    assert transaction.commands[1:4] == [
        b"RCPT TO:<a@example.net> NOTIFY=FAILURE,DELAY\r\n",
        b"RCPT TO:<b@example.net> NOTIFY=NEVER\r\n",
        b"RCPT TO:<c@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@example.net\r\n",
    ]
    assert not transaction.deliver_by
    assert plan(envelope, recipients, CONTENT, REQUESTING, now=0.0).deliver_by


CHUNKY = Capabilities(chunking=True, pipelining=True)


@pytest.mark.parametrize("content", [b"", b"x\r\n", b".\r\n..\r\n", b"no line end"])
def test_one_chunk(content: bytes) -> None:
    recipient = Recipient("b@example.net")
    envelope = Envelope("", (recipient,))
    transaction = plan(envelope, [recipient], Content.of(content), CHUNKY, chunks=True)
    sent = content + b"\r\n" if content == b"no line end" else content
    assert transaction.commands[-1] == b"BDAT %d LAST\r\n" % len(sent)
    assert (transaction.payload, transaction.is_chunk) == (sent, True)


@pytest.mark.parametrize("content", [b"x\n", b"x\r", b"x\r\r\n", b"\n\r\n", b"a\nb\r"])
def test_c005_no_lone_line_end_leaves_in_a_chunk(content: bytes) -> None:
    recipient = Recipient("b@example.net")
    with pytest.raises(Unclean):
        plan(Envelope("", (recipient,)), [recipient], Content.of(content), CHUNKY, chunks=True)


def test_c095_an_internationalised_orcpt_travels_in_the_form_that_every_hop_can_read() -> None:
    recipient = Recipient("b@example.net", orcpt="utf-8;gr\u00e5@example.net")
    commands = plan(Envelope("a@example.org", (recipient,)), [recipient], CONTENT, ALL).commands
    assert commands[1] == b"RCPT TO:<b@example.net> ORCPT=utf-8;gr\\x{E5}@example.net\r\n"
