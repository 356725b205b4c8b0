"""Which way would mail take, and why: what `valija route` tells.

    way = find_way(config, "bob@example.net", "alice@example.org")
    way.next_hop, way.why        # "[relay.example.net]:587", '[[smtp.route]] #2: domain = "example.net"'

It is the answer of the server's own router, from the configuration alone: nobody is asked, and what a domain
publishes for TLS (DANE, MTA-STS) is not known here.
"""

from collections.abc import Iterator

import msgspec

from valija.config import Config
from valija.deliver.fallback import fallback_routes
from valija.mail.address import AddressError, normalise_domain, split
from valija.mail.envelope import Envelope
from valija.mail.job import Route, Transport
from valija.policy.next_hop import NextHop
from valija.policy.route import RouteRule
from valija.policy.tls import tls_wish
from valija.policy.tls_ladders import TlsSecurityLevel, TlsSource
from valija.policy.tls_rules import TlsRules

NO_SENDER = "@"  # no rule can name it
_RELAYHOST = "[smtp] relayhost"


class Way(msgspec.Struct, frozen=True):
    """The way of one recipient's mail.

    `next_hop` is in Postfix's notation; for `maildir` the hosted domain, for `error` what the sender is told. `why` is
    the setting that decides. `tls_level` and `tls_source` are `""` where nothing leaves the machine.
    """

    address: str
    transport: Transport
    next_hop: str
    why: str
    login: str = ""
    pool: str = ""
    tls_wrappermode: bool = False
    tls_level: TlsSecurityLevel | str = ""
    tls_source: TlsSource | str = ""
    fallback: tuple[str, ...] = ()


def find_way(config: Config, address: str, sender: str | None = None) -> Way:
    """Return the way of mail for an address, or for anybody in a domain. Raises AddressError.

    `sender` is its reverse-path, `""` for a bounce; None is one that no rule names.
    """
    recipient = _normalised(address)
    reverse_path = NO_SENDER if sender is None else _normalised(sender) if sender else ""
    router = config.router
    route = router.route(Envelope(reverse_path, ()), recipient)
    rule = router.rule(reverse_path, recipient)
    why = _why(config, route, rule)
    if route.transport != "remote":
        return Way(address, route.transport, route.next_hop, why)
    rules = TlsRules(config.smtp.tls_security_level, config.smtp.policies)
    wish = tls_wish(route, rules)
    return Way(
        address,
        route.transport,
        _written(route),
        why,
        route.login,
        route.pool,
        route.tls_wrappermode,
        wish.level,
        wish.source,
        tuple(map(_written, fallback_routes(route, config.smtp.fallback_relay, rules))),
    )


def _written(route: Route) -> str:
    return str(NextHop(route.next_hop, route.port, route.lookup_mx))


def _normalised(address: str) -> str:
    local, domain = split(address)
    if "@" not in address:
        local, domain = "postmaster", address
    if not local:
        raise AddressError("there is nothing before the @")
    return f"{local}@{normalise_domain(domain)}"


def _why(config: Config, route: Route, rule: RouteRule | None) -> str:
    if route.is_final:
        return "domains: it is hosted here"
    if rule is not None:
        said = ", ".join(f'{key} = "{value}"' for key, value in _said(rule))
        whole = f"[[smtp.route]] #{config.routes.index(rule) + 1}: {said}"
        inherits = route.is_relayhost and rule.next_hop is None
        return f"{whole}; next hop from {_RELAYHOST}" if inherits else whole
    return _RELAYHOST if config.relayhost else "no route and no relayhost: the domain's own hosts"


def _said(rule: RouteRule) -> Iterator[tuple[str, str]]:
    if rule.domain:
        yield "domain", rule.domain
    if rule.sender:
        yield "sender", rule.sender


def sender_matters(config: Config) -> bool:
    """Whether there are routes for single senders."""
    return any(rule.sender for rule in config.routes)
