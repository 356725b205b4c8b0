"""Opening a session with one of the hosts of a route: connect, and all that comes before mail (see deliver/greeting).

    opened = await connector.open(route, tried)      # Session, or the Failure of the last host tried, or None

Hosts are tried in their order, each under the TLS policy that holds for it (see deliver/tls_demands). The addresses of
one host share its `connect_timeout` and are raced, so that a dead IPv6 costs a quarter of a second (C078, see
deliver/dial). Whatever a host says before it takes mail (421, 554, nonsense, silence), and a policy that it does not
live up to, leads to the next one, and at the end to a deferral, never to a bounce (C079). The one exception is
REQUIRETLS where no host can have it: see policy/tls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from itertools import groupby

import msgspec

from valija.deliver.attempt_log import tell_unusable, tell_way
from valija.deliver.chunk_faults import ChunkFaults
from valija.deliver.dial import Dialer
from valija.deliver.errand import Failure, Peer, Target
from valija.deliver.fallback import fallback_routes
from valija.deliver.greeting import Greeting
from valija.deliver.hosts import Surroundings, find_way
from valija.deliver.login import unknown_login
from valija.deliver.options import SmtpOptions
from valija.deliver.session import Read, Session
from valija.deliver.sources import Sources
from valija.deliver.tls_demands import Demand, TlsDemands
from valija.logs import Log
from valija.mail.job import Route
from valija.policy.tls import TlsPolicy, Unusable
from valija.policy.tls_rules import TlsRules
from valija.smtp.client import ClientMachine

Enter = Callable[[Sequence[Target]], Awaitable[None]]


class Connector:
    """Opens sessions. `sessions` holds those that are open, for whoever looks after their deadlines."""

    def __init__(self, options: SmtpOptions, surroundings: Surroundings, hostname: str, read: Read, log: Log) -> None:
        self._options = options
        self._surroundings = surroundings
        self._read = read
        self._log = log
        self._health = surroundings.health
        self._sources = Sources(options, hostname, surroundings.resolver, log)
        self._dialer = Dialer(self._health, self._sources)
        self._chunk_faults = ChunkFaults()
        self._rules = TlsRules(options.tls_security_level, options.policies)
        self.sessions: set[Session] = set()

    async def open(
        self, route: Route, tried: Collection[Target] = (), *, enter: Enter | None = None
    ) -> Session | Failure | None:
        """Return a session that is ready for mail; None where all there is stands in `tried`.

        Where nobody can be found or reached it may be one with a fall-back relay. `enter` is told what will be tried,
        and may keep us waiting.
        """
        opened = await self._open_by(route, tried, enter)
        if isinstance(opened, Failure) and opened.unreached and self._options.fallback_relay:
            for relay in fallback_routes(route, self._options.fallback_relay, self._rules):
                self._log.info("trying a fall-back relay", next_hop=route.next_hop, relay=relay.next_hop)
                other = await self._open_by(relay, tried, enter)
                if isinstance(other, Session):
                    return other
        return opened

    async def _open_by(self, route: Route, tried: Collection[Target], enter: Enter | None) -> Session | Failure | None:
        way = await find_way(route, self._surroundings, self._options)
        if isinstance(way, Failure):
            return msgspec.structs.replace(way, unreached=not way.permanent)
        tell_way(self._log, route, way)
        if enter is not None:
            await enter(way.targets)
        demands = TlsDemands(route, way, self._rules, self._surroundings)
        failure: Failure | None = None
        is_final = not tried
        unreached = not any(target in tried for target in way.targets)
        for host, group in groupby(way.targets, key=lambda target: target.host):
            left = [target for target in group if target not in tried]
            while left:
                opened = await self._open(left, route, demands)
                if isinstance(opened, Session):
                    return opened
                failure, left = opened
                is_final = is_final and failure.permanent
                unreached = unreached and failure.unreached
                tell_unusable(self._log, route, host, failure)
        return failure and msgspec.structs.replace(
            failure, permanent=is_final, unreached=unreached, partial=way.is_partial
        )

    async def _open(
        self, targets: Sequence[Target], route: Route, demands: TlsDemands
    ) -> Session | tuple[Failure, list[Target]]:
        """Bring a session with one host, at one of these addresses, to where mail can be sent.

        Where that fails, return why, and which of the addresses are still worth a try.
        """
        if failure := await self._obstacle(route):
            return failure, []
        demand = await demands.of(targets[0])
        policy = demand.policy
        if isinstance(policy, Unusable):
            return self._turn_down(policy, demand, targets[0], demands), []
        left = targets
        while True:
            opened, greeting = await self._converse(left, policy, route)
            if greeting is not None:
                self._note(greeting, policy, demand, demands)
            if isinstance(opened, Session):
                return opened
            if greeting is None or greeting.next_policy is None:
                others = [target for target in targets if target not in left]
                return opened, [*_left_after(opened, left), *others]
            policy, left = greeting.next_policy, [greeting.target]
            how = "in clear" if policy.in_clear else "without its proof"
            facts = {"next_hop": route.next_hop, "remote": targets[0].host}
            self._log.info(f"TLS failed, going on {how}", **facts, reason=str(opened.reply))

    def _turn_down(self, why: Unusable, demand: Demand, target: Target, demands: TlsDemands) -> Failure:
        """Leave out a host that nothing may be sent by."""
        if why.result:
            demands.note(demand, target, why.result, why.reply.text)
        return Failure(why.reply, Peer(target, tls_level=why.level, tls_source=why.source), permanent=why.is_permanent)

    async def _converse(
        self, targets: Sequence[Target], policy: TlsPolicy, route: Route
    ) -> tuple[Session | Failure, Greeting | None]:
        """Connect and talk until mail can be sent; return how the talk went, None where there was none."""
        session = await self._dialer.dial(
            targets,
            partial(
                self._new_session,
                helo_name=self._sources.helo_name(route.pool),
                policy=policy,
                tls_first=route.tls_wrappermode,
            ),
            patience=self._options.connect_timeout,
            pool=route.pool,
            next_hop=route.next_hop,
            is_relayhost=route.is_relayhost,
        )
        if isinstance(session, Failure):
            return _under(policy, session), None
        greeting = Greeting(session, policy, self._options.tls_ca_file, tls_first=route.tls_wrappermode)
        try:
            failure = await greeting.run() or await self._log_in(session, route)
        except BaseException:
            session.abort()
            raise
        self._note_health(session, failure, greeting)
        if failure is None:
            return session, greeting
        session.leave()
        return failure, greeting

    async def _obstacle(self, route: Route) -> Failure | None:
        """Return why no connection need be made: there is no login where one is needed."""
        if not route.login:
            return None
        logins = self._surroundings.logins
        return await logins.obstacle(route) if logins else unknown_login(route)

    async def _log_in(self, session: Session, route: Route) -> Failure | None:
        if not route.login:
            return None
        logins = self._surroundings.logins
        return await logins.log_in(session, route) if logins else unknown_login(route)

    def _new_session(self, target: Target, *, helo_name: str, policy: TlsPolicy, tls_first: bool) -> Session:
        options = self._options
        machine = ClientMachine(helo_name, ignored_keywords=options.discard_ehlo_keywords, tls_first=tls_first)
        session = Session(
            target,
            machine,
            options=options,
            read=self._read,
            registry=self.sessions,
            log=self._log,
            chunk_faults=self._chunk_faults,
        )
        session.peer = Peer(target, tls_level=policy.level, tls_source=policy.source)
        return session

    def _note(self, greeting: Greeting, policy: TlsPolicy, demand: Demand, demands: TlsDemands) -> None:
        """Tell how TLS went. What is tried again with less is told once, with the failure that made it so."""
        if greeting.result is None or policy is not demand.policy:
            return
        result, detail = greeting.result.result, greeting.result.detail
        if policy.complaint and not result:
            result, detail = "validation-failure", policy.complaint
        demands.note(demand, greeting.target, result, detail, sending_address=greeting.sending_address)

    def _note_health(self, session: Session, failure: Failure | None, greeting: Greeting) -> None:
        """A host that takes no mail now is suspect, unless other connections to it work: one more was too many then."""
        target = session.target
        if greeting.said_hello:
            self._health.succeeded(target.endpoint)
        elif failure and not any(other.target == target and other is not session for other in self.sessions):
            self._health.failed(target.endpoint, asyncio.get_running_loop().time(), str(failure.reply))


def _under(policy: TlsPolicy, failure: Failure) -> Failure:
    """Return a failure that says which policy held."""
    if failure.peer is None:
        return failure
    peer = msgspec.structs.replace(failure.peer, tls_level=policy.level, tls_source=policy.source)
    return msgspec.structs.replace(failure, peer=peer)


def _left_after(failure: Failure, targets: Sequence[Target]) -> list[Target]:
    """Return the addresses of a host that are still to be tried after one of them, or all, failed."""
    if failure.unreached or failure.peer is None:
        return []
    return [target for target in targets if target != failure.peer.target]
