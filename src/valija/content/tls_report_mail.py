"""A TLS report as a message (RFC 8460 section 5.3): words for people, and the compressed document.

    content = report_mail(ReportMail(...), now=now, unique="5f3a")
    signed = signed_report(content, keys, now)

It asks to be carried on without regard to what makes TLS fail, as it may be the news of just that (section 3): by
`TLS-Required: No` (RFC 8689). Only a signed report counts where it arrives: without keys it is not worth sending.
"""

import base64
from collections.abc import Sequence
from typing import Final

import msgspec

from valija.content.compose import date_time, field
from valija.content.dkim import sign
from valija.content.dkim_canonical import body_hash
from valija.content.dkim_key import DkimKey

_WIDTH: Final = 76  # characters of a line of base64 (RFC 2045 section 6.8)


class ReportMail(msgspec.Struct, frozen=True):
    """What there is to say, and to whom. `document` is the report in JSON, compressed; `sessions` are all, and failed.

    `submitter` is the domain that reports, `domain` the one that is told, `date` the day.
    """

    sender: str
    recipient: str
    submitter: str
    domain: str
    date: str
    report_id: str
    sessions: tuple[int, int]
    filename: str
    document: bytes


def report_mail(mail: ReportMail, *, now: float, unique: str) -> bytes:
    """Return the content. `unique` makes its Message-ID and its boundary; `now` is in seconds since the epoch."""
    boundary = f"=_{unique}"
    header = b"".join(
        (
            field("From", f"TLS reports <{mail.sender}>"),
            field("To", f"<{mail.recipient}>"),
            field("Subject", f"Report Domain: {mail.domain} Submitter: {mail.submitter} Report-ID: <{mail.report_id}>"),
            field("Date", date_time(now)),
            field("Message-ID", f"<{unique}@{mail.submitter}>"),
            field("TLS-Report-Domain", mail.domain),
            field("TLS-Report-Submitter", mail.submitter),
            field("TLS-Required", "No"),
            field("Auto-Submitted", "auto-generated"),
            field("MIME-Version", "1.0"),
            f'Content-Type: multipart/report; report-type="tlsrpt";\r\n\tboundary="{boundary}"\r\n'.encode("ascii"),
        )
    )
    parts = (_text_part(mail), _document_part(mail))
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    return header + b"\r\n" + body.encode("ascii")


def signed_report(content: bytes, keys: Sequence[DkimKey], now: float) -> bytes:
    """Return a content with the signatures of the reporting domain on top."""
    header, _, body = content.partition(b"\r\n\r\n")
    return sign(header + b"\r\n", body_hash(body), keys, now) + content


def _text_part(mail: ReportMail) -> str:
    sessions, failed = mail.sessions
    words = (
        f"This is a report of {mail.submitter} about TLS with the mail servers of {mail.domain}\r\n"
        f"on {mail.date} (UTC), as RFC 8460 describes it. {mail.domain} asks for such reports in the\r\n"
        f"DNS record _smtp._tls.{mail.domain}.\r\n\r\n"
        f"Sessions: {sessions}, of which failed: {failed}.\r\n"
        "The details are in the attached file, JSON that is compressed by gzip.\r\n"
    )
    return f"Content-Type: text/plain; charset=us-ascii\r\n\r\n{words}"


def _document_part(mail: ReportMail) -> str:
    encoded = base64.b64encode(mail.document).decode("ascii")
    lines = "\r\n".join(encoded[start : start + _WIDTH] for start in range(0, len(encoded), _WIDTH))
    return (
        "Content-Type: application/tlsrpt+gzip\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment;\r\n\tfilename="{mail.filename}"\r\n'
        f"\r\n{lines}\r\n"
    )
