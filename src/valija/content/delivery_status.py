"""The part of a report that programs read: message/delivery-status (RFC 3464 section 2).

A group of fields for the message, then one for each recipient, parted by a blank line:

    Reporting-MTA: dns; mail.example.org
    Arrival-Date: Tue, 25 Nov 2025 02:26:00 +0000

    Final-Recipient: rfc822; x@remote.example
    Action: failed
    Status: 5.1.1
    Remote-MTA: dns; mx.remote.example
    Diagnostic-Code: smtp; 550 5.1.1 No such user

Diagnostic-Code is what the peer said, and no more (section 2.3.6); Status is ours, and may be concluded from it. The
address a report names is the one the sender used, never what an alias made of it (section 2.3.2).

It is always ASCII, but for a report that is internationalised as a whole: then it is message/global-delivery-status
(RFC 6533 section 4), and addresses and peers' words stand in it as they are.

Known weakness: of many recipients each peer's words are cut short, so that a hostile peer's do not make a report huge.
"""

import re
from typing import Final

from valija.content.compose import date_time, field, printable, readable
from valija.content.reported import News, Reported, ReportKind
from valija.content.typed_address import decode_xtext, original_recipient, typed_address
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
_TOO_LATE: Final = "5.4.7"  # the same, once and for all, by a deadline (RFC 2852)
_STATUS: Final = re.compile(r"([245])\.([0-9]{1,3}\.[0-9]{1,3})(?=[ \t]|$)", re.ASCII)
_MAX_DIAGNOSTIC: Final = 2000
_MAX_DIAGNOSTIC_OF_MANY: Final = 300
_FEW: Final = 100  # recipients


def media_type(news: News) -> str:
    """Return the type of the part."""
    return "message/global-delivery-status" if news.internationalised else "message/delivery-status"


def delivery_status(news: News) -> bytes:
    """Return the fields of the message and of each recipient."""
    groups = [_message_fields(news)]
    told: dict[tuple[object, ...], bytes] = {}
    for one in news.reported:
        common = one.fate(one.words)
        fate = told.get(common)
        if fate is None:  # of many recipients the same is said: it is written once
            fate = told[common] = _fate_fields(news, one)
        groups.append(_address_fields(news, one) + fate)
    return b"\r\n".join(groups)


def _message_fields(news: News) -> bytes:
    envelope = news.envelope
    fields = []
    if envelope.envid:
        fields.append(field("Original-Envelope-Id", printable(decode_xtext(envelope.envid))))
    fields.append(field("Reporting-MTA", f"dns; {news.hostname}"))
    fields.append(field("X-Queue-Id", printable(news.queue_id)))
    fields.append(field("Arrival-Date", date_time(news.arrived)))
    if envelope.deliver_by is not None:
        fields.append(field("Deliver-By-Date", date_time(envelope.deliver_by.until)))
    return b"".join(fields)


def _address_fields(news: News, one: Reported) -> bytes:
    recipient, wide = one.recipient, news.internationalised
    final = field("Final-Recipient", typed_address(recipient.reported_address, internationalised=wide))
    if not recipient.orcpt:
        return final
    return field("Original-Recipient", original_recipient(recipient.orcpt, internationalised=wide)) + final


def _fate_fields(news: News, one: Reported) -> bytes:
    outcome = one.outcome
    fields = [field("Action", _ACTIONS[news.kind]), field("Status", status_of(news.kind, one))]
    if outcome.remote:
        fields.append(field("Remote-MTA", f"dns; {_verbatim(printable(outcome.remote, 255))}"))
    fields.append(field("Diagnostic-Code", _diagnostic(news, one)))
    fields.append(field("Last-Attempt-Date", date_time(news.now)))
    if news.kind is ReportKind.DELAY and one.will_retry_until:
        fields.append(field("Will-Retry-Until", date_time(one.will_retry_until)))
    return b"".join(fields)


def _diagnostic(news: News, one: Reported) -> str:
    limit = _MAX_DIAGNOSTIC if len(news.reported) <= _FEW else _MAX_DIAGNOSTIC_OF_MANY
    words = readable(one.words, limit) if news.internationalised else printable(one.words, limit)
    return f"{'smtp' if one.outcome.remote else 'x-valija'}; {_verbatim(words)}"


def _verbatim(words: str) -> str:
    """Return others' words without encoded words (RFC 2047 section 2), in which line breaks could reach a reader."""
    return words.replace("=?", r"=\x{3F}")


def status_of(kind: ReportKind, one: Reported) -> str:
    """Return the enhanced status code to report on a recipient: what is given up after its time says that alone."""
    if one.deadline_passed:
        return _TOO_LATE if kind is ReportKind.FAILURE else _EXPIRED
    return _EXPIRED if one.expired_after else status(kind, one.outcome.reply)


def status(kind: ReportKind, reply: Reply) -> str:
    """Return the enhanced status code to report; its class is that of the news, whatever the peer wrote.

    A failure whose last reply was transient was given up after its time, and says so. Where the reply has no code of
    this class, a line of its text may; else it is `x.0.0`, which the peer never said.
    """
    if kind is ReportKind.FAILURE and reply.is_transient:
        return _EXPIRED
    expected = _CLASSES[kind]
    for match in _codes(reply):
        if match[1] == expected:
            return match[0]
    return f"{expected}.0.0"


def said_detail(reply: Reply) -> str:
    """Return subject and detail of the code that a reply has, of whatever class: `7.1`, or `""` where it has none."""
    return next((match[2] for match in _codes(reply)), "")


def _codes(reply: Reply) -> list[re.Match[str]]:
    return [match for said in (reply.enhanced, *reply.text.split("\n")) if (match := _STATUS.match(said))]
