"""What a server machine is told about itself: one frozen value per listener, shared by all its sessions."""

from typing import Final, Literal

import msgspec

from valija.mail.origin import Role

TlsOffer = Literal["none", "offered", "required"]

BINARY_LIMIT: Final = 16 * 1024 * 1024  # octets of a BINARYMIME content, which costs a multiple of it in memory


class ServerRules(msgspec.Struct, frozen=True):
    """The rules of one listener.

    `size_limit` is the largest content in octets (0: no fixed limit, RFC 1870 section 4). `recipient_limit` bounds the
    accepted recipients of one transaction. `tls` speaks of STARTTLS on `smtpd`; `submission` always behaves as
    `required`, and a `submissions` connection is inside TLS before its machine is made.

    `future_release_limit` is how long a user's message may be held, in seconds (0: not at all).

    The last four end a session with 421: protocol errors, permanently refused recipients and commands that move no
    mail, each counted since the last message that was accepted, and failed logins, counted for the whole connection.
    """

    hostname: str
    role: Role
    size_limit: int = 52_428_800
    recipient_limit: int = 1000
    tls: TlsOffer = "offered"
    future_release_limit: float = 0.0
    error_limit: int = 20
    refused_recipient_limit: int = 100
    junk_command_limit: int = 100
    auth_failure_limit: int = 10

    @property
    def takes_logins(self) -> bool:
        """Mail users come here: TLS, then AUTH, then mail (RFC 6409, RFC 8314)."""
        return self.role in ("submission", "submissions")

    @property
    def demands_tls(self) -> bool:
        """No mail is taken in clear."""
        return self.takes_logins or self.tls == "required"

    @property
    def binary_size_limit(self) -> int:
        """The largest BINARYMIME content, in octets."""
        return min(self.size_limit, BINARY_LIMIT) if self.size_limit else BINARY_LIMIT

    @property
    def holds_mail(self) -> bool:
        """Mail may be handed in for a later time; RFC 4865 has it for submission alone."""
        return self.takes_logins and self.future_release_limit > 0

    @property
    def offers_starttls(self) -> bool:
        """STARTTLS is there to be used by a connection that is still in clear."""
        return self.role == "submission" or (self.role == "smtpd" and self.tls != "none")
