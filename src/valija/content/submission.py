"""What a submission server does to the header of its users' mail (RFC 6409 section 8), and to nobody else's.

    header = fix_up(header, user_address="alice@example.org", hostname=..., now=..., unique=...)

- a missing From, Date or Message-ID is added, at the header's end: From names the user, the Message-ID ends in the
  domain of From;
- Bcc and Resent-Bcc go, so that blind copies stay blind; so do Return-Path and Content-Length, which are not the
  user's to set;
- what must stand once and stands twice is refused: every reader would choose differently.

Whether the addresses in From, and in other fields that claim who sent it, are the user's is decided in
policy/identity, from `author_addresses` and `sender_claims`.
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
CLAIMS: Final = {b"sender": "Sender", b"resent-from": "Resent-From", b"resent-sender": "Resent-Sender"}
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
    return _addresses_in("From", values(header, b"from"))


def sender_claims(header: bytes) -> dict[bytes, list[str] | Reply]:
    """Return the addresses of further fields that claim who sends, by the field's name; a refusal as for From.

    Of the resenders the last one counts, whose fields are on top (RFC 5322 section 3.6.6).
    """
    lowered = header.lower()
    if b"sender:" not in lowered and b"resent-from:" not in lowered:  # nearly always so
        return {}
    found = ((name, values(header, name)[:1]) for name in CLAIMS)
    return {name: _addresses_in(CLAIMS[name], written) for name, written in found if written}


def _addresses_in(title: str, written: list[bytes]) -> list[str] | Reply:
    found: list[str] = []
    try:
        for value in written:
            found += addresses_of(value)
    except AddressListError as error:
        return Reply(550, "5.6.0", f"The {title} field is not understood: {printable(str(error))}")
    if not found and written:
        return Reply(550, "5.6.0", f"The {title} field has no address")
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
