"""What the server says of itself: the banner, and the lines of EHLO's reply (RFC 5321 section 4.1.1.1).

An extension is announced only where it holds: STARTTLS outside TLS, REQUIRETLS inside it, AUTH inside it and only to
mail users. What only they may ask for is theirs too: that a message waits, or overtakes others, or comes as binary.
What was not announced is not understood either: `mail_offer` says what MAIL may carry.
"""

from datetime import UTC, datetime
from functools import lru_cache

from valija.mail.reply import Reply
from valija.smtp import requests
from valija.smtp.commands import BASIC_OFFER, MailOffer
from valija.smtp.rules import ServerRules


@lru_cache(maxsize=64)
def banner(rules: ServerRules) -> Reply:
    """Return the greeting of a new connection."""
    return Reply(220, "", f"{rules.hostname} ESMTP")


@lru_cache(maxsize=64)
def helo_reply(rules: ServerRules) -> Reply:
    """Return the reply to HELO."""
    return Reply(250, "", rules.hostname)


def ehlo_reply(rules: ServerRules, tls_active: bool, mechanisms: tuple[str, ...], now: float = 0.0) -> Reply:
    """Return the reply to EHLO. `mechanisms` are those of the login back end, () while it is away.

    `now`, in epoch seconds, matters only where the rules let mail be held.
    """
    return _ehlo_reply(rules, tls_active, mechanisms, int(now) if rules.holds_mail else 0)


@lru_cache(maxsize=256)
def _ehlo_reply(rules: ServerRules, tls_active: bool, mechanisms: tuple[str, ...], now: int) -> Reply:
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
        "DELIVERBY",
    ]
    if tls_active:
        lines.append("REQUIRETLS")
    if rules.takes_logins:
        lines += ("BINARYMIME", "MT-PRIORITY")
    if rules.holds_mail:
        lines.append(_future_release(int(rules.future_release_limit), now))
    if rules.offers_starttls and not tls_active:
        lines.append("STARTTLS")
    if rules.takes_logins and tls_active and mechanisms:
        lines.append("AUTH " + " ".join(mechanisms))
    return Reply(250, "", "\n".join(lines))


def _future_release(longest: int, now: int) -> str:
    latest = datetime.fromtimestamp(now + longest, UTC)
    return f"FUTURERELEASE {longest} {latest:%Y-%m-%dT%H:%M:%SZ}"


@lru_cache(maxsize=64)
def mail_offer(rules: ServerRules, tls_active: bool) -> MailOffer:
    """Return what MAIL may carry in a session that was told so by `ehlo_reply`."""
    parameters = BASIC_OFFER.parameters | requests.DELIVER_BY
    if tls_active:
        parameters |= requests.REQUIRE_TLS
    if rules.takes_logins:
        parameters |= requests.PRIORITY
    if rules.holds_mail:
        parameters |= requests.FUTURE_RELEASE
    return MailOffer(parameters, binary=rules.takes_logins)
