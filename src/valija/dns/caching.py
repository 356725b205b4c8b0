"""The real Resolver: a stub with a cache, which merges equal look-ups in flight.

    resolver = CachingResolver(DnsOptions(nameservers=(Endpoint("127.0.0.1", 53),)), log)
    answer = await resolver.lookup("example.org", "MX")
    await resolver.close()

- A look-up has three tries, more where there are more servers: the next server is asked when one is silent, refuses or
  fails. A server that was silent is asked last for half a minute.
- Kept are positive answers for their TTL, negative ones for the SOA's minimum (RFC 2308), and failures for five
  seconds, so that a thousand recipients of one broken domain do not ask a thousand times.
- Answer.authentic needs a server on loopback, or `trust_ad`. A bogus answer (RFC 4035) is SERVFAIL from a validating
  server and FAILED here, never a downgrade.
- A caller that is cancelled does not end the look-up that others wait for.

Known weakness: an instance belongs to one event loop. The stub asks a recursive server and validates nothing itself.
"""

import asyncio
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, overload

import dns.exception
import dns.name
import dns.rcode

from valija.dns.answers import Reading, name_text, parse_name, read_reply
from valija.dns.cache import TtlCache
from valija.dns.exchange import NoAnswer, ask, make_query
from valija.dns.options import DnsOptions
from valija.dns.resolver import Answer, MxRecord, RecordType, Status, TextType
from valija.dns.system import RESOLV_CONF, SystemNameservers
from valija.logs import Log
from valija.mail.endpoint import Endpoint

FAILURE_TTL: Final = 5.0  # seconds
TRIES: Final = 3
MAX_CHAIN: Final = 8  # CNAMEs that are followed by asking again
MAX_IN_FLIGHT: Final = 128  # questions at once, each with a socket of its own: no burst that a server would drop
_REST: Final = 30.0  # seconds for which a silent server is asked last

_NO_SUCH_NAME: Final = Answer[Any](Status.NO_DOMAIN, detail="not a name the DNS could have")
_OLD_SERVER: Final = (dns.rcode.FORMERR, dns.rcode.NOTIMP)  # what servers say that know no EDNS (RFC 6891 section 7)

Key = tuple[str, RecordType]


class CachingResolver:
    """Asks name servers and keeps their answers. See dns/resolver for the contract."""

    def __init__(
        self,
        options: DnsOptions,
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        self._options = options
        self._log = log
        self._clock = clock
        self._system = SystemNameservers(resolv_conf)
        self._cache = TtlCache[Key, Answer[Any]](options.cache_size, clock)
        self._in_flight: dict[Key, asyncio.Task[Answer[Any]]] = {}
        self._limit = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._servers: tuple[Endpoint, ...] = ()
        self._resting_until: dict[Endpoint, float] = {}

    @overload
    async def lookup(self, name: str, rtype: Literal["MX"]) -> Answer[MxRecord]: ...
    @overload
    async def lookup(self, name: str, rtype: TextType) -> Answer[str]: ...
    async def lookup(self, name: str, rtype: RecordType) -> Answer[Any]:
        """Return the answer for a name in A-labels, with or without its final dot."""
        key = (name.lower().removesuffix("."), rtype)
        answer = self._cache.get(key)
        if answer is not None:
            return answer
        task = self._in_flight.get(key)
        if task is None:
            task = asyncio.create_task(self._find(key))
            self._in_flight[key] = task
            task.add_done_callback(lambda _: self._in_flight.pop(key, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End all look-ups in flight."""
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, key: Key) -> Answer[Any]:
        text, rtype = key
        name = parse_name(text)
        if name is None:
            return _NO_SUCH_NAME
        try:
            async with self._limit:
                reading = await self._follow(name, rtype)
        except NoAnswer as failure:
            reading = Reading(Answer(Status.FAILED, detail=str(failure)), FAILURE_TTL)
        except Exception as error:  # a fault of ours must not look like the domain's
            self._log.exception("look-up fault", name=text, rtype=rtype)
            reading = Reading(Answer(Status.FAILED, detail=f"internal fault: {error}"), FAILURE_TTL)
        self._cache.put(key, reading.answer, reading.ttl)
        return reading.answer

    async def _follow(self, name: dns.name.Name, rtype: RecordType) -> Reading:
        """Ask, and go on asking where a server leaves it to us to follow a CNAME (RFC 1034 section 3.6.2)."""
        ttl = float("inf")
        authentic = True
        for _ in range(MAX_CHAIN):
            reading = await self._ask_servers(name, rtype)
            ttl = min(ttl, reading.ttl)
            authentic = authentic and reading.answer.authentic
            if reading.continues_at is None:
                answer = reading.answer
                return Reading(
                    Answer(answer.status, answer.records, authentic, answer.canonical_name, answer.detail), ttl
                )
            name = reading.continues_at
        raise NoAnswer(f"a chain of more than {MAX_CHAIN} CNAMEs")

    async def _ask_servers(self, name: dns.name.Name, rtype: RecordType) -> Reading:
        """Ask one server after the other; raise NoAnswer with what the last one did when none is left."""
        servers = self._in_order()
        tries = max(TRIES, len(servers))
        reason = "no name server is known"
        while servers and tries:
            server = servers.pop(0)
            tries -= 1
            try:
                return await self._ask_server(server, name, rtype)
            except NoAnswer as failure:
                reason = f"{server}: {failure}"
                if failure.was_silent:
                    self._let_rest(server)
                    servers.append(server)
        raise NoAnswer(reason)

    async def _ask_server(self, server: Endpoint, name: dns.name.Name, rtype: RecordType) -> Reading:
        trusted = self._options.trust_ad or ip_address(server.host).is_loopback
        query = make_query(name, rtype, wants_dnssec=trusted)
        message = await ask(query, server, patience=self._options.timeout)
        if message.rcode() in _OLD_SERVER:
            query.use_edns(False)
            message = await ask(query, server, patience=self._options.timeout)
        self._resting_until.pop(server, None)
        try:
            reading = read_reply(message, trusted=trusted)
        except dns.exception.DNSException as error:
            raise NoAnswer(f"a malformed answer for {name_text(name)}: {error}") from None
        if reading is None:
            raise NoAnswer(f"{dns.rcode.to_text(message.rcode())} for {name_text(name)}")
        return reading

    def _in_order(self) -> list[Endpoint]:
        """Return the servers to ask, those that were silent of late last. New servers make old answers worthless."""
        servers = self._options.nameservers or self._system.current()
        if servers != self._servers:
            if self._servers:
                self._log.info("name servers changed", servers=[str(server) for server in servers])
                self._cache.clear()
            self._servers = servers
            self._resting_until.clear()
        now = self._clock()
        return sorted(servers, key=lambda server: self._resting_until.get(server, 0.0) > now)

    def _let_rest(self, server: Endpoint) -> None:
        if server not in self._resting_until:
            self._log.warning("name server is silent", server=str(server), seconds=self._options.timeout)
        self._resting_until[server] = self._clock() + _REST
