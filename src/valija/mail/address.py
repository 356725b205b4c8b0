"""Mailbox addresses: how they are taken apart, compared and written.

An address travels as one string, `local-part@domain`, with the local part exactly as the client wrote it
(quotes included, RFC 5321 section 4.1.2) and the domain as lower-case A-labels. The null reverse-path is `""`.

    >>> split('"odd user"@example.org')
    ('"odd user"', 'example.org')
    >>> mailbox_key("Alice+news@example.org")
    'alice@example.org'
    >>> normalise_domain("BÜCHER.example")
    'xn--bcher-kva.example'

Known weakness: addresses are compared case-insensitively in ASCII only, as the design says; a local part in another
script that differs in case alone is another mailbox.
"""

import re
from functools import lru_cache
from typing import Final

import idna

MAX_DOMAIN: Final = 255  # octets, RFC 5321 section 4.5.3.1.2
MAX_PATH: Final = 256  # octets with the angle brackets, section 4.5.3.1.3

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_ATOM_TEXT = re.compile(r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x7f])+")  # RFC 6531 section 3.3


class AddressError(ValueError):
    """A text that is no address or domain; the message says what is wrong with it."""


def split(address: str) -> tuple[str, str]:
    """Return (local part as written, domain). A bare `postmaster` has the domain `""`."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (domain, "")


def domain_of(address: str) -> str:
    """Return the domain of an address, `""` when it has none."""
    _, at, domain = address.rpartition("@")
    return domain if at else ""


@lru_cache(maxsize=4096)
def normalise_domain(text: str) -> str:
    """Return a domain as lower-case A-labels (RFC 5890), one trailing dot dropped.

    Raises AddressError for an empty name, an empty or over-long label, or a character no host name may have.
    Address literals (`[192.0.2.1]`) are not domains: see smtp/grammar.
    """
    domain = text[:-1] if text.endswith(".") else text
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True, transitional=False).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise AddressError(f"not an internationalised domain name: {error}") from None
    domain = domain.translate(_ASCII_LOWER)
    if not domain or len(domain) > MAX_DOMAIN:
        raise AddressError("a domain has between 1 and 255 octets")
    if not all(_LABEL.fullmatch(label) for label in domain.split(".")):
        raise AddressError("a domain is made of labels of 1 to 63 letters, digits and hyphens")
    return domain


def unquote(local_part: str) -> str:
    """Return the meaning of a local part: a quoted string without quotes and quoted pairs."""
    if len(local_part) >= 2 and local_part[0] == local_part[-1] == '"':
        return _QUOTED_PAIR.sub(r"\1", local_part[1:-1])
    return local_part


def quote(meaning: str) -> str:
    """Return a local part that means `meaning`, quoted only where the grammar asks for it."""
    if meaning and all(_ATOM_TEXT.fullmatch(atom) for atom in meaning.split(".")):
        return meaning
    return '"' + meaning.replace("\\", "\\\\").replace('"', '\\"') + '"'


def fold_case(local_part: str) -> str:
    """Return a local part for comparison: unquoted, ASCII letters in lower case."""
    return unquote(local_part).translate(_ASCII_LOWER)


def mailbox_key(address: str, separator: str = "+") -> str:
    """Return the key under which an account or alias is looked up: case folded, subaddress dropped (RFC 5233)."""
    local, domain = split(address)
    folded = fold_case(local)
    base = folded.split(separator, 1)[0] if separator else folded
    return f"{base or folded}@{domain}"
