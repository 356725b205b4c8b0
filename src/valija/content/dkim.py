"""Signing with DKIM (RFC 6376, RFC 8463), relaxed/relaxed: what is signed is what leaves.

    hasher = BodyHasher()
    hasher.update(chunk)                                  # while the body arrives, cut anywhere
    signed = sign(header, hasher.digest(), keys, now) + header

Fields that decide what a reader sees are listed once more than they occur, so that a second From or Subject put
on top breaks the signature (section 8.15). No l= tag: nothing can be appended. A header without exactly one From is
not signed at all. t= is when the message was taken; there is no x=: a message may be held here for as long as a human
wants, and has to verify when it is let go.

Known weakness: over-signing breaks on mailing lists that add a Reply-To, as do all their changes to subject and body.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from valija.content.dkim_canonical import relaxed_fields, signed_octets
from valija.content.dkim_key import DkimKey

_OVERSIGNED: Final = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"in-reply-to",
    b"references",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
)
_SIGNED_IF_PRESENT: Final = (
    b"sender",
    b"list-id",
    b"list-unsubscribe",  # RFC 8058 section 4 asks for this pair
    b"list-unsubscribe-post",
    b"tls-report-domain",  # RFC 8460 section 5.3 asks for these two
    b"tls-report-submitter",
)
_WIDTH: Final = 68  # characters of a value on a line, beside its tab and tag


def sign(header: bytes, body_hash: bytes, keys: Sequence[DkimKey], now: float) -> bytes:
    """Return a DKIM-Signature field for each key, to be put on top of the header.

    Returns `b""` for a header that has not exactly one From. `now` in seconds since the epoch; `body_hash` 32 octets.
    """
    found = relaxed_fields(header)
    if len(found.get(b"from", ())) != 1:
        return b""
    listed = _names_to_sign(found)
    signed = signed_octets(found, listed)
    return b"".join(_signature(key, listed, signed, body_hash, int(now)) for key in keys)


def _names_to_sign(found: dict[bytes, list[bytes]]) -> list[bytes]:
    listed = []
    for name in _OVERSIGNED:
        listed += [name] * (len(found.get(name, ())) + 1)
    for name in _SIGNED_IF_PRESENT:
        listed += [name] * len(found.get(name, ()))
    return listed


def _signature(key: DkimKey, listed: list[bytes], signed: bytes, body_hash: bytes, now: int) -> bytes:
    algorithm = f"{key.kind}-sha256"
    tags = f"v=1; a={algorithm}; c=relaxed/relaxed; d={key.domain};\r\n\ts={key.selector}; t={now};\r\n"
    unsigned = b"".join(
        (
            b"DKIM-Signature: ",
            tags.encode("ascii"),
            b"\th=" + fold_names(listed) + b";\r\n",
            b"\tbh=" + base64.b64encode(body_hash) + b";\r\n\tb=",
        )
    )
    own = relaxed_fields(unsigned + b"\r\n")[b"dkim-signature"][0]
    return unsigned + fold_value(base64.b64encode(sign_octets(key, signed + own[:-2]))) + b"\r\n"


def fold_value(value: bytes) -> bytes:
    """Return a value of base64 in lines, the first of which goes on behind its tag."""
    return b"\r\n\t".join(value[start : start + _WIDTH] for start in range(0, len(value), _WIDTH))


def fold_names(listed: list[bytes]) -> bytes:
    """Return the value of h= in lines."""
    lines, line = [], b""
    for name in listed:
        if len(line) + len(name) + 1 > _WIDTH:
            lines.append(line)
            line = b""
        line += name + b":"
    return b"\r\n\t ".join((*lines, line[:-1]))


def sign_octets(key: DkimKey, octets: bytes) -> bytes:
    """Return the signature of canonical octets: PKCS#1 v1.5, or PureEdDSA over their SHA-256 (RFC 8463 section 3)."""
    if isinstance(key.private, RSAPrivateKey):
        return key.private.sign(octets, PKCS1v15(), SHA256())
    return key.private.sign(hashlib.sha256(octets).digest())
