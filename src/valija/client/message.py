"""The message that `valija send` sends: one made on the spot, or a file's octets with the line ends of SMTP.

compose("a@example.org", ("b@example.net",), subject="Test", body="Hello.", unique="1a2b", now=1790000000.0)
with_smtp_line_ends(b"Subject: x\\n\\nHello.\\n")        # b"Subject: x\\r\\n\\r\\nHello.\\r\\n"
"""

from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

from valija.content.compose import date_time
from valija.mail.address import domain_of


class NoMessage(ValueError):
    """It can't be sent as it is; the text says why."""


def compose(
    reverse_path: str, recipients: Sequence[str], *, subject: str, body: str, unique: str, now: float, hostname: str
) -> bytes:
    """Return a message. `unique` and the sender's domain, or `hostname`, make its Message-ID. Raises NoMessage."""
    addresses = (reverse_path, *recipients)
    mail = EmailMessage(policy=SMTP if all(address.isascii() for address in addresses) else SMTPUTF8)
    author = reverse_path or f"postmaster@{hostname}"
    try:
        mail["From"] = author
        mail["To"] = ", ".join(recipients) or author
        mail["Subject"] = subject
        mail["Date"] = date_time(now)
        mail["Message-ID"] = f"<{unique}@{domain_of(author) or hostname}>"
        mail.set_content(f"{body.rstrip()}\n")
        return mail.as_bytes()
    except ValueError as error:
        raise NoMessage(f"the message can't be written: {error}") from None


def with_smtp_line_ends(octets: bytes) -> bytes:
    """Return octets with CRLF for each LF, and one at the end. Raises NoMessage for a CR that no LF follows."""
    lines = octets.replace(b"\r\n", b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        if b"\r" in line:
            raise NoMessage(f"line {number} holds a CR alone, which no server may be sent; take it out")
    if lines[-1]:
        lines.append(b"")
    return b"\r\n".join(lines)
