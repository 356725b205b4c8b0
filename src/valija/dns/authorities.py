"""What the servers say that a zone's owner has named: each of them asked directly, past every cache on the way.

    authorities = Authorities(resolver)
    zone = await authorities.zone_of("2026a._domainkey.example.org")
    zone.apex, zone.servers                              # "example.org", ("ns1.example.net", "ns2.example.net")
    for told in await authorities.ask("example.org", "MX"):
        told.server, told.answer                         # "ns1.example.net", Answer(FOUND, (MxRecord(...),))

A record is published when all of them serve it: the world asks any of them. One that does not answer, or does not know
the zone (a lame delegation), has an answer that FAILED, and its `detail` says why. A CNAME that leads to others' names
is followed by the resolver. The addresses of name servers, too, are what the resolver says.

Known weaknesses: but for `ask_each_address` a server is asked at one address, the first that answers, IPv4 before IPv6.
Where something on the way answers in the place of every name server, as in some hotels, all of them seem not to know
the zone.
"""

import asyncio
from typing import Any, Final

import dns.exception
import dns.flags
import dns.rcode
import msgspec

from valija.dns.answers import parse_name, read_reply
from valija.dns.exchange import NoAnswer, ask, make_query
from valija.dns.resolver import Answer, RecordType, Resolver, Status
from valija.machine import source_towards
from valija.mail.endpoint import Endpoint

PORT: Final = 53
PATIENCE: Final = 4.0  # seconds for one server to answer one question
_MOST_SERVERS: Final = 13  # of a zone
_AT_ONCE: Final = 16  # questions
_ADDRESSES: Final = 3  # of one server that are tried
_MOST_ADDRESSES: Final = 8  # of one server that are asked where each counts


class Zone(msgspec.Struct, frozen=True):
    """A zone and its name servers, by name. `failed` says in words why there are none."""

    apex: str = ""
    servers: tuple[str, ...] = ()
    failed: str = ""


class Told(msgspec.Struct, frozen=True):
    """What one name server says."""

    server: str
    answer: Answer[Any]


