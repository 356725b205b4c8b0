"""Where mail goes when no host of its next hop can be found or reached: the relays of `fallback_relay`.

    for relay in fallback_routes(route, options.fallback_relay, rules): ...     # each a way of its own

A relay is a next hop like any other: it has the TLS policy that holds for it, and no login: the password for another
server is not shown to it. What has to stay on its way is not handed to it: mail with REQUIRETLS, and mail to a
destination that the postmaster has a demand for, since a relay can't be held to it.

A host that was reached and takes no mail now is waited for; Postfix goes to the relay then. That a domain does not
exist, or wants no mail, is final all the same.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from valija.mail.job import Route
from valija.policy.next_hop import NextHop
from valija.policy.route import route_to
from valija.policy.tls_rules import TlsRules

_DEMANDS_NOTHING: Final = frozenset({"none", "may", "dane"})


def fallback_routes(route: Route, relays: Sequence[NextHop], rules: TlsRules) -> list[Route]:
    """Return the ways to the relays that mail of a route may take, in their order."""
    rule = rules.of(route)
    if route.tls_demand == "required" or (rule is not None and rule.level not in _DEMANDS_NOTHING):
        return []
    return [msgspec.structs.replace(route_to(relay, pool=route.pool), tls_demand=route.tls_demand) for relay in relays]
