"""What the reports may be told: the `[tls_report]` table, and the wish of a postmaster."""

import msgspec

from valija.mail.address import domain_of


class TlsReportOptions(msgspec.Struct, frozen=True):
    """Settings of reports. `organization` and `contact` stand in them, `sender` in their From.

    Without a `sender`, as there is none without a hosted domain, nothing is counted or sent.
    """

    enabled: bool = True
    organization: str = ""
    contact: str = ""
    sender: str = ""

    @property
    def is_on(self) -> bool:
        """Whether sessions are counted and reported."""
        return self.enabled and bool(self.sender)

    @property
    def signing_domain(self) -> str:
        """The domain whose keys sign reports."""
        return domain_of(self.sender)


class Wish(msgspec.Struct, frozen=True):
    """Reports that somebody wants to leave now: of one domain or day, or of all."""

    domain: str = ""
    day: int | None = None

    def covers(self, tallied: tuple[int, str]) -> bool:
        """Whether a domain's day is meant."""
        day, domain = tallied
        return self.domain in ("", domain) and self.day in (None, day)
