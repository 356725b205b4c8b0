"""Sealing a message with ARC (RFC 8617), so that those who get it from us can see what was proven when it came.

    fields = seal(header, hasher.digest(), key, now, authserv_id="mail.example.org")
    sealed = fields + header                # b"" where there is nothing to be said

A set has three parts: what our own Authentication-Results field says, taken over word for word; a signature like DKIM's
over the message as it leaves; and a seal over all sets so far. It goes on top, and nothing below it is touched.

Not sealed is a message without such a field of ours, one whose chain is broken or could not be validated, as adding to
it proves nothing to anybody (section 5.1.2), and one whose chain has as many sets as are validated here.

Known weakness: one signature, with the key given. Many who validate chains know RSA alone.
"""

import base64
from collections.abc import Sequence
from typing import Final

from valija.content.arc import MOST_VALIDATED, Chain, read_chain, relaxed_field
from valija.content.authentication_results import NAME, authserv_id_of, verdicts_in
from valija.content.dkim import fold_names, fold_value, sign_octets
from valija.content.dkim_canonical import relaxed_fields, signed_octets
from valija.content.dkim_key import DkimKey
from valija.content.header import fields

_SIGNED_IF_PRESENT: Final = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"in-reply-to",
    b"references",
    b"sender",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
    b"list-id",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"dkim-signature",  # section 4.1.2 asks for these
)


def key_to_seal_with(keys: Sequence[DkimKey]) -> DkimKey | None:
    """Return the key that most can verify, None where there is none."""
    return min(keys, key=lambda key: key.kind != "rsa", default=None)


def seal(header: bytes, body_hash: bytes, key: DkimKey, now: float, authserv_id: str) -> bytes:
    """Return the fields of a new set, to be put on top of the header.

    `body_hash` is that of the body in relaxed form, 32 octets; `now` is in seconds since the epoch; `authserv_id` is in
    whose name the results were written, lower-case A-labels.
    """
    seen = _results_of(header, authserv_id)
    chain = read_chain(header)
    if seen is None or not _may_be_continued(chain, seen):
        return b""
    number = len(chain.sets) + 1
    results = b"ARC-Authentication-Results: i=%d;" % number + seen + b"\r\n"
    signature = _signature(header, body_hash, key, int(now), number)
    below = [raw for each in chain.sets for raw in each.raw]
    return _seal([*below, results, signature], key, int(now), number) + signature + results


def _results_of(header: bytes, authserv_id: str) -> bytes | None:
    """Return the value of the topmost Authentication-Results field that speaks in our name."""
    for field in fields(header):
        if field.name == NAME and authserv_id_of(field.value) == authserv_id:
            return field.value
    return None


def _may_be_continued(chain: Chain, seen: bytes) -> bool:
    if chain.fault or len(chain.sets) >= MOST_VALIDATED:
        return False
    return not chain.sets or verdicts_in(seen).get("arc") == ["pass"]


def _signature(header: bytes, body_hash: bytes, key: DkimKey, now: int, number: int) -> bytes:
    found = relaxed_fields(header)
    listed = [name for name in _SIGNED_IF_PRESENT for _ in found.get(name, ())]
    tags = f"i={number}; a={key.kind}-sha256; c=relaxed/relaxed;\r\n\td={key.domain}; s={key.selector}; t={now};\r\n"
    unsigned = b"".join(
        (
            b"ARC-Message-Signature: ",
            tags.encode("ascii"),
            b"\th=" + fold_names(listed) + b";\r\n",
            b"\tbh=" + base64.b64encode(body_hash) + b";\r\n\tb=",
        )
    )
    return _signed(unsigned, signed_octets(found, listed), key)


def _seal(sealed: Sequence[bytes], key: DkimKey, now: int, number: int) -> bytes:
    status = "none" if number == 1 else "pass"
    tags = f"i={number}; a={key.kind}-sha256; t={now}; cv={status};\r\n\td={key.domain}; s={key.selector};\r\n\tb="
    return _signed(b"ARC-Seal: " + tags.encode("ascii"), b"".join(map(relaxed_field, sealed)), key)


def _signed(unsigned: bytes, octets: bytes, key: DkimKey) -> bytes:
    """Return a field with its b=, which is over other octets and the field itself without it."""
    own = relaxed_field(unsigned + b"\r\n").removesuffix(b"\r\n")
    return unsigned + fold_value(base64.b64encode(sign_octets(key, octets + own))) + b"\r\n"
