"""Reports to the reverse-path about what became of a message: multipart/report (RFC 6522), RFC 3464, RFC 3461.

    content = report(ReportKind.FAILURE, envelope, header, arrived, "4F2", reported,
                     hostname="mail.example.org", now=now, unique="4F2.1", full_content=None)

A report has three parts: words for a human (content/bounce_words), fields for programs (content/delivery_status), and
what comes back of the message: all of it or its header. It is sent with the null reverse-path, and never to one.

Texts of peers are hostile here: whatever they hold, lines end in CRLF, no field is added, no control reaches a
terminal. The report is 7-bit unless the returned message or the reverse-path is not: send it as 8BITMIME where
`content.isascii()` is false.

Where the reverse-path is in ASCII the report has to arrive by hops without SMTPUTF8, whatever the message was: then
addresses stand in the ASCII form of RFC 6533, and all parts have the media types of RFC 3464 and 6522. A reverse-path
beyond ASCII can be reached with SMTPUTF8 only: there the parts are `message/global...`, and nothing is escaped.

Of a message with REQUIRETLS the header comes back alone, whatever was asked (RFC 8689 section 5); its report is to
travel with the same demand.

Known weaknesses: a header in UTF-8 comes back to a reverse-path in ASCII as message/rfc822, which strictly may not hold
it, because mail programs open that and not message/global. That an alias led to several addresses is not reported by
itself (`expanded`): each of them is reported on as the alias.
"""

import re
from binascii import b2a_qp
from collections.abc import Sequence
from typing import Final

from valija.content.bounce_words import human_text, subject
from valija.content.compose import date_time, field
from valija.content.delivery_status import delivery_status, media_type
from valija.content.header import HeaderCollector, values
from valija.content.options import ReportOptions
from valija.content.report_language import languages
from valija.content.reported import News, Reported, ReportKind
from valija.content.words import Language
from valija.mail.envelope import Envelope

__all__ = ["FULL_LIMIT", "UNASKED_FULL_LIMIT", "ReportKind", "Reported", "report"]

FULL_LIMIT: Final = 1024 * 1024
"""Octets up to which a message comes back whole where RET=FULL asks for it; of a larger one the header does."""

UNASKED_FULL_LIMIT: Final = 50 * 1024
"""The same where a message failed and RET was absent."""

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_MESSAGE_ID: Final = re.compile(rb"<[!-;=?-~]{1,250}>")
_MOST_REFERENCES: Final = 10
_DEFAULT: Final = ReportOptions()


def report(  # noqa: PLR0917 - the six facts of every report, in the order of their life
    kind: ReportKind,
    envelope: Envelope,
    content_head: bytes,
    arrived: float,
    queue_id: str,
    reported: Sequence[Reported],
    *,
    hostname: str,
    now: float,
    unique: str,
    full_content: bytes | None,
    options: ReportOptions = _DEFAULT,
) -> bytes:
    """Return the content of a report on `reported`, recipients of one message that met the same kind of fate.

    `content_head` is the message's header, with or without octets of its body; `full_content` is all of it where it is
    at hand. `arrived` and `now` are seconds since the epoch. `unique` names the report in its Message-ID and
    boundary: letters, digits, dots and hyphens that senders can't guess. `options` chooses the language. Raises
    ValueError for a null reverse-path.
    """
    if not envelope.reverse_path:
        raise ValueError("a report on a message with the null reverse-path would be the start of a loop")
    news = News(kind, envelope, queue_id, arrived, reported, hostname, now)
    header = _header_of(content_head)
    spoken = languages(options, header)
    parts = (
        _text_part(human_text(news, spoken), spoken),
        _part(media_type(news), delivery_status(news)),
        _returned_part(news, header, full_content),
    )
    body = b"".join(parts)
    boundary = _boundary(unique, body)
    return b"".join(
        (
            _report_header(news, header, subject(news, spoken), unique),
            _content_type(boundary, body),
            b"\r\nThis is a report in MIME format.\r\n",
            *(b"\r\n--" + boundary + b"\r\n" + part for part in parts),
            b"\r\n--" + boundary + b"--\r\n",
        )
    )


