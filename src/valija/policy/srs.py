"""The Sender Rewriting Scheme: reverse-paths of ours for what is forwarded, by which its reports find back.

    given = rewritten("ann@remote.example", "example.org", key, now)
    # "SRS0=K4JZ2MQA=7C=remote.example=ann@example.org"
    original("SRS0=K4JZ2MQA=7C=remote.example=ann@example.org", [key], now)      # "ann@remote.example"

A message that an alias sends on to another server leaves here, where its sender's SPF record does not reach; with a
reverse-path in a domain of ours it passes SPF. What comes back to it is sent on to the sender.

- SRS0 holds the sender, the day, and a hash of both by a key that nobody else has. Where the sender's address is the
  SRS0 of another forwarder, ours is SRS1, which names that one and keeps the rest as it is: a chain of forwarders grows
  no longer than that, and a report goes back over the first of them, who alone can tell how old it is.
- The hash is HMAC-SHA-256 cut to 40 bits, in base32: servers on the way may change the case of a local part, which must
  not matter. It covers kind, day and sender, not our own domain: that may be changed to another of the hosted ones.
- An address is good for MOST_DAYS. A day is two base32 digits, that is, counted modulo 1024.
- A local part may be longer than the 64 octets of RFC 5321 section 4.5.3.1.1, as it is for everybody who does this;
  the path keeps to its 256 (section 4.5.3.1.3). What would be longer can't be rewritten.

Known weakness: the addresses are good for any sender, as reports come from null and other reverse-paths alike; whoever
was forwarded a message can write to its sender through us, as long as the address is good.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from valija.mail.address import MAX_PATH, AddressError, normalise_domain, quote, split, unquote

MOST_DAYS: Final = 21
DAY: Final = 86_400.0  # seconds

_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CYCLE: Final = 1024  # days that two digits tell apart
_CLOCKS_DIFFER: Final = 1  # day
_HASH_OCTETS: Final = 5

_OURS: Final = re.compile(r"SRS[01]=", re.ASCII | re.IGNORECASE)
_SRS0: Final = re.compile(r"SRS0=([A-Z2-7]{8})=([A-Z2-7]{2})=([^=]+)=(.+)", re.ASCII | re.IGNORECASE | re.DOTALL)
_SRS1: Final = re.compile(r"SRS1=([A-Z2-7]{8})=([^=]+)=([=+-].+)", re.ASCII | re.IGNORECASE | re.DOTALL)
# Another's: any separator may follow the tag, and the hash is of a length that only its maker knows.
_FOREIGN_0: Final = re.compile(r"SRS0([=+-].+)", re.ASCII | re.IGNORECASE | re.DOTALL)
_FOREIGN_1: Final = re.compile(r"SRS1[=+-][^=]+=([^=]+)=([=+-].+)", re.ASCII | re.IGNORECASE | re.DOTALL)


def is_return_path(address: str) -> bool:
    """Whether an address, in one of the own domains, looks like one made here."""
    return _OURS.match(address.removeprefix('"')) is not None


def rewritten(reverse_path: str, domain: str, key: bytes, now: float) -> str | None:
    """Return the reverse-path in `domain` that stands for another, None where there can be none.

    There is none for the null reverse-path and for address literals, and where it would be too long.
    """
    local, sender_domain = split(reverse_path)
    meaning = unquote(local)
    if not meaning or not sender_domain or sender_domain.startswith("["):
        return None
    if foreign := _FOREIGN_0.fullmatch(meaning):
        made = _srs1(sender_domain, foreign[1], key)
    elif (foreign := _FOREIGN_1.fullmatch(meaning)) and _domain(foreign[1]):
        made = _srs1(_domain(foreign[1]), foreign[2], key)
    else:
        made = _srs0(_day(now), sender_domain, meaning, key)
    address = f"{quote(made)}@{domain}"
    return address if _fits(address) else None


def original(address: str, keys: Sequence[bytes], now: float) -> str | None:
    """Return the sender that a reverse-path made here stands for; None where it is forged, or too old."""
    meaning = unquote(split(address)[0])
    if found := _SRS0.fullmatch(meaning):
        said, day, domain, local = found.groups()
        if not _is_genuine(said, keys, "SRS0", day, domain, local) or not _is_fresh(day, now):
            return None
        return _address(local, domain)
    if found := _SRS1.fullmatch(meaning):
        said, domain, rest = found.groups()
        return _address(f"SRS0{rest}", domain) if _is_genuine(said, keys, "SRS1", domain, rest) else None
    return None


def _srs0(day: str, domain: str, local: str, key: bytes) -> str:
    return f"SRS0={_hash(key, 'SRS0', day, domain, local)}={day}={domain}={local}"


def _srs1(domain: str, rest: str, key: bytes) -> str:
    return f"SRS1={_hash(key, 'SRS1', domain, rest)}={domain}={rest}"


def _hash(key: bytes, *said: str) -> str:
    octets = "=".join(said).lower().encode("utf-8", "surrogateescape")
    return base64.b32encode(hmac.digest(key, octets, hashlib.sha256)[:_HASH_OCTETS]).decode("ascii")


def _is_genuine(hash_said: str, keys: Sequence[bytes], *said: str) -> bool:
    made = [_hash(key, *said) for key in keys]
    return any(hmac.compare_digest(hash_said.upper(), each) for each in made)


def _day(now: float) -> str:
    high, low = divmod(int(now // DAY) % _CYCLE, len(_DIGITS))
    return _DIGITS[high] + _DIGITS[low]


def _is_fresh(day: str, now: float) -> bool:
    high, low = (_DIGITS.index(digit) for digit in day.upper())
    age = (int(now // DAY) - high * len(_DIGITS) - low) % _CYCLE
    return age <= MOST_DAYS or age >= _CYCLE - _CLOCKS_DIFFER


def _address(local: str, domain: str) -> str | None:
    """Return an address whose domain went through a local part."""
    domain = _domain(domain)
    address = f"{quote(local)}@{domain}"
    return address if domain and _fits(address) else None


def _domain(text: str) -> str:
    try:
        return normalise_domain(text)
    except AddressError:
        return ""


def _fits(address: str) -> bool:
    return len(address.encode("utf-8", "surrogateescape")) + len("<>") <= MAX_PATH
