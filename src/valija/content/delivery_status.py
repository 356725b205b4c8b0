"""The part of a report that programs read: message/delivery-status (RFC 3464 section 2), always ASCII.

A group of fields for the message, then one for each recipient, parted by a blank line:

    Reporting-MTA: dns; mail.example.org
    Arrival-Date: Tue, 25 Nov 2025 02:26:00 +0000

    Final-Recipient: rfc822; x@remote.example
    Action: failed
    Status: 5.1.1
    Remote-MTA: dns; mx.remote.example
    Diagnostic-Code: smtp; 550 5.1.1 No such user

Diagnostic-Code is what the peer said, and no more (section 2.3.6); Status is ours, and may be concluded from it.

The address a report names is the one the sender used, never what an alias made of it (section 2.3.2).
"""

import re
from typing import Final

from valija.content.compose import date_time, field, printable
from valija.content.reported import News, Reported, ReportKind
from valija.mail.reply import Reply

_ACTIONS: Final = {
    ReportKind.FAILURE: "failed",
    ReportKind.DELAY: "delayed",
    ReportKind.SUCCESS: "delivered",
    ReportKind.RELAYED: "relayed",
}
_CLASSES: Final = {
    ReportKind.FAILURE: "5",
    ReportKind.DELAY: "4",
    ReportKind.SUCCESS: "2",
    ReportKind.RELAYED: "2",
}
_EXPIRED: Final = "4.4.7"  # RFC 3463 section 3.5: a persistent transient failure, given up
_STATUS: Final = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?=[ \t]|$)", re.ASCII)
_HEXCHAR: Final = re.compile(r"\+([0-9A-F]{2})")
_UNSAFE_IN_UTF8_ADDRESS: Final = re.compile(r"[^!-*,-<>-\[\]-~]")
_MAX_DIAGNOSTIC: Final = 2000


def delivery_status(news: News) -> bytes:
    """Return the fields of the message and of each recipient."""
    return b"\r\n".join((_message_fields(news), *(_recipient_fields(news, one) for one in news.reported)))


def _message_fields(news: News) -> bytes:
    fields = []
    if news.envelope.envid:
        fields.append(field("Original-Envelope-Id", printable(decode_xtext(news.envelope.envid))))
    fields.append(field("Reporting-MTA", f"dns; {news.hostname}"))
    fields.append(field("X-Queue-Id", printable(news.queue_id)))
    fields.append(field("Arrival-Date", date_time(news.arrived)))
    return b"".join(fields)


def _recipient_fields(news: News, one: Reported) -> bytes:
    outcome = one.outcome
    fields = []
    if one.recipient.orcpt:
        fields.append(field("Original-Recipient", _original_recipient(one.recipient.orcpt)))
    fields.append(field("Final-Recipient", typed_address(one.recipient.reported_address)))
    fields.append(field("Action", _ACTIONS[news.kind]))
    fields.append(field("Status", status_of(news.kind, one)))
    if outcome.remote:
        fields.append(field("Remote-MTA", f"dns; {printable(outcome.remote, 255)}"))
    fields.append(field("Diagnostic-Code", _diagnostic(outcome.reply, outcome.remote)))
    fields.append(field("Last-Attempt-Date", date_time(news.now)))
    if news.kind is ReportKind.DELAY and one.will_retry_until:
        fields.append(field("Will-Retry-Until", date_time(one.will_retry_until)))
    return b"".join(fields)


def status_of(kind: ReportKind, one: Reported) -> str:
    """Return the enhanced status code to report on a recipient: what is given up after its time says that alone."""
    return _EXPIRED if one.expired_after else status(kind, one.outcome.reply)


def status(kind: ReportKind, reply: Reply) -> str:
    """Return the enhanced status code to report; its class is that of the news, whatever the peer wrote.

    A failure whose last reply was transient was given up after its time, and says so. Where the reply has no code of
    this class, a line of its text may; else it is `x.0.0`, which the peer never said.
    """
    if kind is ReportKind.FAILURE and reply.is_transient:
        return _EXPIRED
    expected = _CLASSES[kind]
    for said in (reply.enhanced, *reply.text.split("\n")):
        match = _STATUS.match(said)
        if match and match[1] == expected:
            return match[0]
    return f"{expected}.0.0"


def typed_address(address: str) -> str:
    """Return `rfc822; address`, or the ASCII form of an internationalised one (RFC 6533 section 3)."""
    if address.isascii():
        return f"rfc822; {printable(address, 1000)}"
    return f"utf-8; {_UNSAFE_IN_UTF8_ADDRESS.sub(_embed, address)}"


def _embed(match: re.Match[str]) -> str:
    return f"\\x{{{ord(match[0]):X}}}"


def _original_recipient(orcpt: str) -> str:
    address_type, _, address = orcpt.partition(";")
    return f"{printable(address_type, 40)};{printable(decode_xtext(address), 1000)}"


def decode_xtext(text: str) -> str:
    """Return what an xtext stands for (RFC 3461 section 4); `+` that introduces no octet stays."""
    octets = _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), text)
    return octets.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _diagnostic(reply: Reply, remote: str) -> str:
    return f"{'smtp' if remote else 'x-valija'}; {printable(str(reply), _MAX_DIAGNOSTIC)}"
