"""Who runs a host: many domains share one receiver, and what it takes is taken from all of them together.

    >>> operator_of("alt1.gmail-smtp-in.l.google.com")
    'google.com'
    >>> operator_of("mx.example.co.uk")
    'example.co.uk'
    >>> operator_of("192.0.2.1")
    '192.0.2.1'

The name is cut to its last two labels, to three under a second level that a country keeps for registrations. No list of
suffixes is carried along: it would be stale, and a wrong guess costs little.

Known weaknesses: customers of a host who have names below its own (`mx.customer.hosting.example`) share one pace, and a
receiver with names in several domains has one in each. A country's second level that is not known here makes its
registrants share one.
"""

from functools import lru_cache
from typing import Final

# fmt: off
_SECOND_LEVELS: Final = frozenset((
    "ac", "ad", "asn", "asso", "co", "com", "ed", "edu", "firm", "gen", "go", "gob", "gouv", "gov", "govt", "gr", "gv",
    "id", "in", "ind", "info", "jus", "ltd", "mail", "me", "mil", "muni", "ne", "net", "nhs", "nic", "nom", "or", "org",
    "plc", "police", "pro", "sch", "school", "sld", "web",
))
# fmt: on
_COUNTRY_CODE: Final = 2  # letters


@lru_cache(maxsize=4096)
def operator_of(host: str) -> str:
    """Return what stands for the operator of a host, given by its name or its address."""
    name = host.lower().rstrip(".")
    labels = name.split(".")
    if ":" in name or labels[-1].isdigit():
        return name
    is_shared = len(labels[-1]) == _COUNTRY_CODE and len(labels) > 1 and labels[-2] in _SECOND_LEVELS
    return ".".join(labels[-3:] if is_shared else labels[-2:])
