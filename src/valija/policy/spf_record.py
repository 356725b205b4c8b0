"""SPF records and their macros (RFC 7208 sections 4.6, 5, 6 and 7), without any look-up.

    record = parse_record("v=spf1 a:mail.%{d1r} ip4:192.0.2.0/24 -all")
    record.directives[0].target                 # "mail.%{d1r}"
    expand("mail.%{d1r}", values)               # values: what the letters stand for

Raises SpfFault, which is `permerror`, with what is wrong in words.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal
from urllib.parse import quote

import msgspec

Qualifier = Literal["pass", "fail", "softfail", "neutral"]
Mechanism = Literal["all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"]

_READ_OFTEN: Final = 256  # records of domains that mail comes from all day
MAX_NAME: Final = 253  # characters of an expanded name (section 7.3)

_QUALIFIERS: Final[dict[str, Qualifier]] = {"": "pass", "+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_TERM: Final = re.compile(r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?![a-z0-9_.=-])(.*)", re.IGNORECASE)
_MODIFIER: Final = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE)
_LENGTHS: Final = re.compile(r"(.*?)(?:/(0|[1-9]\d?))?(?://(0|[1-9]\d{0,2}))?", re.DOTALL)
_MACRO: Final = re.compile(r"%(?:\{([slodiphcrtv])(\d*)(r?)([-.+,/_=]*)\}|([%_-]))", re.ASCII | re.IGNORECASE)
_TOP_LABEL: Final = re.compile(r"\.(?!\d+\.?$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.?$", re.IGNORECASE)
_SENT_ONLY: Final = frozenset("crt")  # letters that only an explanation may have (section 7.2)
_PLAIN: Final = {"%": "%", "_": " ", "-": "%20"}


class SpfFault(ValueError):
    """A record that has no meaning; the message says why."""


class Directive(msgspec.Struct, frozen=True):
    """One mechanism with its qualifier. Prefix lengths are in bits; `network` is that of ip4 and ip6."""

    qualifier: Qualifier
    mechanism: Mechanism
    text: str
    target: str = ""
    length4: int = 32
    length6: int = 128
    network: IPv4Network | IPv6Network | None = None


class SpfRecord(msgspec.Struct, frozen=True):
    """A record: directives in order, and the targets of redirect= and exp=, `""` where there are none."""

    directives: tuple[Directive, ...]
    redirect: str = ""
    explanation: str = ""


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record (section 4.5)."""
    return text[:6].lower() == "v=spf1" and text[6:7] in ("", " ")


@lru_cache(maxsize=_READ_OFTEN)
def parse_record(text: str) -> SpfRecord:
    """Return what a record says. Raises SpfFault for the first fault in it, wherever it stands (section 4.6)."""
    if not text.isascii():
        raise SpfFault("it holds characters that are not ASCII")
    directives: list[Directive] = []
    modifiers: dict[str, str] = {}
    for written in filter(None, text[6:].split(" ")):
        term = _TERM.fullmatch(written)
        if term is not None:
            sign, name, rest = term.groups()
            directives.append(_directive(sign, name, rest, written))
        else:
            _note_modifier(written, modifiers)
    return SpfRecord(tuple(directives), modifiers.get("redirect", ""), modifiers.get("exp", ""))


def _directive(sign: str, name: str, rest: str, written: str) -> Directive:
    mechanism: Mechanism = name.lower()  # type: ignore[assignment]  # the expression matches no other
    read = _READERS[mechanism]
    return msgspec.structs.replace(read(mechanism, rest, written), qualifier=_QUALIFIERS[sign], text=written)


def _note_modifier(written: str, modifiers: dict[str, str]) -> None:
    modifier = _MODIFIER.fullmatch(written)
    if modifier is None:
        raise SpfFault(f"{_shown(written)} is no mechanism")
    name, value = modifier[1].lower(), modifier[2]
    if name not in ("redirect", "exp"):
        _check_macros(value)
        return
    if name in modifiers:
        raise SpfFault(f"{name}= stands twice")
    modifiers[name] = _domain_spec(value, written)


def _all(mechanism: Mechanism, rest: str, written: str) -> Directive:
    if rest:
        raise SpfFault(f"{_shown(written)} may have nothing behind it")
    return Directive("pass", mechanism, "")


def _with_target(mechanism: Mechanism, rest: str, written: str) -> Directive:
    if not rest.startswith(":"):
        raise SpfFault(f"{_shown(written)} names no domain")
    return Directive("pass", mechanism, "", _domain_spec(rest[1:], written))


