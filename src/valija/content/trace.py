"""Trace fields: what a server writes on top of a content it takes (RFC 5321 section 4.4), and the hop count.

    received_field(origin, hostname="mail.example.org", queue_id="4F2", recipients=envelope.recipients)

writes, folded:

    Received: from client.example ([192.0.2.1]) (TLSv1.3 TLS_AES_256_GCM_SHA384)
    \\tby mail.example.org with ESMTPS id 4F2 for <bob@remote.example>;
    \\tTue, 25 Nov 2025 02:26:00 +0000

The login is not written: it would tell every reader what to try passwords for. `for` is written for a single
recipient only, because it would reveal blind copies (RFC 5321 section 7.6).
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from valija.content.compose import WIDTH, date_time
from valija.content.typed_address import ascii_form
from valija.mail.envelope import Recipient
from valija.mail.origin import Origin, TlsFacts
from valija.mail.reply import Reply

MAX_RECEIVED: Final = 100
_TOO_MANY_HOPS: Final = Reply(554, "5.4.6", f"Mail loop: the header has more than {MAX_RECEIVED} Received fields")

_KEYWORDS: Final = {
    # (SMTPUTF8, TLS, login): RFC 3848, RFC 6531 section 4.3
    (False, False, False): "ESMTP",
    (False, False, True): "ESMTPA",
    (False, True, False): "ESMTPS",
    (False, True, True): "ESMTPSA",
    (True, False, False): "UTF8SMTP",
    (True, False, True): "UTF8SMTPA",
    (True, True, False): "UTF8SMTPS",
    (True, True, True): "UTF8SMTPSA",
}
_ODD_IN_HELO = re.compile(r"[^A-Za-z0-9.:\[\]_-]")
_ODD_IN_CLAUSE = re.compile(r"[\x00-\x20()\\<>\x7f-\U0010ffff]")
_MAX_HELO: Final = 255


def protocol_keyword(*, extended: bool, tls: bool, authenticated: bool, smtputf8: bool) -> str:
    """Return the `with` keyword. HELO is `SMTP`: no registered keyword tells more about it, not even inside TLS."""
    return _KEYWORDS[smtputf8, tls, authenticated] if extended else "SMTP"


def received_field(
    origin: Origin, *, hostname: str, queue_id: str, recipients: Sequence[Recipient], priority: int = 0
) -> bytes:
    """Return the Received field for a message that arrived as `origin` tells, ended by CRLF.

    `queue_id` is the one the 250 names. All texts may be hostile: none of them can end the field or open another.
    """
    if origin.uid is None:
        opening = _opening(origin.client_address, origin.helo, origin.tls, hostname, origin.protocol or "SMTP")
    else:
        opening = _fold("Received:", len("Received:"), [f"by {hostname}", f"(local, uid {origin.uid})"])
    words = [f"id {queue_id}"]
    if len(recipients) == 1:
        words += _for_words(recipients[0])
    if priority:
        words.append(f"PRIORITY {priority}")  # RFC 6710 section 7
    words[-1] += ";"
    words.append(date_time(origin.received_at))
    field, _ = _fold(*opening, words)
    return f"{field}\r\n".encode("ascii", "replace")


def _fold(line: str, length: int, words: Sequence[str]) -> tuple[str, int]:
    """Return a field with more words, and how long its last line is."""
    parts = [line]
    for word in words:
        length += len(word) + 1
        if length > WIDTH:
            parts += ("\r\n\t", word)
            length = 8 + len(word)  # a tab is as wide as eight columns to most eyes
        else:
            parts += (" ", word)
    return "".join(parts), length


@lru_cache(maxsize=1024)
def _opening(address: str, helo: str, tls: TlsFacts | None, hostname: str, protocol: str) -> tuple[str, int]:
    """Return what the fields of a client's messages begin with, as _fold does."""
    line = "Received:"
    return _fold(line, len(line), [*_from_words(address, helo, tls), f"by {hostname}", f"with {protocol}"])


def _from_words(address: str, helo: str, tls: TlsFacts | None) -> tuple[str, ...]:
    if not address and not helo:
        return ()
    literal = f"[{_literal(address)}]" if address else "unknown"
    name = _ODD_IN_HELO.sub("_", helo[:_MAX_HELO]) or literal
    words = (f"from {name}", f"({literal})")
    return words if tls is None else (*words, f"({_clean(tls.version)} {_clean(tls.cipher)})")


def _literal(address: str) -> str:
    bare = _clean(address.partition("%")[0])  # a zone (fe80::1%eth0) means nothing to others
    return f"IPv6:{bare}" if ":" in bare else bare


def _for_words(recipient: Recipient) -> tuple[str, ...]:
    # The address the sender used: an alias's target is nobody's business. What is not plain ASCII is left out, so that
    # the field never turns a message into one that only SMTPUTF8 servers may take.
    address = recipient.reported_address
    return () if not address or _ODD_IN_CLAUSE.search(address) else (f"for <{address}>",)


def _clean(text: str) -> str:
    return _ODD_IN_CLAUSE.sub("_", text)


def return_path_field(reverse_path: str) -> bytes:
    """Return the field that final delivery puts on top (RFC 5321 section 4.4)."""
    safe = "".join(char for char in reverse_path if char.isprintable())
    return f"Return-Path: <{safe}>\r\n".encode()


def count_received(header: bytes) -> int:
    """Return how many Received fields a header has: one per hop."""
    lowered = header.lower()
    return lowered.count(b"\nreceived:") + lowered.startswith(b"received:")


def check_hops(header: bytes) -> Reply | None:
    """Return the refusal of a message that travels in circles (RFC 5321 section 6.3)."""
    return _TOO_MANY_HOPS if count_received(header) > MAX_RECEIVED else None


def delivered_to_field(address: str, *, in_ascii: bool = False) -> bytes:
    """Return the field that tells whose mail a copy is. `in_ascii`: it is to pass hops that know nothing else."""
    return f"Delivered-To: {_delivered_to(address, in_ascii=in_ascii)}\r\n".encode()


def was_delivered_to(header: bytes, address: str) -> bool:
    """Whether a message has come by an address before, as such a field of ours says."""
    lowered = header.lower()
    if b"delivered-to:" not in lowered:
        return False
    return any(
        b"\r\ndelivered-to: " + _delivered_to(address, in_ascii=in_ascii).encode().lower() + b"\r\n"
        in b"\r\n" + lowered
        for in_ascii in (False, True)
    )


def _delivered_to(address: str, *, in_ascii: bool) -> str:
    safe = "".join(char for char in address if char.isprintable())
    return ascii_form(safe) if in_ascii else safe
