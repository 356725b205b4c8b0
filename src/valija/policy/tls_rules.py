"""What the postmaster demands of TLS with single destinations.

    rules = TlsRules("may", [TlsRule("example.net", "secure"), TlsRule("[relay.example.org]:587", "verify")])
    rules.of(Route("remote", "mx.example.net"))     # None
    rules.of(Route("remote", "example.net"))        # TlsRule("example.net", "secure")

The narrowest rule holds, whole: `[host]:port` before `[host]`, a domain before `.domain`, which is for all that lies
below it; nothing of a wider one is taken over.
"""

from collections.abc import Iterable, Iterator

import msgspec

from valija.mail.job import Route
from valija.policy.tls_ladders import TlsSecurityLevel


class TlsRule(msgspec.Struct, frozen=True):
    """The demand on one destination, written as in `domain`: `example.net`, `.example.net`, `[host]`, `[host]:port`.

    `match` are the names that a certificate may bear at `verify` and `secure`: a name, `.name` for what lies below it,
    or Postfix's words `hostname`, `nexthop` and `dot-nexthop`; () is the level's own. `fingerprints` are SHA-256
    digests of certificates or public keys.
    """

    domain: str
    level: TlsSecurityLevel
    fingerprints: tuple[bytes, ...] = ()
    match: tuple[str, ...] = ()


class TlsRules:
    """The rules of one configuration. `level` holds where there is none."""

    def __init__(self, level: TlsSecurityLevel = "may", rules: Iterable[TlsRule] = ()) -> None:
        self.level = level
        self._rules = {rule.domain: rule for rule in rules}

    def of(self, route: Route) -> TlsRule | None:
        """Return the rule for a way, None where there is none."""
        if not self._rules:
            return None
        return next((rule for place in _places(route) if (rule := self._rules.get(place))), None)


def _places(route: Route) -> Iterator[str]:
    name = route.next_hop if route.lookup_mx else f"[{route.next_hop}]"
    if route.port:
        yield f"{name}:{route.port}"
    yield name
    if route.lookup_mx:
        rest = route.next_hop
        while rest:
            _, dot, rest = rest.partition(".")
            if dot:
                yield f".{rest}"
