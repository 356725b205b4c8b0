"""What a server machine is told about itself: one frozen value per listener, shared by all its sessions."""

from typing import Literal

import msgspec

from valija.mail.origin import Role

TlsOffer = Literal["none", "offered", "required"]


class ServerRules(msgspec.Struct, frozen=True):
    """The rules of one listener.

    `size_limit` is the largest content in octets (0: no fixed limit, RFC 1870 section 4). `recipient_limit` bounds the
    accepted recipients of one transaction. `tls` speaks of STARTTLS on `smtpd`; `submission` always behaves as
    `required`, and a `submissions` connection is inside TLS before its machine is made.

    The last four end a session with 421: protocol errors, permanently refused recipients and commands that move no
    mail, each counted since the last message that was accepted, and failed logins, counted for the whole connection.
    """

    hostname: str
    role: Role
    size_limit: int = 52_428_800
    recipient_limit: int = 1000
    tls: TlsOffer = "offered"
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
    def offers_starttls(self) -> bool:
        """STARTTLS is there to be used by a connection that is still in clear."""
        return self.role == "submission" or (self.role == "smtpd" and self.tls != "none")
