"""The header field by which a sender lets a message travel in clear rather than not at all (RFC 8689 section 3).

    >>> waives_tls(b"Subject: your certificate has expired\\r\\nTLS-Required: No\\r\\n")
    True

It has one value, and stands at most once: whatever else is written under its name asks for nothing.
"""

from valija.content.header import values


def waives_tls(header: bytes) -> bool:
    """Whether a header says `TLS-Required: No`."""
    # The first look spares nearly every message the second one.
    if b"tls-required" not in header.lower():
        return False
    found = values(header, b"tls-required")
    return len(found) == 1 and found[0].strip().lower() == b"no"
