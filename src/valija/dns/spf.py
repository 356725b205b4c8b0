"""May an address send in the name of a domain? The check_host() function of SPF (RFC 7208).

    sender = Sender("alice@example.org", helo="mail.example.org", receiver="mx.example.net")
    result = await check_host(ip_address("192.0.2.7"), "example.org", sender, resolver)
    result.verdict      # "pass"
    result.why          # "ip4:192.0.2.0/28"

At most ten terms look something up, two of them in vain; what asks for more is `permerror` (section 4.6.4). A look-up
that fails is `temperror`. Nothing that a record says raises.

Known weakness: look-ups of one record are made one after the other, as the standard orders them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final, Literal

import msgspec

from valija.dns.resolver import Answer, Resolver, Status
from valija.mail.address import split
from valija.policy.spf_record import Directive, SpfFault, SpfRecord, as_name, expand, is_spf, letters, parse_record

SpfVerdict = Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]
Address = IPv4Address | IPv6Address

MAX_LOOKUPS: Final = 10  # section 4.6.4
MAX_VOID: Final = 2
MAX_HOSTS: Final = 10  # of one mx or ptr
_LONGEST_LABEL: Final = 63
_LONGEST_EXPLANATION: Final = 400  # characters


class Sender(msgspec.Struct, frozen=True):
    """Who is at the other end, as macros may ask. `address` has a domain; `receiver` is our own name."""

    address: str
    helo: str = ""
    receiver: str = "unknown"
    now: float = 0.0


class SpfResult(msgspec.Struct, frozen=True):
    """What a domain says of an address, by which of its terms or why not; with its own words for a failure."""

    verdict: SpfVerdict
    why: str = ""
    explanation: str = ""


class _End(Exception):
    """The evaluation ends here, whatever the rest of the record says."""

    def __init__(self, verdict: SpfVerdict, why: str) -> None:
        super().__init__(why)
        self.result = SpfResult(verdict, why)


async def check_host(
    address: Address, domain: str, sender: Sender, resolver: Resolver, *, explains: bool = False
) -> SpfResult:
    """Return what the SPF record of `domain` says of `address`. `explains`: ask for its words where it fails."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    try:
        return await _Evaluation(mapped or address, sender, resolver, explains).check(domain, is_first=True)
    except _End as end:
        return end.result
    except SpfFault as fault:
        return SpfResult("permerror", str(fault))


def _could_have_record(domain: str) -> bool:
    """Whether a domain is a full name of good labels (section 4.3)."""
    names = domain.removesuffix(".").split(".")
    return len(names) > 1 and domain[0] != "[" and all(0 < len(label) <= _LONGEST_LABEL for label in names)


