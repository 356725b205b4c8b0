"""What MAIL may ask about a message's way and its time: REQUIRETLS, FUTURERELEASE, DELIVERBY, MT-PRIORITY.

    >>> read({"HOLDFOR": "600", "MT-PRIORITY": "-3"})
    Requests(require_tls=False, hold_for=600, hold_until=0.0, by=None, priority=-3)
    >>> read({"SIZE": "5"}) is None
    True

Here is the grammar alone: what each value may be, and which go together. Whether a request is granted depends on the
clock and the site: see policy/requests.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from valija.smtp.grammar import SyntaxFault

REQUIRE_TLS: Final = frozenset({"REQUIRETLS"})  # RFC 8689 section 2
FUTURE_RELEASE: Final = frozenset({"HOLDFOR", "HOLDUNTIL"})  # RFC 4865 section 3
DELIVER_BY: Final = frozenset({"BY"})  # RFC 2852 section 4
PRIORITY: Final = frozenset({"MT-PRIORITY"})  # RFC 6710 section 3
PARAMETERS: Final = REQUIRE_TLS | FUTURE_RELEASE | DELIVER_BY | PRIORITY

_INTERVAL = re.compile(r"[1-9][0-9]{0,8}")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE
)
_BY = re.compile(r"([+-]?[0-9]{1,9});([NR])(T?)", re.IGNORECASE)
_PRIORITY = re.compile(r"-?[1-9]|0")


class By(msgspec.Struct, frozen=True, gc=False):
    """BY: within `seconds`, counted from MAIL; zero or less is past already. See mail/envelope.DeliverBy."""

    seconds: int
    returns: bool
    traces: bool


class Requests(msgspec.Struct, frozen=True, gc=False):
    """What one MAIL asks. `hold_for` is in seconds, `hold_until` in epoch seconds; 0 where it is not asked."""

    require_tls: bool = False
    hold_for: int = 0
    hold_until: float = 0.0
    by: By | None = None
    priority: int = 0


def read(values: Mapping[str, str]) -> Requests | None:
    """Return what the parameters of a MAIL ask, None where it is nothing. Raises SyntaxFault."""
    if PARAMETERS.isdisjoint(values):
        return None
    if values.get("REQUIRETLS"):
        raise SyntaxFault("REQUIRETLS has no value")
    if values.keys() >= FUTURE_RELEASE:
        raise SyntaxFault("HOLDFOR and HOLDUNTIL")  # RFC 4865 section 4.2, 9)
    return Requests(
        require_tls="REQUIRETLS" in values,
        hold_for=int(_matching(_INTERVAL, values["HOLDFOR"])[0]) if "HOLDFOR" in values else 0,
        hold_until=_date_time(values["HOLDUNTIL"]) if "HOLDUNTIL" in values else 0.0,
        by=_by(values["BY"]) if "BY" in values else None,
        priority=int(_matching(_PRIORITY, values["MT-PRIORITY"])[0]) if "MT-PRIORITY" in values else 0,
    )


def _date_time(text: str) -> float:
    """Return the instant that a date-time of RFC 3339 means; it has a zone, so that there is no doubt about it."""
    try:
        return datetime.fromisoformat(_matching(_DATE_TIME, text)[0].upper()).timestamp()
    except ValueError:
        raise SyntaxFault(text) from None


def _by(text: str) -> By:
    seconds, mode, trace = _matching(_BY, text).groups()
    by = By(int(seconds), returns=mode in "Rr", traces=bool(trace))
    if by.returns and by.seconds <= 0:
        raise SyntaxFault("to be returned, and late already")  # RFC 2852 section 4
    return by


def _matching(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise SyntaxFault(text)
    return match
