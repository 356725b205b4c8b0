"""The record that publishes a DKIM key (RFC 6376 section 3.6.1, RFC 8463 section 4), read for verifying.

    record = parse_record("v=DKIM1; k=rsa; p=MIIB...")
    record.public           # an RSA or Ed25519 public key

Raises RecordFault, with what is wrong in words; a revoked key is one of the faults.
"""

import base64
from functools import lru_cache
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from valija.content.tag_list import TagFault, listed, parse_tags, without_blanks

PublicKey = RSAPublicKey | Ed25519PublicKey

_READ_OFTEN: Final = 256  # keys of domains that mail comes from all day
_VERSION: Final = "DKIM1"
_ANY_SERVICE: Final = frozenset(("*", "email"))


class RecordFault(ValueError):
    """A record that gives no key to verify mail with; the message says why."""


class KeyRecord(msgspec.Struct, frozen=True):
    """A published key. `is_test` is t=y, `is_strict` t=s: the identity's domain must be the signing one itself."""

    public: PublicKey
    is_test: bool = False
    is_strict: bool = False

    @property
    def kind(self) -> str:
        """`rsa` or `ed25519`."""
        return "rsa" if isinstance(self.public, RSAPublicKey) else "ed25519"


def key_tags(text: str) -> dict[str, str] | None:
    """Return the tags of a record that publishes a key, None for a text that is something else (SPF, a token)."""
    try:
        tags = parse_tags(text.encode("utf-8", "surrogateescape"))
    except TagFault:
        return None
    is_meant = tags.get("v", _VERSION) == _VERSION and ("p" in tags or "v" in tags)
    return tags if is_meant else None


@lru_cache(maxsize=_READ_OFTEN)
def parse_record(text: str) -> KeyRecord:
    """Return the key in a record. Raises RecordFault."""
    try:
        tags = parse_tags(text.encode("utf-8", "surrogateescape"))
    except TagFault as fault:
        raise RecordFault(f"the key's record cannot be read: {fault}") from None
    _check_purpose(tags)
    flags = listed(tags.get("t", ""))
    return KeyRecord(_public(tags), is_test="y" in flags, is_strict="s" in flags)


def _check_purpose(tags: dict[str, str]) -> None:
    if "v" in tags and (tags["v"] != _VERSION or next(iter(tags)) != "v"):
        raise RecordFault("the key's record is no DKIM record: v=DKIM1 has to stand first")
    if "h" in tags and "sha256" not in (each.lower() for each in listed(tags["h"])):
        raise RecordFault("the key's record forbids SHA-256 (h=)")
    if "s" in tags and _ANY_SERVICE.isdisjoint(each.lower() for each in listed(tags["s"])):
        raise RecordFault("the key's record is not for mail (s=)")


def _public(tags: dict[str, str]) -> PublicKey:
    kind = tags.get("k", "rsa").lower()
    if kind not in ("rsa", "ed25519"):
        raise RecordFault("the key's record names an unknown kind of key (k=)")
    if "p" not in tags:
        raise RecordFault("the key's record has no key (p=)")
    published = without_blanks(tags["p"])
    if not published:
        raise RecordFault("the key is revoked (p= is empty)")
    try:
        octets = base64.b64decode(published, validate=True)
        return Ed25519PublicKey.from_public_bytes(octets) if kind == "ed25519" else _rsa(octets)
    except (ValueError, UnsupportedAlgorithm):
        raise RecordFault(f"p= in the key's record is no {kind} key") from None


def _rsa(octets: bytes) -> RSAPublicKey:
    """Return an RSA key, as SubjectPublicKeyInfo or as the bare RSAPublicKey that section 3.6.1 speaks of."""
    public = load_der_public_key(octets)
    if not isinstance(public, RSAPublicKey):
        raise ValueError("another kind of key")
    return public
