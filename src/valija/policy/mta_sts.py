"""MTA-STS: what a domain publishes about the hosts that take its mail, and about TLS with them (RFC 8461).

    policy.matches("mx1.example.net")      # whether the policy names this host

Where `mode` is `enforce`, mail goes only to hosts that the policy names, by TLS, with a certificate that names the
host; where it is `testing` the same is tried and reported, and the mail goes all the same.
"""

from typing import Literal

import msgspec

Mode = Literal["enforce", "testing", "none"]


class StsPolicy(msgspec.Struct, frozen=True):
    """A policy. `mx` are host names in A-labels, or `*.` and a domain; `max_age` is in seconds.

    `text` is the policy as it was fetched, for reports.
    """

    mode: Mode
    mx: tuple[str, ...]
    max_age: int
    text: str = ""

    def matches(self, host: str) -> bool:
        """Whether the policy names a host: `*.` stands for exactly one label (RFC 8461 section 4.1)."""
        _, _, parent = host.partition(".")
        return host in self.mx or bool(parent and f"*.{parent}" in self.mx)
