"""What a peer announced in its EHLO reply.

    >>> read_capabilities("mx.example.org\\nPIPELINING\\nSIZE 1000").size_limit
    1000

Keywords are case-insensitive; a malformed parameter counts as a keyword without one (RFC 5321 section 4.1.1.1).
"""

import re
from collections.abc import Collection
from typing import Final

import msgspec

_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_OLD_AUTH: Final = re.compile(r"\AAUTH=", re.ASCII | re.IGNORECASE)  # how it was written before it was a standard
_LIMIT: Final = re.compile(r"(RCPTMAX|MAILMAX)=([1-9][0-9]{0,5})", re.ASCII)


class Capabilities(msgspec.Struct, frozen=True, gc=False):
    """The extensions of one peer. Limits are 0 where none was stated; `size_limit` is in octets (RFC 1870).

    `rcpt_max` and `mail_max` come from LIMITS (RFC 9422), `auth` are SASL mechanisms in upper case (RFC 4954),
    `least_deliver_by` is in seconds (RFC 2852 section 2).
    """

    starttls: bool = False
    pipelining: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    dsn: bool = False
    chunking: bool = False
    enhanced_status_codes: bool = False
    size: bool = False
    size_limit: int = 0
    rcpt_max: int = 0
    mail_max: int = 0
    auth: tuple[str, ...] = ()
    require_tls: bool = False
    deliver_by: bool = False
    least_deliver_by: int = 0
    mt_priority: bool = False


KEYWORDS: Final = frozenset(
    {
        "STARTTLS",
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "DSN",
        "CHUNKING",
        "ENHANCEDSTATUSCODES",
        "SIZE",
        "LIMITS",
        "AUTH",
        "REQUIRETLS",
        "DELIVERBY",
        "MT-PRIORITY",
    }
)
"""What is looked for in a reply to EHLO."""


def read_capabilities(text: str, ignored: Collection[str] = ()) -> Capabilities:
    """Read the text of a 250 to EHLO; its first line is the greeting. Of KEYWORDS these are `ignored`."""
    announced: dict[str, str] = {}
    for line in text.split("\n")[1:]:
        keyword, _, parameters = _OLD_AUTH.sub("AUTH ", line.strip()).partition(" ")
        announced.setdefault(keyword.upper(), parameters.strip())
    for keyword in ignored:
        announced.pop(keyword, None)
    limits = dict(_LIMIT.findall(announced.get("LIMITS", "").upper()))
    size = announced.get("SIZE", "")
    least = announced.get("DELIVERBY", "").partition(",")[0]
    return Capabilities(
        starttls="STARTTLS" in announced,
        pipelining="PIPELINING" in announced,
        eight_bit_mime="8BITMIME" in announced,
        smtputf8="SMTPUTF8" in announced,
        dsn="DSN" in announced,
        chunking="CHUNKING" in announced,
        enhanced_status_codes="ENHANCEDSTATUSCODES" in announced,
        size="SIZE" in announced,
        size_limit=int(size) if _NUMBER.fullmatch(size) else 0,
        rcpt_max=int(limits.get("RCPTMAX", 0)),
        mail_max=int(limits.get("MAILMAX", 0)),
        auth=tuple(announced.get("AUTH", "").upper().split()),
        require_tls="REQUIRETLS" in announced,
        deliver_by="DELIVERBY" in announced,
        least_deliver_by=int(least) if _NUMBER.fullmatch(least) else 0,
        mt_priority="MT-PRIORITY" in announced,
    )
