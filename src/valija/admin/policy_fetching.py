"""Fetching an MTA-STS policy as others do: by HTTPS, with a certificate that the world trusts (RFC 8461 section 3.3).

    policy = await PolicyFetching(resolver).fetch("example.org")      # raises NotFetched

The client is slow to import, and is made only where a domain has a policy.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from valija.dns.mta_sts import NotFetched, policy_url, read_policy
from valija.dns.resolver import Resolver
from valija.policy.mta_sts import MAX_SIZE, StsPolicy

if TYPE_CHECKING:
    from valija.dns.https import Https

PATIENCE: Final = 8.0  # seconds


class PolicyFetching:
    """Fetches policies of our own domains. `https` is for tests."""

    def __init__(self, resolver: Resolver, https: "Https | None" = None) -> None:
        self._resolver = resolver
        self._https = https

    async def fetch(self, domain: str) -> StsPolicy:
        """Return the policy of a domain. Raises NotFetched."""
        from valija.dns.https import Https, HttpsFailed

        if self._https is None:
            self._https = await asyncio.to_thread(Https, self._resolver)
        try:
            page = await self._https.get(policy_url(domain), limit=MAX_SIZE, patience=PATIENCE)
        except HttpsFailed as failed:
            raise NotFetched("sts-policy-fetch-error", str(failed)) from None
        return read_policy(page)
