"""What `valija send` is to do, and what came of it: plain values between the command line and the conversation."""

from typing import Final, Literal

import msgspec

from valija.mail.origin import TlsFacts

Mode = Literal["smtp", "submission", "submissions"]
Tls = Literal["required", "may", "none"]
Stop = Literal["connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data"]

PORTS: Final[dict[Mode, int]] = {"smtp": 25, "submission": 587, "submissions": 465}


class Account(msgspec.Struct, frozen=True):
    """Who logs in. `secret` is a password or a token; `mechanism` is `""` for the strongest that is offered."""

    username: str
    secret: str
    mechanism: str = ""

    def __repr__(self) -> str:
        return f"Account({self.username!r}, ...)"


class Order(msgspec.Struct, frozen=True):
    """One conversation. `name` is what the certificate must be for, `timeout` the seconds any one wait may take.

    `tls` counts for STARTTLS; on `submissions` TLS comes first. `insecure` goes on in spite of a certificate that is
    not accepted, and shows a password in clear. Without recipients nothing is sent. `quit_after` ends it early, `""`
    not at all; `content` has CRLF line ends.
    """

    host: str
    port: int
    mode: Mode
    ehlo: str
    name: str
    tls: Tls = "required"
    ca_file: str = ""
    insecure: bool = False
    account: Account | None = None
    reverse_path: str = ""
    recipients: tuple[str, ...] = ()
    content: bytes = b""
    quit_after: Stop | Literal[""] = ""
    timeout: float = 30.0

    @property
    def tolerates_any_certificate(self) -> bool:
        """Whether to go on where the certificate is not accepted, as mail between servers does; not with a login."""
        return self.insecure or (self.tls == "may" and self.mode != "submissions" and self.account is None)


class ServerCertificate(msgspec.Struct, frozen=True):
    """What the server showed. `why_not` says why it is not accepted, `""` where it is; times are RFC 3339."""

    verified: bool
    why_not: str
    names: tuple[str, ...]
    issuer: str
    not_before: str
    not_after: str
    sha256: str


class RecipientOutcome(msgspec.Struct, frozen=True):
    """The reply that decided one recipient."""

    address: str
    accepted: bool
    reply: str


class SendOutcome(msgspec.Struct, frozen=True):
    """What came of it. `accepted`: all that was asked for was done; else `reason` says what was not."""

    accepted: bool
    reason: str = ""
    stopped_after: str = ""
    tls: TlsFacts | None = None
    certificate: ServerCertificate | None = None
    mechanism: str = ""
    recipients: tuple[RecipientOutcome, ...] = ()
