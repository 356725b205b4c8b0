"""DKIM-Signature fields as others write them (RFC 6376 section 3.5, RFC 8301, RFC 8463), taken apart and judged.

    for signature in signatures(header):
        signature.fault or signature.key_name      # "2026a._domainkey.example.org"

A signature that cannot be evaluated is a value too, with its fault: nothing raises. At most MOST_SIGNATURES are looked
at, from the top down, so that no message makes us ask and compute without end.
"""

import base64
import binascii
from typing import Final, Literal, get_args

import msgspec

from valija.content.compose import printable
from valija.content.dkim_canonical import Form
from valija.content.header import fields
from valija.content.tag_list import TagFault, listed, parse_tags, without_blanks
from valija.mail.address import AddressError, normalise_domain

Verdict = Literal["pass", "fail", "neutral", "temperror", "permerror", "policy"]
"""What RFC 8601 section 2.7.1 calls the results; `none` is a message without signatures."""

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]

MOST_SIGNATURES: Final = 8
_SELECTED: Final = "_domainkey"
_MOST_DIGITS: Final = 12  # of a time: section 3.5 says so much is enough until the year 200,000
_LENGTH_DIGITS: Final = 18  # of l=: more than any body has octets
_HASH_SIZE: Final = 32
_NEEDED: Final = ("v", "a", "b", "bh", "d", "h", "s")


class Fault(msgspec.Struct, frozen=True):
    """Why a signature is no good, before its key is known: the verdict, and the reason in words."""

    verdict: Verdict
    reason: str


class Signature(msgspec.Struct, frozen=True):
    """One signature. Domain and selector in lower-case A-labels, `""` where they could not be read.

    `identity` is i=, or `@domain`; `length` is l= in octets, None for a whole body; `signed_at` and `expires` are
    seconds since the epoch, None where they are not told. Where `fault` is set the rest may be missing.
    """

    raw: bytes
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    header_form: Form = "simple"
    body_form: Form = "simple"
    listed: tuple[bytes, ...] = ()
    body_hash: bytes = b""
    value: bytes = b""
    value_start: str = ""
    length: int | None = None
    signed_at: int | None = None
    expires: int | None = None
    fault: Fault | None = None

    @property
    def key_name(self) -> str:
        """Where the DNS has its key, in a TXT record."""
        return f"{self.selector}.{_SELECTED}.{self.domain}"


