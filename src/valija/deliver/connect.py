"""Opening a session with one of the hosts of a route: connect, banner, EHLO, STARTTLS by policy.

    opened = await connector.open(route, tried)      # Session, or the Failure of the last host tried, or None

Hosts are tried in their order. The addresses of one host share its `connect_timeout`, so that a dead IPv6 costs part of
it and the IPv4 is still tried in the same attempt (C078). Whatever a host says before it takes mail (421, 554,
nonsense, silence) leads to the next one, and at the end to a deferral, never to a bounce (C079).
"""

from collections.abc import Collection, Sequence
from itertools import groupby

from valija.deliver.dial import Dialer
from valija.deliver.errand import Failure, Peer, Target
from valija.deliver.hosts import Surroundings, find_targets
from valija.deliver.options import SmtpOptions
from valija.deliver.session import Read, Session
from valija.logs import Log
from valija.mail.job import Route
from valija.policy import tls
from valija.policy.tls import Decision, TlsPolicy
from valija.smtp.client import ClientMachine
from valija.smtp.client_events import ClientEvent, Ready, SessionEnded, TlsRefused
from valija.tls.contexts import TrustUnusable, client_context
from valija.tls.starttls import TlsFailed


class _InClear(Exception):
    """The handshake failed and the policy allows to go on in clear, on a new connection."""


class Connector:
    """Opens sessions. `sessions` holds those that are open, for whoever looks after their deadlines."""

    def __init__(self, options: SmtpOptions, surroundings: Surroundings, hostname: str, read: Read, log: Log) -> None:
        self._options = options
        self._surroundings = surroundings
        self._hostname = hostname
        self._read = read
        self._log = log
        self._dialer = Dialer()
        self.sessions: set[Session] = set()

    async def open(self, route: Route, tried: Collection[Target] = ()) -> Session | Failure | None:
        """Return a session that is ready for mail; None where all there is stands in `tried`."""
        targets = await find_targets(route, self._surroundings, self._options)
        if isinstance(targets, Failure):
            return targets
        failure: Failure | None = None
        for host, group in groupby(targets, key=lambda target: target.host):
            left = [target for target in group if target not in tried]
            while left:
                opened = await self._open(left, route)
                if isinstance(opened, Session):
                    return opened
                failure = opened
                left = left[left.index(failure.peer.target) + 1 :] if failure.peer else []
                self._log.info("host not usable", next_hop=route.next_hop, remote=host, reply=str(failure.reply))
        return failure

    async def _open(self, targets: Sequence[Target], route: Route) -> Session | Failure:
        """Bring a session with one host, at one of these addresses, to where mail can be sent."""
        options = self._options
        host = targets[0].host
        policy = tls.tls_policy(
            options.tls_security_level, next_hop=route.next_hop, host=host, lookup_mx=route.lookup_mx
        )
        try:
            return await self._converse(targets, policy, route)
        except _InClear as failed:
            self._log.info("TLS failed, going on in clear", remote=host, reason=str(failed))
        return await self._converse(targets, TlsPolicy("none"), route)

    async def _converse(self, targets: Sequence[Target], policy: TlsPolicy, route: Route) -> Session | Failure:
        """Connect and talk until mail can be sent. Raises _InClear."""
        patience = self._options.connect_timeout
        session = await self._dialer.dial(targets, self._new_session, patience=patience, pool=route.pool)
        if isinstance(session, Failure):
            return session
        try:
            failure = await self._greet(session, policy)
        except BaseException:
            session.abort()
            raise
        if failure is None:
            return session
        session.leave()
        return failure

    def _new_session(self, target: Target) -> Session:
        machine = ClientMachine(self._hostname)
        return Session(target, machine, options=self._options, read=self._read, registry=self.sessions, log=self._log)

    async def _greet(self, session: Session, policy: TlsPolicy) -> Failure | None:
        """Bring a new session to where mail can be sent; None when it is there."""
        host = session.target.host
        event = await session.event()
        if not isinstance(event, Ready):
            return _ended(session, event)
        decision = policy.after_hello(offers_starttls=event.capabilities.starttls)
        if decision is Decision.CLEAR:
            return None
        if decision is Decision.DEFER:
            return Failure(tls.not_offered(host), session.peer)
        session.ask_for_tls()
        event = await session.event()
        if isinstance(event, TlsRefused):
            if policy.after_refusal() is Decision.CLEAR:
                return None
            return Failure(tls.refused(host, event.reply), session.peer)
        why = await self._encrypt(session, policy, event)
        if not why:
            return None
        if policy.after_failure() is Decision.CLEAR:
            raise _InClear(why)
        return Failure(tls.failed(host, why), Peer(session.target))

    async def _encrypt(self, session: Session, policy: TlsPolicy, event: ClientEvent) -> str:
        """Do what follows the 220, up to the EHLO inside TLS; return why it did not come about, `""` if it did."""
        if isinstance(event, SessionEnded):
            return str(event.reply)
        try:
            context = client_context(verify=policy.verifies, ca_file=self._options.tls_ca_file)
            name = policy.checked_name or session.target.host
            await session.take_up_tls(context, name, verified=policy.verifies)
        except (TlsFailed, TrustUnusable) as failed:
            return str(failed)
        event = await session.event()
        # In TLS 1.3 a peer's alert comes only after our side of the handshake is done.
        return "" if isinstance(event, Ready) else str(_ended(session, event).reply)


def _ended(session: Session, event: ClientEvent) -> Failure:
    assert isinstance(event, SessionEnded)
    return Failure(event.reply, session.peer, event.by_peer)
