"""MTA-STS: what a domain publishes about the hosts that take its mail, and about TLS with them (RFC 8461).

    policy_id(["v=STSv1; id=20160831085700Z;"])       # "20160831085700Z", None where there is no record of this kind
    policy = parse_policy(b"version: STSv1\\nmode: enforce\\nmx: *.example.net\\nmax_age: 604800\\n")
    policy.matches("mx1.example.net")                 # whether the policy names this host

Where `mode` is `enforce`, mail goes only to hosts that the policy names, by TLS, with a certificate that names the
host; where it is `testing` the same is tried and reported, and the mail goes all the same.

A policy is taken only where all that counts in it is right: half of one could forbid the hosts that take the mail.
Fields that nobody knows yet are passed over, whatever they hold.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal, get_args

import msgspec

from valija.mail.address import AddressError, normalise_domain

MAX_SIZE: Final = 64 * 1024
"""Octets of a policy that are read (RFC 8461 section 3.3)."""

MAX_AGE: Final = 31_557_600
"""Seconds a policy can be good for, about a year (RFC 8461 section 3.2)."""

MAX_MX: Final = 1000
"""Patterns of one policy that are taken; more are some attack."""

Mode = Literal["enforce", "testing", "none"]

_VERSION: Final = re.compile(r"v=STSv1[ \t]*;", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
_EXTENSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[!-:<>-~]+", re.ASCII)
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_SHOWN: Final = 60  # characters of a text that a complaint repeats


class StsFault(ValueError):
    """A text that is no policy; the message says what is wrong with it."""


class StsPolicy(msgspec.Struct, frozen=True):
    """A policy. `mx` are host names in A-labels, or `*.` and a domain; `max_age` is in seconds.

    `text` is the policy as it was fetched, for reports.
    """

    mode: Mode
    mx: tuple[str, ...]
    max_age: int
    text: str = ""

    def matches(self, host: str) -> bool:
        """Whether the policy names a host: `*.` stands for exactly one label (RFC 8461 section 4.1)."""
        _, _, parent = host.partition(".")
        return host in self.mx or bool(parent and f"*.{parent}" in self.mx)

    @property
    def lines(self) -> tuple[str, ...]:
        """The policy as reports quote it: a string for each field (RFC 8460 section 4.5)."""
        return policy_lines(self.text)


def policy_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a policy's text, blank ones left out."""
    return tuple(line for line in (each.strip() for each in text.splitlines()) if line)


def policy_id(records: Sequence[str]) -> str | None:
    """Return the id in the TXT records at `_mta-sts.DOMAIN`; None where they promise no policy.

    There has to be exactly one record of this version, and nothing wrong with it (RFC 8461 section 3.1).
    """
    ours = [record for record in records if _VERSION.match(record)]
    if len(ours) != 1:
        return None
    fields = [field.strip(" \t") for field in ours[0].split(";")[1:]]
    if fields[-1] == "":
        fields.pop()
    ids = [field[3:] for field in fields if field.startswith("id=")]
    sound = all(_EXTENSION.fullmatch(field) for field in fields) and all(_ID.fullmatch(each) for each in ids)
    return ids[0] if ids and sound else None


def parse_policy(octets: bytes) -> StsPolicy:
    """Return the policy in what a policy host served (RFC 8461 section 3.2). Raises StsFault."""
    if len(octets) > MAX_SIZE:
        raise StsFault(f"it is longer than {MAX_SIZE} octets")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise StsFault("it is not UTF-8") from None
    fields, patterns = _fields(text)
    if fields.get("version") != "STSv1":
        raise StsFault("its version is not STSv1" if "version" in fields else "it has no version")
    mode = _mode(fields)
    if not patterns and mode != "none":
        raise StsFault("it names no mx")
    return StsPolicy(mode, tuple(dict.fromkeys(map(_pattern, patterns))), _max_age(fields), text)


def _fields(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the fields by name, the first of each that counts, and the values of all that are called mx."""
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.strip(" \t"):
            continue
        key, colon, value = line.partition(":")
        if not colon or not _KEY.fullmatch(key):
            raise StsFault(f"a line is no field: {_shown(line)}")
        value = value.strip(" \t")
        if key == "mx":
            patterns.append(value)
        else:
            fields.setdefault(key, value)
    if len(patterns) > MAX_MX:
        raise StsFault(f"it names more than {MAX_MX} mx")
    return fields, patterns


def _mode(fields: dict[str, str]) -> Mode:
    if "mode" not in fields:
        raise StsFault("it has no mode")
    for mode in get_args(Mode):
        if fields["mode"] == mode:
            return mode  # type: ignore[no-any-return]  # get_args forgets that it is a Mode
    raise StsFault(f"its mode is none that there is: {_shown(fields['mode'])}")


def _max_age(fields: dict[str, str]) -> int:
    if "max_age" not in fields:
        raise StsFault("it has no max_age")
    if not _SECONDS.fullmatch(fields["max_age"]):
        raise StsFault(f"its max_age is no number of seconds: {_shown(fields['max_age'])}")
    return min(int(fields["max_age"]), MAX_AGE)


def _pattern(written: str) -> str:
    """Return an mx in A-labels, as host names are compared."""
    name = written.removeprefix("*.")
    try:
        domain = normalise_domain(name)
    except AddressError:
        raise StsFault(f"an mx is no host name: {_shown(written)}") from None
    return domain if name == written else f"*.{domain}"


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
