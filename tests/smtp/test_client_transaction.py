"""The commands of a transaction, the verdicts, and the extensions a peer announced."""

import pytest

from valija.mail.content import Content
from valija.mail.envelope import Envelope, Notify, Recipient
from valija.mail.reply import Reply
from valija.smtp.client_capabilities import Capabilities, read_capabilities
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
            "mx\nDSN\nCHUNKING\nENHANCEDSTATUSCODES\nSMTPUTF8",
            Capabilities(dsn=True, chunking=True, enhanced_status_codes=True, smtputf8=True),
        ),
    ],
)
def test_capabilities(text: str, capabilities: Capabilities) -> None:
    assert read_capabilities(text) == capabilities
