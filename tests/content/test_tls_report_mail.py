"""TLS reports by mail: what a program of somebody else makes of them (RFC 8460 section 5.3)."""

import email
import email.policy
import gzip
from email.message import EmailMessage
from typing import Any

import dkim  # type: ignore[import-untyped]  # it has no types

from valija.content.dkim_key import DkimKey, dns_record, generate
from valija.content.tls_report_mail import ReportMail, report_mail, signed_report

NOW = 1_700_000_000.0
DOCUMENT = gzip.compress(b'{"report": 1}' * 50)
MAIL = ReportMail(
    sender="postmaster@example.org",
    recipient="tls@example.net",
    submitter="example.org",
    domain="example.net",
    date="2023-11-14",
    report_id="2023-11-14.5f3a@example.org",
    sessions=(5629, 303),
    filename="example.org!example.net!1699920000!1700006399!5f3a.json.gz",
    document=DOCUMENT,
)


def parsed(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.default)


def test_the_message() -> None:
    content = report_mail(MAIL, now=NOW, unique="77aa")
    message = parsed(content)
    assert message.defects == []
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    assert {name: str(message[name]) for name in message if name != "Content-Type"} == {
        "From": "TLS reports <postmaster@example.org>",
        "To": "tls@example.net",
        "Subject": "Report Domain: example.net Submitter: example.org Report-ID: <2023-11-14.5f3a@example.org>",
        "Date": "Tue, 14 Nov 2023 22:13:20 +0000",
        "Message-ID": "<77aa@example.org>",
        "TLS-Report-Domain": "example.net",
        "TLS-Report-Submitter": "example.org",
        "TLS-Required": "No",
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
    }
    words, document = message.iter_parts()
    assert words.get_content_type() == "text/plain"
    assert "5629, of which failed: 303" in words.get_content()
    assert document.get_content_type() == "application/tlsrpt+gzip"
    assert document.get_content_disposition() == "attachment"
    assert document.get_filename() == MAIL.filename
    assert document.get_content() == DOCUMENT


def test_its_lines_are_mail() -> None:
    content = report_mail(MAIL, now=NOW, unique="77aa")
    assert content.isascii()
    assert all(len(line) < 200 and b"\n" not in line and b"\r" not in line for line in content.split(b"\r\n"))


def test_the_signature_covers_what_the_standard_asks_for() -> None:
    key = DkimKey.load("example.org", "2026a", generate("rsa"))
    content = signed_report(report_mail(MAIL, now=NOW, unique="77aa"), [key], NOW)
    name, value = dns_record(key)

    def txt(asked: bytes, timeout: int = 5) -> Any:
        return value.encode() if asked.decode().rstrip(".") == name else None

    assert dkim.verify(content, dnsfunc=txt)
    signature = str(parsed(content)["DKIM-Signature"]).replace(" ", "")
    assert "d=example.org" in signature
    assert "l=" not in [tag[:2] for tag in signature.split(";")]
    for field in (b"TLS-Report-Domain: example.net", b"TLS-Report-Submitter: example.org"):
        assert not dkim.verify(content.replace(field, field + b".evil"), dnsfunc=txt)


def test_without_a_key_there_is_no_signature() -> None:
    content = report_mail(MAIL, now=NOW, unique="77aa")
    assert signed_report(content, (), NOW) == content