class _Bad(Exception):
    """A signature with a fault."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.fault = Fault(verdict, reason)


def signatures(header: bytes) -> list[Signature]:
    """Return the signatures of a header, from the top down, MOST_SIGNATURES at most."""
    found = [field.raw for field in fields(header) if field.name == b"dkim-signature"]
    return [parse_signature(raw) for raw in found[:MOST_SIGNATURES]]


def parse_signature(raw: bytes) -> Signature:
    """Return what a whole DKIM-Signature field says."""
    try:
        tags = parse_tags(raw.partition(b":")[2])
    except TagFault as fault:
        return Signature(raw, fault=Fault("neutral", f"the signature cannot be read: {fault}"))
    named = Signature(raw, algorithm=_shown(tags.get("a", "").lower()))
    try:
        _check_needed(tags)
        domain = _name(tags, "d")
        named = msgspec.structs.replace(
            named,
            domain=domain,
            selector=_name(tags, "s"),
            identity=f"@{domain}",
            value_start=without_blanks(tags["b"])[:8],
        )
        return _read(named, tags)
    except _Bad as bad:
        return msgspec.structs.replace(named, fault=bad.fault)


def _check_needed(tags: dict[str, str]) -> None:
    missing = [f"{name}=" for name in _NEEDED if name not in tags]
    if missing:
        raise _Bad("neutral", f"the signature has no {', '.join(missing)}")
    if tags["v"] != "1":
        raise _Bad("neutral", f"the signature is of an unknown version, v={_shown(tags['v'])}")


def _read(named: Signature, tags: dict[str, str]) -> Signature:
    _check_algorithm(named.algorithm)
    _check_query(tags.get("q", "dns/txt"))
    header_form, body_form = _forms(tags.get("c", ""))
    signed_at, expires = _number(tags, "t", _MOST_DIGITS), _number(tags, "x", _MOST_DIGITS)
    if signed_at is not None and expires is not None and expires <= signed_at:
        raise _Bad("neutral", "the signature expires before it was made (x= is not above t=)")
    return msgspec.structs.replace(
        named,
        identity=_identity(tags, named.domain),
        header_form=header_form,
        body_form=body_form,
        listed=_listed(tags["h"]),
        body_hash=_base64(tags, "bh", _HASH_SIZE),
        value=_base64(tags, "b"),
        length=_number(tags, "l", _LENGTH_DIGITS),
        signed_at=signed_at,
        expires=expires,
    )


def _check_algorithm(algorithm: str) -> None:
    if algorithm == "rsa-sha1":
        raise _Bad("permerror", "rsa-sha1 is too weak to be believed (RFC 8301)")
    if algorithm not in get_args(Algorithm):
        raise _Bad("neutral", f"the algorithm {algorithm or '(none)'} is not known")


def _check_query(written: str) -> None:
    if "dns/txt" not in (each.lower() for each in listed(written)):
        raise _Bad("neutral", f"its key is to be asked for in an unknown way, q={_shown(written)}")


def _forms(written: str) -> tuple[Form, Form]:
    """Return the forms of header and body: each is simple where it is not named."""
    header, _, body = written.lower().partition("/")
    return _form(header.strip()), _form(body.strip())


def _form(name: str) -> Form:
    if name in ("", "simple"):
        return "simple"
    if name == "relaxed":
        return "relaxed"
    raise _Bad("neutral", f"the canonical form {_shown(name)} is not known")


def _listed(written: str) -> tuple[bytes, ...]:
    """Return the names in h=. Without From nobody has signed what the reader sees (section 5.4)."""
    names = tuple(name.lower().encode("utf-8", "surrogateescape") for name in listed(written))
    if b"" in names:
        raise _Bad("neutral", "h= has an empty name in it")
    if b"from" not in names:
        raise _Bad("permerror", "From is not signed")
    return names


def _name(tags: dict[str, str], tag: str) -> str:
    try:
        return normalise_domain(tags[tag])
    except AddressError:
        raise _Bad("neutral", f"{tag}={_shown(tags[tag])} is no name the DNS could have") from None


def _identity(tags: dict[str, str], domain: str) -> str:
    """Return i=, which must lie in d= or below it (section 3.5)."""
    written = tags.get("i")
    if written is None:
        return f"@{domain}"
    local, at, own = written.rpartition("@")
    try:
        own = normalise_domain(own if at else "")
    except AddressError:
        raise _Bad("neutral", f"i={_shown(written)} is no address") from None
    if own != domain and not own.endswith(f".{domain}"):
        raise _Bad("permerror", f"i={_shown(written)} is not of the domain that signs, {domain}")
    return f"{_quoted_printable(local)}@{own}"


def _quoted_printable(written: str) -> str:
    """Return what DKIM-Quoted-Printable stands for (section 2.11)."""
    octets = without_blanks(written).encode("utf-8", "surrogateescape")
    return binascii.a2b_qp(octets).decode("utf-8", "surrogateescape")


def _number(tags: dict[str, str], tag: str, most_digits: int) -> int | None:
    written = tags.get(tag)
    if written is None:
        return None
    if not (written.isascii() and written.isdecimal()):
        raise _Bad("neutral", f"{tag}={_shown(written)} is no number")
    if len(written) > most_digits:
        raise _Bad("neutral", f"{tag}= is a number beyond reason")
    return int(written)


def _base64(tags: dict[str, str], tag: str, size: int = 0) -> bytes:
    try:
        octets = base64.b64decode(without_blanks(tags[tag]), validate=True)
    except ValueError:  # letters that are no ASCII too
        raise _Bad("neutral", f"{tag}= is no base64") from None
    if not octets or (size and len(octets) != size):
        raise _Bad("neutral", f"{tag}= has {len(octets)} octets")
    return octets


def _shown(written: str) -> str:
    """Return a piece of a stranger's text for a reason: short, and in letters that do no harm."""
    return printable(written, 40)