class _Evaluation:
    """One address's way through a record and all it includes."""

    def __init__(self, address: Address, sender: Sender, resolver: Resolver, explains: bool) -> None:
        self._address = address
        self._sender = sender
        self._resolver = resolver
        self._explains = explains
        self._lookups = 0
        self._void = 0
        self._rtype: Literal["A", "AAAA"] = "A" if address.version == 4 else "AAAA"

    async def check(self, domain: str, *, is_first: bool = False) -> SpfResult:
        record = await self._record_of(domain)
        if record is None:
            return SpfResult("none", f"{domain} has no SPF record")
        for directive in record.directives:
            if await _MECHANISMS[directive.mechanism](self, directive, domain):
                explained = is_first and self._explains and directive.qualifier == "fail" and record.explanation
                words = await self._explanation(record.explanation, domain) if explained else ""
                return SpfResult(directive.qualifier, directive.text, words)
        if record.redirect:
            return await self._redirected(await self._expand(record.redirect, domain), is_first)
        return SpfResult("neutral", "no term matches")

    async def _redirected(self, target: str, is_first: bool) -> SpfResult:
        self._count()
        result = await self.check(target, is_first=is_first)
        return SpfResult("permerror", result.why) if result.verdict == "none" else result

    async def _record_of(self, domain: str) -> SpfRecord | None:
        if not _could_have_record(domain):
            return None
        answer = await self._resolver.lookup(domain, "TXT")
        if answer.status is Status.FAILED:
            raise _End("temperror", answer.detail)
        texts = [text for text in answer.records if is_spf(text)]
        if len(texts) > 1:
            raise _End("permerror", f"{domain} has {len(texts)} SPF records instead of one")
        try:
            return parse_record(texts[0]) if texts else None
        except SpfFault as fault:
            raise _End("permerror", f"{domain}: {fault}") from None

    # The mechanisms: does the address match (section 5)?

    async def _all(self, directive: Directive, domain: str) -> bool:
        return True

    async def _ip(self, directive: Directive, domain: str) -> bool:
        assert directive.network is not None
        return self._address in directive.network

    async def _a(self, directive: Directive, domain: str) -> bool:
        self._count()
        answer = await self._resolver.lookup(await self._target(directive, domain), self._rtype)
        self._note(answer)
        return self._is_among(answer.records, directive)

    async def _mx(self, directive: Directive, domain: str) -> bool:
        self._count()
        answer = await self._resolver.lookup(await self._target(directive, domain), "MX")
        self._note(answer)
        hosts = [record.host for record in answer.records if record.host]
        if len(hosts) > MAX_HOSTS:
            raise _End("permerror", f"{directive.text} leads to more than {MAX_HOSTS} hosts")
        for host in hosts:
            found = await self._resolver.lookup(host, self._rtype)
            if found.status is Status.FAILED:
                raise _End("temperror", found.detail)
            if self._is_among(found.records, directive):
                return True
        return False

    async def _include(self, directive: Directive, domain: str) -> bool:
        self._count()
        result = await self.check(await self._target(directive, domain))
        if result.verdict == "none":
            raise _End("permerror", f"{directive.text}: {result.why}")
        if result.verdict in ("temperror", "permerror"):
            raise _End(result.verdict, result.why)
        return result.verdict == "pass"

    async def _exists(self, directive: Directive, domain: str) -> bool:
        self._count()
        answer = await self._resolver.lookup(await self._target(directive, domain), "A")
        self._note(answer)
        return bool(answer.records)

    async def _ptr(self, directive: Directive, domain: str) -> bool:
        self._count()
        target = await self._target(directive, domain)
        return any(_is_within(name, target) for name in await self._own_names())

    # What they share

    async def _target(self, directive: Directive, domain: str) -> str:
        return await self._expand(directive.target, domain) if directive.target else domain

    def _is_among(self, addresses: Sequence[str], directive: Directive) -> bool:
        length = directive.length4 if self._rtype == "A" else directive.length6
        return any(self._address in ip_network((ip_address(text), length), strict=False) for text in addresses)

    async def _own_names(self) -> list[str]:
        """Return the names of the address that lead back to it (section 5.5); none where that can't be told."""
        answer = await self._resolver.lookup(self._address.reverse_pointer, "PTR")
        names = [name for name in answer.records[:MAX_HOSTS] if name]
        back = await asyncio.gather(*(self._resolver.lookup(name, self._rtype) for name in names))
        return [
            name
            for name, leads in zip(names, back, strict=True)
            if any(ip_address(text) == self._address for text in leads.records)
        ]

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

    # Macros (section 7)

    async def _expand(self, text: str, domain: str) -> str:
        return as_name(expand(text, await self._values(text, domain))) if "%" in text else as_name(text)

    async def _explanation(self, text: str, domain: str) -> str:
        """Return the domain's words for a failure (section 6.2), `""` where they can't be had."""
        try:
            answer = await self._resolver.lookup(await self._expand(text, domain), "TXT")
            if len(answer.records) != 1 or not answer.records[0].isascii():
                return ""
            words = answer.records[0]
            return expand(words, await self._values(words, domain), explains=True)[:_LONGEST_EXPLANATION]
        except SpfFault:
            return ""

    async def _values(self, text: str, domain: str) -> dict[str, str]:
        """Return what the letters stand for; `p` only where it is asked for, as it takes look-ups."""
        local, own = split(self._sender.address)
        values = {
            "s": f"{local or 'postmaster'}@{own}",
            "l": local or "postmaster",
            "o": own,
            "d": domain,
            "i": self._dotted(),
            "h": self._sender.helo,
            "c": str(self._address),
            "r": self._sender.receiver,
            "t": str(int(self._sender.now)),
            "v": "in-addr" if self._rtype == "A" else "ip6",
        }
        if "p" in letters(text):
            values["p"] = _best_name(await self._own_names(), domain)
        return values

    def _dotted(self) -> str:
        if self._address.version == 4:
            return str(self._address)
        return ".".join(self._address.exploded.replace(":", "").upper())


def _is_within(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _best_name(names: Sequence[str], domain: str) -> str:
    """Return what %{p} stands for (section 7.3)."""
    within = [name for name in names if _is_within(name, domain)]
    return domain if domain in names else (*within, *names, "unknown")[0]


_MECHANISMS: Final[dict[str, Callable[[_Evaluation, Directive, str], Awaitable[bool]]]] = {
    "all": _Evaluation._all,
    "ip4": _Evaluation._ip,
    "ip6": _Evaluation._ip,
    "a": _Evaluation._a,
    "mx": _Evaluation._mx,
    "include": _Evaluation._include,
    "exists": _Evaluation._exists,
    "ptr": _Evaluation._ptr,
}
