"""What a submission server does to the header of its users' mail (RFC 6409 section 8), and to nobody else's.

    header = fix_up(header, user_address="alice@example.org", hostname=..., now=..., unique=...)

- a missing From, Date or Message-ID is added, at the header's end: From names the user, the Message-ID ends in the
  domain of From;
- Bcc and Resent-Bcc go, so that blind copies stay blind; so do Return-Path and Content-Length, which are not the
  user's to set;
- what must stand once and stands twice is refused: every reader would choose differently.

Whether the addresses in From are the user's is decided in policy/identity, from `author_addresses`. Sender is left
alone: it makes no claim that receivers check.
"""

from typing import Final

from valija.content.addresses import AddressListError, addresses_of
from valija.content.compose import date_time, field, printable
from valija.content.header import names, values, without
from valija.mail.address import domain_of
from valija.mail.reply import Reply

_ONCE: Final = (  # RFC 5322 section 3.6
    b"from",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"in-reply-to",
    b"references",
)
_DROPPED: Final = (b"bcc", b"resent-bcc", b"return-path", b"content-length")


def check_once(header: bytes) -> Reply | None:
    """Return the refusal of a header that has twice what may stand only once, None where all is well."""
    present = names(header)
    for name in _ONCE:
        if present.count(name) > 1:
            return Reply(550, "5.6.0", f"The header has {present.count(name)} {_title(name)} fields: send one")
    return None


def author_addresses(header: bytes) -> list[str] | Reply:
    """Return the addresses in From: none where the field is missing, a refusal where they cannot be understood."""
    found: list[str] = []
    try:
        for value in values(header, b"from"):
            found += addresses_of(value)
    except AddressListError as error:
        return Reply(550, "5.6.0", f"The From field is not understood: {printable(str(error))}")
    if not found and b"from" in names(header):
        return Reply(550, "5.6.0", "The From field has no address")
    return found


def fix_up(header: bytes, *, user_address: str, hostname: str, now: float, unique: str) -> bytes:
    """Return a header that passed `check_once`, with what is missing and without what must not leave.

    `user_address` is written where From is missing. `unique` is the part of the Message-ID before the @: letters,
    digits, dots and hyphens that no other message has. `now` in seconds since the epoch.
    """
    present = set(names(header))
    if not present.isdisjoint(_DROPPED):
        header = without(header, *_DROPPED)
    added = b""
    if b"from" not in present:
        added += field("From", f"<{user_address}>")
    if b"date" not in present:
        added += field("Date", date_time(now))
    if b"message-id" not in present:
        added += field("Message-ID", f"<{unique}@{_own_domain(header, user_address) or hostname}>")
    return header + added


def _own_domain(header: bytes, user_address: str) -> str:
    found = author_addresses(header)
    address = found[0] if isinstance(found, list) and found else user_address
    domain = domain_of(address)
    return "" if domain.startswith("[") else domain


def _title(name: bytes) -> str:
    return "Message-ID" if name == b"message-id" else name.decode("ascii").title()
