"""Reports to the reverse-path about what became of a message: multipart/report (RFC 6522), RFC 3464, RFC 3461.

    content = report(ReportKind.FAILURE, envelope, header, arrived, "4F2", reported,
                     hostname="mail.example.org", now=now, unique="4F2.1", full_content=None)

A report has three parts: words for a human (content/bounce_words), fields for programs (content/delivery_status), and
what comes back of the message: all of it or its header. It is sent with the null reverse-path, and never to one.

Texts of peers are hostile here: whatever they hold, lines end in CRLF, no field is added, no control reaches a
terminal. The report is 7-bit unless the returned message or an address is not: send it as 8BITMIME where
`content.isascii()` is false.

Known weakness: internationalised addresses stand in the ASCII form of RFC 6533 in the fields; the parts themselves keep
the media types of RFC 3464.
"""

import re
from collections.abc import Sequence
from typing import Final

from valija.content.bounce_words import human_text, subject
from valija.content.compose import date_time, field
from valija.content.delivery_status import delivery_status
from valija.content.header import HeaderCollector, values
from valija.content.reported import News, Reported, ReportKind
from valija.mail.envelope import Envelope

__all__ = ["FULL_LIMIT", "UNASKED_FULL_LIMIT", "ReportKind", "Reported", "report"]

FULL_LIMIT: Final = 1024 * 1024
"""Octets up to which a message comes back whole where RET=FULL asks for it; of a larger one the header does."""

UNASKED_FULL_LIMIT: Final = 50 * 1024
"""The same where a message failed and RET was absent."""

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_MESSAGE_ID: Final = re.compile(rb"[ \t]*(<[!-;=?-~]{1,250}>)[ \t]*")


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
) -> bytes:
    """Return the content of a report on `reported`, recipients of one message that met the same kind of fate.

    `content_head` is the message's header, with or without octets of its body; `full_content` is all of it where it is
    at hand. `arrived` and `now` are seconds since the epoch. `unique` names the report in its Message-ID and
    boundary: letters, digits, dots and hyphens that senders can't guess. Raises ValueError for a null reverse-path.
    """
    if not envelope.reverse_path:
        raise ValueError("a report on a message with the null reverse-path would be the start of a loop")
    news = News(kind, envelope, queue_id, arrived, reported, hostname, now)
    header = _header_of(content_head)
    parts = (
        _text_part(human_text(news)),
        _part("message/delivery-status", delivery_status(news)),
        _returned_part(kind, envelope, header, full_content),
    )
    body = b"".join(parts)
    boundary = _boundary(unique, body)
    return b"".join(
        (
            _report_header(news, header, unique),
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


def _report_header(news: News, header: bytes, unique: str) -> bytes:
    fields = [
        field("From", f"Mail Delivery System <MAILER-DAEMON@{news.hostname}>"),
        field("To", f"<{_on_one_line(news.envelope.reverse_path)}>"),
        field("Subject", subject(news)),
        field("Date", date_time(news.now)),
        field("Message-ID", f"<{unique}@{news.hostname}>"),
    ]
    original = _MESSAGE_ID.fullmatch((values(header, b"message-id") or [b""])[0])
    if original:
        fields.append(field("In-Reply-To", original[1].decode("ascii")))
    fields += [field("Auto-Submitted", "auto-replied"), field("MIME-Version", "1.0")]
    return b"".join(fields)


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


def _text_part(text: str) -> bytes:
    octets = text.replace("\n", "\r\n").encode("utf-8", "replace")
    return _part(f"text/plain; charset={'us-ascii' if octets.isascii() else 'utf-8'}", octets)


def _returned_part(kind: ReportKind, envelope: Envelope, header: bytes, full_content: bytes | None) -> bytes:
    limit = _full_limit(kind, envelope)
    if full_content is not None and len(full_content) <= limit:
        return _part("message/rfc822", _with_line_ends(full_content))
    return _part("text/rfc822-headers", header)


def _full_limit(kind: ReportKind, envelope: Envelope) -> int:
    """Return up to how many octets a message comes back whole (RFC 3461 section 4.3), -1 for never."""
    if kind is not ReportKind.FAILURE or envelope.ret == "HDRS":
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
