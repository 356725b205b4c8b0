"""Does a domain's SPF record let one of our addresses send? A small evaluator for `valija check` (RFC 7208).

    verdict = await evaluate("example.org", ip_address("192.0.2.7"), resolver)
    verdict.result      # "pass"
    verdict.why         # "ip4:192.0.2.0/28"

The mechanisms all, a, mx, ip4, ip6, include, exists and ptr are understood, and redirect. As the standard wants it, at
most ten look-ups and two of them in vain are made, and what breaks that is `permerror`.

Known weakness: of macros only those that need no sender are expanded (%{d}, %{i}, %{v}, %%, %_, %-); others are
`unknown`.
"""

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final, Literal, NoReturn

import msgspec

from valija.dns.resolver import Answer, Resolver, Status

Result = Literal["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror", "unknown"]
Address = IPv4Address | IPv6Address

MAX_LOOKUPS: Final = 10  # section 4.6.4
MAX_VOID: Final = 2
MAX_HOSTS: Final = 10  # of one mx or ptr

_RESULTS: Final[dict[str, Result]] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(\S*)", re.IGNORECASE)
_MACRO = re.compile(r"%(%|_|-|\{([a-z])\}|.?)", re.IGNORECASE)
_LITERAL: Final = {"%": "%", "_": " ", "-": "%20"}


class Verdict(msgspec.Struct, frozen=True):
    """What a record says of an address, and by which of its terms, or what is wrong with it."""

    result: Result
    why: str = ""


class _End(Exception):
    """The evaluation ends here, whatever the rest of the record says."""

    def __init__(self, result: Result, why: str) -> None:
        super().__init__(result)
        self.verdict = Verdict(result, why)


class Term(msgspec.Struct, frozen=True):
    """A mechanism: `-include:example.net` is ("fail", "include", "example.net"); lengths are of prefixes, in bits."""

    result: Result
    name: str
    value: str
    length4: int
    length6: int
    text: str


class Record(msgspec.Struct, frozen=True):
    """A record's mechanisms in order, and where it redirects to."""

    terms: tuple[Term, ...]
    redirect: str = ""


