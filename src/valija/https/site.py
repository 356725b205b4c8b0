"""What is served over HTTPS: for which server, which domains, and what is in it. The answers stand in https/pages.

site = Site("mail.example.org", ("example.org",), policy=policy_text(...), mail=MailSettings(...))
names_of_domain("example.org")        # the hosts that have to lead here
"""

import msgspec

from valija.https.account import MailSettings


class Site(msgspec.Struct, frozen=True):
    """What is served. `policy` is the text of all domains' policy; `mail` is None where programs are told nothing."""

    hostname: str
    domains: tuple[str, ...]
    policy: str
    mail: MailSettings | None = None


def names_of_domain(domain: str) -> tuple[str, ...]:
    """Return the hosts that are asked for a domain's sake."""
    return f"mta-sts.{domain}", f"autoconfig.{domain}", f"autodiscover.{domain}"
