"""Signing with DKIM (RFC 6376, RFC 8463), relaxed/relaxed: what is signed is what leaves.

    hasher = BodyHasher()
    hasher.update(chunk)                                  # while the body arrives, cut anywhere
    signed = sign(header, hasher.digest(), keys, now) + header

Fields that decide what a reader sees are listed once more than they occur, so that a second From or Subject put
on top breaks the signature (section 8.15). No l= tag: nothing can be appended. A header without exactly one From is
not signed at all.

Known weakness: over-signing breaks on mailing lists that add a Reply-To, as do all their changes to subject and body.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

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
_BLANK_LINES_AT_ONCE: Final = 32 * 1024
_WIDTH: Final = 68  # characters of a value on a line, beside its tab and tag


class BodyHasher:
    """The SHA-256 of a body in relaxed form (RFC 6376 section 3.4.4), fed with chunks cut anywhere.

    Blanks and line ends at the end of what came are held back, as a number and at most two octets, until it is known
    whether more follows.
    """

    __slots__ = ("_blank_lines", "_hash", "_rest", "_some")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._blank_lines = 0
        self._rest = b""
        self._some = False

    def update(self, data: bytes) -> None:
        """Take the next octets of the body."""
        relaxed = _relax(self._rest + data)
        core = relaxed.rstrip(b" \r\n")
        if not core:
            self._hold(relaxed)
            return
        self._flush_blank_lines()
        self._hash.update(core)
        self._some = True
        self._hold(relaxed[len(core) :])

    def digest(self) -> bytes:
        """Return the body hash; the body is complete now."""
        whole = self._hash.copy()
        if self._some:
            whole.update(b"\r\n")
        return whole.digest()

    def _hold(self, tail: bytes) -> None:
        self._blank_lines += tail.count(b"\r\n")
        self._rest = tail[tail.rfind(b"\n") + 1 :]

    def _flush_blank_lines(self) -> None:
        while self._blank_lines:
            lines = min(self._blank_lines, _BLANK_LINES_AT_ONCE)
            self._hash.update(b"\r\n" * lines)
            self._blank_lines -= lines


def body_hash(body: bytes) -> bytes:
    """Return the hash of a whole body."""
    hasher = BodyHasher()
    hasher.update(body)
    return hasher.digest()


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


def relaxed_fields(header: bytes) -> dict[bytes, list[bytes]]:
    """Return the fields in relaxed form (RFC 6376 section 3.4.2), CRLF included, from the top down, by their names."""
    unfolded = _relax(header.replace(b"\r\n\t", b" ").replace(b"\r\n ", b" "))
    found: dict[bytes, list[bytes]] = {}
    for line in unfolded.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        found.setdefault(name, []).append(name + b":" + value.lstrip(b" ") + b"\r\n")
    return found


def signed_octets(found: dict[bytes, list[bytes]], listed: Sequence[bytes]) -> bytes:
    """Return the fields that h= lists: of equal names the lowest first, and nothing for those beyond the last."""
    taken: dict[bytes, int] = {}
    octets = []
    for name in listed:
        number = taken[name] = taken.get(name, 0) + 1
        instances = found.get(name, ())
        if number <= len(instances):
            octets.append(instances[-number])
    return b"".join(octets)


def _signature(key: DkimKey, listed: list[bytes], signed: bytes, body_hash: bytes, now: int) -> bytes:
    algorithm = f"{key.kind}-sha256"
    tags = f"v=1; a={algorithm}; c=relaxed/relaxed; d={key.domain};\r\n\ts={key.selector}; t={now};\r\n"
    unsigned = b"".join(
        (
            b"DKIM-Signature: ",
            tags.encode("ascii"),
            b"\th=" + _fold_names(listed) + b";\r\n",
            b"\tbh=" + base64.b64encode(body_hash) + b";\r\n\tb=",
        )
    )
    own = relaxed_fields(unsigned + b"\r\n")[b"dkim-signature"][0]
    value = base64.b64encode(sign_octets(key, signed + own[:-2]))
    pieces = [value[start : start + _WIDTH] for start in range(0, len(value), _WIDTH)]
    return unsigned + b"\r\n\t".join(pieces) + b"\r\n"


def _fold_names(listed: list[bytes]) -> bytes:
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


def _relax(octets: bytes) -> bytes:
    """Return octets with runs of blanks as one space, and none before a line end."""
    relaxed = octets.replace(b"\t", b" ")
    while b"  " in relaxed:
        relaxed = relaxed.replace(b"  ", b" ")
    return relaxed.replace(b" \r\n", b"\r\n")