class Authorities:
    """Asks name servers. `port` is for tests. One instance belongs to one event loop, and asks nothing twice."""

    def __init__(self, resolver: Resolver, *, patience: float = PATIENCE, port: int = PORT) -> None:
        self._resolver = resolver
        self._patience = patience
        self._port = port
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._asked: dict[tuple[str, RecordType], asyncio.Task[tuple[Told, ...]]] = {}

    async def zone_of(self, name: str) -> Zone:
        """Return the zone that a name lies in. Never raises."""
        labels = name.split(".")
        for at in range(len(labels)):
            apex = ".".join(labels[at:])
            answer = await self._resolver.lookup(apex, "NS")
            if answer.status is Status.FAILED and not apex.startswith("_"):  # hardly a zone, but perhaps signed wrongly
                return Zone(failed=f"the name servers of {apex} cannot be looked up: {answer.detail}")
            # The NS records of where a CNAME leads are not this name's.
            if answer.records and answer.canonical_name in ("", apex):
                return Zone(apex, tuple(sorted(dict.fromkeys(answer.records)))[:_MOST_SERVERS])
        return Zone(failed=f"no zone with {name} in it could be found")

    async def ask(self, name: str, rtype: RecordType) -> tuple[Told, ...]:
        """Return what each name server of the name's zone says, by server; `()` where no zone is found."""
        key = (name.lower().removesuffix("."), rtype)
        if key not in self._asked:
            self._asked[key] = asyncio.create_task(self._ask_all(*key))
        return await asyncio.shield(self._asked[key])

    async def ask_each_address(self, name: str, rtype: RecordType) -> tuple[Told, ...]:
        """Return what each name server says at each of its addresses: different machines may be behind them.

        `Told.server` has the address too where a server has several. Those of a family that this machine has no way
        to, which often is IPv6, are left out where a server has others.
        """
        zone = await self.zone_of(name)
        told = await asyncio.gather(*(self._ask_everywhere(server, name, rtype) for server in zone.servers))
        return tuple(each for of_server in told for each in of_server)

    async def _ask_everywhere(self, server: str, name: str, rtype: RecordType) -> list[Told]:
        families = await asyncio.gather(self._resolver.lookup(server, "A"), self._resolver.lookup(server, "AAAA"))
        told = [
            Told(server, Answer(Status.FAILED, detail=f"its addresses cannot be looked up: {family.detail}"))
            for family in families
            if family.status is Status.FAILED
        ]
        addresses = [address for family in families for address in family.records]
        if not addresses:
            return told or [Told(server, Answer(Status.FAILED, detail=f"{server} has no address"))]
        reachable = ([address for address in addresses if source_towards(address)] or addresses)[:_MOST_ADDRESSES]
        answers = await asyncio.gather(*(self._ask_at(address, name, rtype) for address in reachable))
        for address, answer in zip(reachable, answers, strict=True):
            told.append(Told(f"{server} ({address})" if len(addresses) > 1 else server, answer))
        return told

    async def _ask_at(self, address: str, name: str, rtype: RecordType) -> Answer[Any]:
        try:
            async with self._room:
                answer = await self._ask_address(Endpoint(address, self._port), name, rtype)
        except NoAnswer as failure:
            return Answer(Status.FAILED, detail=f"{address}: {failure}")
        return await self._followed(answer, name, rtype)

    async def _ask_all(self, name: str, rtype: RecordType) -> tuple[Told, ...]:
        zone = await self.zone_of(name)
        answers = await asyncio.gather(*(self._ask_server(server, name, rtype) for server in zone.servers))
        return tuple(Told(server, answer) for server, answer in zip(zone.servers, answers, strict=True))

    async def _ask_server(self, server: str, name: str, rtype: RecordType) -> Answer[Any]:
        addresses = await self._addresses(server)
        reason = f"{server} has no address"
        for address in addresses[:_ADDRESSES]:
            try:
                async with self._room:
                    answer = await self._ask_address(Endpoint(address, self._port), name, rtype)
            except NoAnswer as failure:
                reason = f"{address}: {failure}"
                continue
            return await self._followed(answer, name, rtype)
        return Answer(Status.FAILED, detail=reason)

    async def _addresses(self, server: str) -> tuple[str, ...]:
        ipv4, ipv6 = await asyncio.gather(self._resolver.lookup(server, "A"), self._resolver.lookup(server, "AAAA"))
        return (*ipv4.records, *ipv6.records)

    async def _ask_address(self, place: Endpoint, name: str, rtype: RecordType) -> Answer[Any]:
        """Ask one server. Raises NoAnswer for what is no word of authority."""
        parsed = parse_name(name)
        if parsed is None:
            return Answer(Status.NO_DOMAIN)
        query = make_query(parsed, rtype, wants_dnssec=False)
        query.flags &= ~dns.flags.RD
        message = await ask(query, place, patience=self._patience)
        try:
            reading = read_reply(message, trusted=False)
        except dns.exception.DNSException as error:
            raise NoAnswer(f"a malformed answer: {error}") from None
        if reading is None:
            raise NoAnswer(f"{dns.rcode.to_text(message.rcode())} for {name}")
        if not message.flags & dns.flags.AA:
            raise NoAnswer(f"it does not know the zone of {name}")
        return reading.answer

    async def _followed(self, answer: Answer[Any], name: str, rtype: RecordType) -> Answer[Any]:
        """Return what lies where a CNAME leads that the server itself could not follow."""
        if rtype == "CNAME" or answer.records or answer.canonical_name in ("", name):
            return answer
        return await self._resolver.lookup(answer.canonical_name, rtype)


def published_everywhere(told: tuple[Told, ...], record: str) -> bool:
    """Whether every name server serves a record, among others perhaps; not where there is none to ask."""
    return bool(told) and all(record in each.answer.records for each in told)