def _header_of(content_head: bytes) -> bytes:
    collector = HeaderCollector()
    collector.feed(_with_line_ends(content_head))
    collector.finish()
    return collector.header


def _report_header(news: News, header: bytes, title: str, unique: str) -> bytes:
    fields = [
        field("From", f"Mail Delivery System <MAILER-DAEMON@{news.hostname}>"),
        field("To", f"<{_on_one_line(news.envelope.reverse_path)}>"),
        field("Subject", title),
        field("Date", date_time(news.now)),
        field("Message-ID", f"<{unique}@{news.hostname}>"),
        *_thread_fields(header),
        field("Auto-Submitted", "auto-replied"),
        field("MIME-Version", "1.0"),
    ]
    return b"".join(fields)


def _thread_fields(header: bytes) -> list[bytes]:
    """Return what puts the report beside its message, as a reply to it would be (RFC 5322 section 3.6.4)."""
    own = _message_ids(header, b"message-id")
    if len(own) != 1:
        return []
    before = [each for each in _message_ids(header, b"references") if each != own[0]]
    references = before[-_MOST_REFERENCES:] + own
    return [field("In-Reply-To", own[0]), field("References", " ".join(references))]


def _message_ids(header: bytes, name: bytes) -> list[str]:
    """Return the message identifiers in a field, if it occurs once and holds nothing else."""
    found = values(header, name)
    words = found[0].split() if len(found) == 1 else []
    sound = all(_MESSAGE_ID.fullmatch(word) for word in words)
    return [word.decode("ascii") for word in words] if sound else []


def _content_type(boundary: bytes, body: bytes) -> bytes:
    encoding = b"" if body.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
    return (
        b'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="' + boundary + b'"\r\n' + encoding
    )


def _boundary(unique: str, body: bytes) -> bytes:
    boundary = b"=_" + unique.encode("ascii", "replace")[:60]
    while b"--" + boundary in body:
        boundary += b"_"
    return boundary


def _text_part(text: str, spoken: Sequence[Language]) -> bytes:
    octets = text.replace("\n", "\r\n").encode("utf-8", "replace")
    language = f"Content-Language: {', '.join(spoken)}\r\n"
    if octets.isascii():
        return f"Content-Type: text/plain; charset=us-ascii\r\n{language}\r\n".encode() + octets
    # Not 8bit: accents must not decide by which hops a report can travel.
    head = f"Content-Type: text/plain; charset=utf-8\r\n{language}Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head.encode() + b2a_qp(octets)


def _returned_part(news: News, header: bytes, full_content: bytes | None) -> bytes:
    limit = _full_limit(news.kind, news.envelope)
    wide = news.internationalised and not header.isascii()
    if full_content is not None and len(full_content) <= limit:
        return _part("message/global" if wide else "message/rfc822", _with_line_ends(full_content))
    if wide:
        return _part("message/global-headers", header)
    return _part("text/rfc822-headers" if header.isascii() else "text/rfc822-headers; charset=utf-8", header)


def _full_limit(kind: ReportKind, envelope: Envelope) -> int:
    """Return up to how many octets a message comes back whole (RFC 3461 section 4.3), -1 for never."""
    if kind is not ReportKind.FAILURE or envelope.ret == "HDRS" or envelope.require_tls:
        return -1
    return FULL_LIMIT if envelope.ret == "FULL" else UNASKED_FULL_LIMIT


def _part(media_type: str, octets: bytes) -> bytes:
    encoding = "" if octets.isascii() else "Content-Transfer-Encoding: 8bit\r\n"
    return f"Content-Type: {media_type}\r\n{encoding}\r\n".encode("ascii") + octets


def _with_line_ends(octets: bytes) -> bytes:
    """Return octets whose lines all end in CRLF: as stored contents do, but a report stakes nothing on it."""
    feeds = octets.count(b"\n")
    if octets.count(b"\r\n") == feeds == octets.count(b"\r"):
        return octets
    return _LINE_END.sub(b"\r\n", octets)


def _on_one_line(address: str) -> str:
    return "".join(char for char in address if char.isprintable())
