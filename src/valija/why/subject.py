"""What is asked about: a message, a session, a client's address, an address of mail, or a login.

>>> subject_of("bmmm9v73d3tbp").kind, subject_of("[192.0.2.1]").value, subject_of("Bob@Example.NET").value
('message', '192.0.2.1', 'Bob@example.net')
"""

from ipaddress import IPv6Address, ip_address
from typing import Literal

import msgspec

from valija.mail.address import AddressError, normalise_domain, split
from valija.queue.identity import parse
from valija.receive.session_id import is_session_id

Kind = Literal["message", "session", "client", "address", "login"]


class Subject(msgspec.Struct, frozen=True):
    """What is asked about, spelled as the log spells it."""

    kind: Kind
    value: str


def subject_of(text: str) -> Subject:
    """Return what a human means by what was typed."""
    text = text.strip().removeprefix("<").removesuffix(">")
    client = _client(text.removeprefix("[").removesuffix("]"))
    if client:
        return Subject("client", client)
    if "@" in text:
        return Subject("address", _address(text))
    if is_session_id(text.lower()):
        return Subject("session", text.lower())
    try:
        return Subject("message", parse(text))
    except ValueError:
        return Subject("login", text)


def _client(text: str) -> str:
    try:
        address = ip_address(text.lower().removeprefix("ipv6:"))
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _address(text: str) -> str:
    local, domain = split(text)
    try:
        return f"{local}@{normalise_domain(domain)}"
    except AddressError:
        return text


def same(one: str, other: str) -> bool:
    """Whether two addresses, or logins, are one: in any case of ASCII letters."""
    return one.encode("utf-8", "surrogatepass").lower() == other.encode("utf-8", "surrogatepass").lower()
