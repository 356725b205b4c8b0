"""What the server says of itself: the banner, and the lines of EHLO's reply (RFC 5321 section 4.1.1.1).

An extension is announced only where it holds: STARTTLS outside TLS, AUTH inside it and only to mail users.
"""

from functools import lru_cache

from valija.mail.reply import Reply
from valija.smtp.rules import ServerRules


@lru_cache(maxsize=64)
def banner(rules: ServerRules) -> Reply:
    """Return the greeting of a new connection."""
    return Reply(220, "", f"{rules.hostname} ESMTP")


@lru_cache(maxsize=64)
def helo_reply(rules: ServerRules) -> Reply:
    """Return the reply to HELO."""
    return Reply(250, "", rules.hostname)


@lru_cache(maxsize=256)
def ehlo_reply(rules: ServerRules, tls_active: bool, mechanisms: tuple[str, ...]) -> Reply:
    """Return the reply to EHLO. `mechanisms` are those of the login back end, () while it is away."""
    lines = [
        rules.hostname,
        "PIPELINING",
        f"SIZE {rules.size_limit}",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "DSN",
        "CHUNKING",
        f"LIMITS RCPTMAX={rules.recipient_limit}",
    ]
    if rules.offers_starttls and not tls_active:
        lines.append("STARTTLS")
    if rules.takes_logins and tls_active and mechanisms:
        lines.append("AUTH " + " ".join(mechanisms))
    return Reply(250, "", "\n".join(lines))