async def evaluate(domain: str, address: Address, resolver: Resolver) -> Verdict:
    """Return what the SPF record of `domain` says of `address`. Never raises for what network or record say."""
    try:
        return await _Evaluation(address, resolver).check(domain)
    except _End as end:
        return end.verdict


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record (section 4.5)."""
    return text[:6].lower() == "v=spf1" and text[6:7] in ("", " ")


def parse_record(text: str) -> Record:
    """Return what an SPF record says. Raises ValueError with what is wrong with it."""
    terms: list[Term] = []
    modifiers: dict[str, str] = {}
    for written in text.split()[1:]:
        if modifier := _MODIFIER.fullmatch(written):
            name = modifier[1].lower()
            if name in ("redirect", "exp") and name in modifiers:
                raise ValueError(f"{name}= stands twice")
            modifiers[name] = modifier[2]
        else:
            terms.append(_parse_term(written))
    return Record(tuple(terms), modifiers.get("redirect", ""))


def _parse_term(written: str) -> Term:
    sign, name = re.match(r"([+?~-]?)([^:/]*)", written).groups()  # type: ignore[union-attr]  # it always matches
    name = name.lower()
    result = _RESULTS[sign or "+"]
    rest = written[len(sign) + len(name) :]
    if name in ("ip4", "ip6"):
        return Term(result, name, str(_parse_network(name, rest, written)), 32, 128, written)
    if name not in _ARGUMENTS:
        raise ValueError(f"{written!r} is no mechanism")
    shape = re.fullmatch(r"(?::([^/]+))?(?:/(\d{1,2}))?(?://(\d{1,3}))?", rest)
    if shape is None or not _ARGUMENTS[name](shape[1], shape[2] or shape[3]):
        raise ValueError(f"{written!r} is malformed")
    length4, length6 = int(shape[2] or 32), int(shape[3] or 128)
    if length4 > 32 or length6 > 128:
        raise ValueError(f"{written!r} is malformed")
    return Term(result, name, shape[1] or "", length4, length6, written)


# Which arguments (a domain, a length) a mechanism may or must have.
_ARGUMENTS: Final[dict[str, Callable[[str | None, str | None], bool]]] = {
    "all": lambda domain, length: not domain and not length,
    "a": lambda domain, length: True,
    "mx": lambda domain, length: True,
    "include": lambda domain, length: bool(domain) and not length,
    "exists": lambda domain, length: bool(domain) and not length,
    "ptr": lambda domain, length: not length,
}


def _parse_network(name: str, rest: str, written: str) -> object:
    try:
        network = ip_network(rest[1:], strict=False)
    except ValueError:
        raise ValueError(f"{written!r} holds no address range") from None
    if not rest.startswith(":") or network.version != int(name[2]):
        raise ValueError(f"{written!r} holds no {'IPv4' if name == 'ip4' else 'IPv6'} range")
    return network


class _Evaluation:
    """One address's way through a record and all it includes."""

    def __init__(self, address: Address, resolver: Resolver) -> None:
        self._address = address
        self._resolver = resolver
        self._lookups = 0
        self._void = 0
        self._rtype: Literal["A", "AAAA"] = "A" if isinstance(address, IPv4Address) else "AAAA"

    async def check(self, domain: str) -> Verdict:
        record = await self._record_of(domain)
        if record is None:
            return Verdict("none", f"{domain} has no SPF record")
        for term in record.terms:
            if await _MECHANISMS[term.name](self, term, domain):
                return Verdict(term.result, term.text)
        if record.redirect:
            self._count()
            verdict = await self.check(self._expand(record.redirect, domain))
            return Verdict("permerror", verdict.why) if verdict.result == "none" else verdict
        return Verdict("neutral", "no term matches")

    async def _record_of(self, domain: str) -> Record | None:
        answer = await self._resolver.lookup(domain, "TXT")
        if answer.status is Status.FAILED:
            raise _End("temperror", answer.detail)
        records = [text for text in answer.records if is_spf(text)]
        if len(records) > 1:
            raise _End("permerror", f"{domain} has {len(records)} SPF records instead of one")
        try:
            return parse_record(records[0]) if records else None
        except ValueError as error:
            raise _End("permerror", f"{domain}: {error}") from None

    # The mechanisms: does the address match?

    async def _all(self, term: Term, domain: str) -> bool:
        return True

    async def _ip(self, term: Term, domain: str) -> bool:
        return self._address in ip_network(term.value)

    async def _a(self, term: Term, domain: str) -> bool:
        self._count()
        return await self._is_address_of(self._target(term, domain), term, counts_void=True)

    async def _mx(self, term: Term, domain: str) -> bool:
        self._count()
        answer = await self._resolver.lookup(self._target(term, domain), "MX")
        self._note(answer)
        hosts = [record.host for record in answer.records if record.host]
        if len(hosts) > MAX_HOSTS:
            raise _End("permerror", f"{term.text} leads to more than {MAX_HOSTS} hosts")
        for host in hosts:
            if await self._is_address_of(host, term):
                return True
        return False

    async def _include(self, term: Term, domain: str) -> bool:
        self._count()
        verdict = await self.check(self._target(term, domain))
        if verdict.result == "none":
            raise _End("permerror", f"{term.text}: {verdict.why}")
        return verdict.result == "pass"

    async def _exists(self, term: Term, domain: str) -> bool:
        self._count()
        answer = await self._resolver.lookup(self._target(term, domain), "A")
        self._note(answer)
        return bool(answer.records)

    async def _ptr(self, term: Term, domain: str) -> bool:
        self._count()
        answer = await self._resolver.lookup(self._address.reverse_pointer, "PTR")
        target = self._target(term, domain)
        for name in answer.records[:MAX_HOSTS]:
            is_below = name == target or name.endswith(f".{target}")
            if is_below and await self._is_address_of(name, term):
                return True
        return False

    # What they share

    def _target(self, term: Term, domain: str) -> str:
        return self._expand(term.value, domain) if term.value else domain

    async def _is_address_of(self, host: str, term: Term, *, counts_void: bool = False) -> bool:
        answer = await self._resolver.lookup(host, self._rtype)
        if counts_void:
            self._note(answer)
        elif answer.status is Status.FAILED:
            raise _End("temperror", answer.detail)
        length = term.length4 if self._rtype == "A" else term.length6
        return any(self._address in ip_network((ip_address(text), length), strict=False) for text in answer.records)

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            raise _End("permerror", f"it takes more than {MAX_LOOKUPS} look-ups")

    def _note(self, answer: Answer[Any]) -> None:
        """Mind how a look-up ended: too many in vain are an error."""
        if answer.status is Status.FAILED:
            raise _End("temperror", answer.detail)
        self._void += not answer.records
        if self._void > MAX_VOID:
            raise _End("permerror", f"more than {MAX_VOID} of its look-ups find nothing")

    def _expand(self, text: str, domain: str) -> str:
        def value(macro: "re.Match[str]") -> str:
            letter = (macro[2] or "").lower()
            known = {"d": domain, "i": self._dotted(), "v": "in-addr" if self._rtype == "A" else "ip6"}
            if macro[1] in _LITERAL:
                return _LITERAL[macro[1]]
            return known[letter] if letter in known else _unknown(text)

        return _MACRO.sub(value, text).removesuffix(".").lower()

    def _dotted(self) -> str:
        if isinstance(self._address, IPv4Address):
            return str(self._address)
        return ".".join(self._address.exploded.replace(":", ""))


def _unknown(text: str) -> NoReturn:
    raise _End("unknown", f"{text} depends on the sender")


_MECHANISMS: Final = {
    "all": _Evaluation._all,
    "ip4": _Evaluation._ip,
    "ip6": _Evaluation._ip,
    "a": _Evaluation._a,
    "mx": _Evaluation._mx,
    "include": _Evaluation._include,
    "exists": _Evaluation._exists,
    "ptr": _Evaluation._ptr,
}


def suggestion(addresses: Iterable[Address]) -> str:
    """Return the record that lets these addresses send, and whoever takes the domain's mail."""
    own = " ".join(f"ip{address.version}:{address}" for address in addresses)
    return f"v=spf1 mx {own} -all" if own else "v=spf1 mx -all"