def _perhaps_with_target(mechanism: Mechanism, rest: str, written: str) -> Directive:
    return _with_target(mechanism, rest, written) if rest else Directive("pass", mechanism, "")


def _with_lengths(mechanism: Mechanism, rest: str, written: str) -> Directive:
    lengths = _LENGTHS.fullmatch(rest)
    assert lengths is not None
    spec, length4, length6 = lengths.groups()
    directive = _perhaps_with_target(mechanism, spec, written)
    if int(length4 or 0) > 32 or int(length6 or 0) > 128:
        raise SpfFault(f"{_shown(written)} has a prefix that is too long")
    return msgspec.structs.replace(directive, length4=int(length4 or 32), length6=int(length6 or 128))


def _network(mechanism: Mechanism, rest: str, written: str) -> Directive:
    address, slash, length = rest[1:].partition("/")
    if not rest.startswith(":") or (slash and not re.fullmatch(r"0|[1-9]\d{0,2}", length)):
        raise SpfFault(f"{_shown(written)} names no address")
    try:
        network = ip_network(f"{address}{slash}{length}", strict=False)
    except ValueError:
        raise SpfFault(f"{_shown(written)} names no address") from None
    if network.version != int(mechanism[2]) or "%" in address:
        raise SpfFault(f"{_shown(written)} names no IPv{mechanism[2]} address")
    return Directive("pass", mechanism, "", network=network)


_READERS: Final[dict[Mechanism, Callable[[Mechanism, str, str], Directive]]] = {
    "all": _all,
    "include": _with_target,
    "exists": _with_target,
    "a": _with_lengths,
    "mx": _with_lengths,
    "ptr": _perhaps_with_target,
    "ip4": _network,
    "ip6": _network,
}


def _domain_spec(spec: str, written: str) -> str:
    """Return a domain-spec (section 7.1): macros and letters, ending in a top label or a macro."""
    _check_macros(spec)
    ends_in_macro = spec.endswith("}") or spec[-2:] in ("%%", "%_", "%-")
    if not (ends_in_macro or _TOP_LABEL.search(spec)):
        raise SpfFault(f"{_shown(written)} names no domain")
    return spec


def _check_macros(text: str, *, explains: bool = False) -> None:
    for stray in _MACRO.sub("", text):
        if stray == "%" or not ("!" <= stray <= "~" or (explains and stray == " ")):
            raise SpfFault(f"{_shown(text)} has a malformed macro")
    for macro in _MACRO.finditer(text):
        letter, digits = (macro[1] or "").lower(), macro[2]
        if letter in _SENT_ONLY and not explains:
            raise SpfFault(f"{_shown(text)} has a macro that only an explanation may have")
        if digits and not digits.strip("0"):
            raise SpfFault(f"{_shown(text)} has a macro of no part at all")


def expand(text: str, values: Mapping[str, str], *, explains: bool = False) -> str:
    """Return a text with its macros replaced (section 7.3). `values` has each letter that occurs, in lower case.

    `explains`: it is an explanation, which may have letters more. Raises SpfFault for a malformed one.
    """
    _check_macros(text, explains=explains)
    return _MACRO.sub(lambda macro: _value(macro, values), text)


def letters(text: str) -> set[str]:
    """Return the letters of the macros in a text."""
    return {macro[1].lower() for macro in _MACRO.finditer(text) if macro[1]}


def as_name(expanded: str) -> str:
    """Return an expanded domain-spec as the name to ask for: what is too long loses labels on the left."""
    name = expanded.removesuffix(".").lower()
    while len(name) > MAX_NAME and "." in name:
        name = name.partition(".")[2]
    return name


def _value(macro: "re.Match[str]", values: Mapping[str, str]) -> str:
    if macro[5]:
        return _PLAIN[macro[5]]
    letter, digits, reverses, delimiters = macro[1], macro[2], macro[3], macro[4] or "."
    parts = re.split(f"[{re.escape(delimiters)}]", values[letter.lower()])
    if reverses:
        parts.reverse()
    if digits:
        parts = parts[-min(int(digits[:4]), len(parts)) :]
    joined = ".".join(parts)
    return quote(joined, safe="-._~", errors="surrogateescape") if letter.isupper() else joined


def _shown(written: str) -> str:
    return repr(written[:60])
