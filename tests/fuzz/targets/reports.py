"""Reports to senders, about peers that said anything, of messages that hold anything."""

import email
import email.policy
import re
from collections.abc import Hashable
from email.message import Message

from tests.fuzz.engine import Target
from valija.content.bounce import Reported, ReportKind, report
from valija.content.compose import field, printable, readable
from valija.content.header import check, fields, names, split
from valija.content.options import ReportOptions
from valija.content.trace import received_field, return_path_field
from valija.mail.envelope import Envelope, Recipient
from valija.mail.origin import Origin, TlsFacts
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply

_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_KINDS = tuple(ReportKind)
_SPOKEN = (ReportOptions("en"), ReportOptions("es"), ReportOptions())


def run(given: bytes) -> Hashable:
    """Write a report and read it again with Python's reader. The pieces: kind, reply, host, address, ORCPT, content."""
    pieces = [*given.split(b"\f"), b"", b"", b"", b"", b""]
    kind = _KINDS[(pieces[0] or b"0")[0] % len(_KINDS)]
    options = _SPOKEN[len(pieces[0]) % len(_SPOKEN)]
    words, host, address, orcpt = (piece.decode("utf-8", "surrogateescape") for piece in pieces[1:5])
    host, address, orcpt = host[:255], address[:250], orcpt[:500]  # as long as they can be
    content = re.sub(rb"\r|\0", b"", pieces[5]).replace(b"\n", b"\r\n")
    recipients = (Recipient(f"x{address}", orcpt=orcpt), Recipient("second@remote.example"))
    outcome = Outcome(0, State.FAILED, Reply(550, "5.1.1", words), host, host)
    envelope = Envelope(f"r{address}", recipients, envid=orcpt, ret="FULL")
    octets = report(
        kind, envelope, content, 0.0, "1", tuple(Reported(each, outcome) for each in recipients),
        hostname="h.example", now=0.0, unique="u", full_content=content, options=options,
    )  # fmt: skip
    assert not _LONE.search(octets)
    assert max(map(len, octets.removesuffix(content).split(b"\r\n"))) <= max(998, *map(len, content.split(b"\r\n")))
    header = split(octets).header
    assert check(header) is None
    assert len(set(names(header))) == len(names(header))
    assert {b"cc", b"bcc", b"x-forged"}.isdisjoint(names(header))
    _check_parts(email.message_from_bytes(octets, policy=email.policy.compat32))
    _check_trace(words[:80], host, address)
    return kind, options.language, octets.isascii()


def _check_parts(read: Message) -> None:
    """Three parts, and in the second a group of fields for the message and one for each recipient."""
    assert read.get_content_type() == "multipart/report"
    parts = read.get_payload()
    assert isinstance(parts, list)
    assert len(parts) == 3
    text, status, returned = parts
    assert isinstance(text, Message)
    assert isinstance(status, Message)
    assert isinstance(returned, Message)
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() in ("message/delivery-status", "message/global-delivery-status")
    groups = status.as_bytes().split(b"\n\n", 1)[1].strip().split(b"\n\n")
    if status.get_content_type() == "message/delivery-status":
        status.as_bytes().decode("ascii")
    found = [
        {line.partition(b":")[0] for line in group.splitlines() if line[:1] not in (b" ", b"\t")} for group in groups
    ]
    assert len(found) == 3, groups
    assert b"Reporting-MTA" in found[0]
    for each in found[1:]:
        assert {b"Final-Recipient", b"Action", b"Status"} <= each
        assert each <= _RECIPIENT_FIELDS


_RECIPIENT_FIELDS = {
    b"Original-Recipient", b"Final-Recipient", b"Action", b"Status", b"Remote-MTA", b"Diagnostic-Code",
    b"Last-Attempt-Date", b"Final-Log-ID", b"Will-Retry-Until", b"Localized-Reason",
}  # fmt: skip


def _check_trace(words: str, host: str, address: str) -> None:
    origin = Origin("smtpd", 0.0, address, host, "ESMTP", host, address, TlsFacts(words, words))
    path = return_path_field(address.encode("utf-8", "replace").decode())
    for octets in (
        received_field(origin, hostname="h.example", queue_id="1", recipients=(Recipient(address),)), path,
        field("X", readable(words, 10_000)),
    ):  # fmt: skip
        assert check(octets) is None
        assert len(fields(octets)) == 1
        assert not _LONE.search(octets)
        assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert printable(words, 10_000).isprintable()
    assert printable(words, 10_000).isascii()


_WORDS = (
    b"\f", b"\r\n", b"\r\nX-Forged: 1\r\n", b"\r\n\r\n--=_u\r\n", b"--=_u--", b"\n.\n", b"\x1b[31m", b"\xe2\x80\xae",
    b"550 5.1.1 ", b"5.7.1", b"4.2.2", b"\xc2\x85", b"\xff", b"a" * 1000, "ü".encode() * 500, b"rfc822;a+0D+0A",
    b"utf-8;\\x{0A}", b"Subject: x\n", b"From: a@b.example\n", b"\n\n", b"@remote.example", b">", b"<", b")", b"(",
    b"=?utf-8?q?=0D=0A?=",
)  # fmt: skip

TARGETS = (Target("reports", run, _WORDS, largest=6000, cost=16),)
