"""Where does a recipient's mail go next? Hosted domains to their mailboxes, all else by a rule, the relayhost, or MX.

    router = Router({"example.org"}, relayhost=None, rules=[RouteRule(domain="example.net", pool="bulk")])
    router.route(envelope, "alice@example.org")    # Route("maildir", "example.org")
    router.route(envelope, "bob@example.com")      # Route("remote", "example.com")
    router.route(envelope, "ann@example.net")      # Route("remote", "example.net", pool="bulk")

One rule decides, the first of these that there is. The recipient's domain comes before the sender, and of each the
narrower before the wider:

|   | `domain`                                  | `sender`                                                    |
|---|-------------------------------------------|-------------------------------------------------------------|
| 1 | `example.net`, the domain itself          | in each row: `alice@example.org`, then `@example.org`, then |
| 2 | `.b.example.net`, what lies below it      | a rule that names no sender. `<>` is the null reverse-path, |
| 3 | `.example.net`, `.net`: the longest first | of bounces                                                  |
| 4 | a rule that names no domain               |                                                             |
| 5 | no rule: `relayhost`, with its login      |                                                             |
| 6 | no relayhost: the domain's MX hosts       |                                                             |

What a rule does not say comes from rows 5 and 6, never from another rule: one that names a login alone uses it at the
relayhost, one that names a pool alone changes where mail leaves from and nothing else.

Equal routes are equal values: the queue groups by them and connections are shared along them.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from valija.mail.address import AddressError, domain_of, mailbox_key, normalise_domain, split
from valija.mail.envelope import Envelope
from valija.mail.fault import Fault
from valija.mail.job import Route
from valija.policy.next_hop import NextHop

NULL_SENDER: Final = "<>"  # how a rule writes the null reverse-path, as Postfix does
TLS_FIRST: Final = 465  # the port where TLS stands before the banner (RFC 8314 section 3.3)

_SENDER_REMEDY: Final = f'write "alice@example.org", "@example.org" for the whole domain, or "{NULL_SENDER}"'
_DOMAIN_REMEDY: Final = 'write "example.net", or ".example.net" for what lies below it'


class RouteRule(msgspec.Struct, frozen=True):
    """For mail to `domain` and from `sender` (`""`: all of it), another way than the usual one.

    Both are as parse_domain and parse_sender return them. `direct` is the way to the domain's MX hosts in spite of a
    relayhost. With `error`, which is told to the sender, it is not sent at all. `login` and `pool` are those of Route;
    `tls_wrappermode` is, None: by the port.
    """

    domain: str = ""
    sender: str = ""
    next_hop: NextHop | None = None
    login: str = ""
    pool: str = ""
    direct: bool = False
    error: str = ""
    tls_wrappermode: bool | None = None


class Router:
    """The routes of a configuration. No two `rules` are for the same domain and sender; `login` is the relayhost's.

    `mailboxes` is the way to those of the hosted domains.
    """

    def __init__(
        self,
        domains: Collection[str],
        relayhost: NextHop | None,
        *,
        login: str = "",
        rules: Iterable[RouteRule] = (),
        mailboxes: Literal["maildir", "lmtp"] = "maildir",
    ) -> None:
        self._hosted = {domain: Route(mailboxes, domain) for domain in domains}
        self._relayhost = route_to(relayhost, login) if relayhost else None
        self._rules: dict[str, dict[str, tuple[RouteRule, Route | None]]] = {}
        for rule in rules:
            self._rules.setdefault(rule.domain, {})[rule.sender] = rule, self._fixed(rule)

    def route(self, envelope: Envelope, address: str) -> Route:
        """Return the way to the next hop of a recipient, whose domain is in A-labels (see mail/address)."""
        domain = domain_of(address)
        if hosted := self._hosted.get(domain):
            return hosted
        found = self._find(envelope.reverse_path, domain) if self._rules else None
        if found is None:
            route = self._relayhost or Route("remote", domain)
        else:
            route = found[1] or Route("remote", domain, pool=found[0].pool)
        if envelope.require_tls or envelope.tls_optional:
            return msgspec.structs.replace(route, tls_demand=envelope.tls_demand)
        return route

    def rule(self, reverse_path: str, address: str) -> RouteRule | None:
        """Return the rule that decides on the way of a recipient, None where none does."""
        domain = domain_of(address)
        found = None if domain in self._hosted else self._find(reverse_path, domain)
        return found[0] if found else None

    def _find(self, reverse_path: str, domain: str) -> tuple[RouteRule, Route | None] | None:
        senders: Sequence[str] = ()
        for place in _places(domain):
            if by_sender := self._rules.get(place):
                senders = senders or _forms(reverse_path)
                for sender in senders:
                    if found := by_sender.get(sender):
                        return found
        return None

    def _fixed(self, rule: RouteRule) -> Route | None:
        """Return the route of a rule, None where it depends on the recipient's domain."""
        if rule.error:
            return Route("error", rule.error)
        if rule.next_hop:
            return route_to(rule.next_hop, rule.login, rule.pool, rule.tls_wrappermode)
        if rule.direct or self._relayhost is None:
            return None
        return msgspec.structs.replace(self._relayhost, login=rule.login or self._relayhost.login, pool=rule.pool)


def route_to(next_hop: NextHop, login: str = "", pool: str = "", tls_wrappermode: bool | None = None) -> Route:
    """Return the way to a next hop that the configuration names; whether TLS comes first there the port may tell."""
    return Route(
        "remote",
        next_hop.host,
        next_hop.port,
        next_hop.lookup_mx,
        is_relayhost=True,
        login=login,
        pool=pool,
        tls_wrappermode=next_hop.port == TLS_FIRST if tls_wrappermode is None else tls_wrappermode,
    )


def _places(domain: str) -> Iterator[str]:
    """Yield how rules may name a recipient's domain, the narrowest first."""
    yield domain
    rest = domain
    while rest:
        _, dot, rest = rest.partition(".")
        yield dot + rest


def _forms(reverse_path: str) -> tuple[str, ...]:
    """Return how rules may name a sender, the narrowest first."""
    if not reverse_path:
        return NULL_SENDER, ""
    return mailbox_key(reverse_path), f"@{domain_of(reverse_path)}", ""


def parse_domain(text: object) -> str | Fault:
    """Read the domain of a rule: `example.net`, or `.example.net` for what lies below it; `""` is every one."""
    if not isinstance(text, str):
        return Fault(text, "it is not a string", f"put it in quotes: {_DOMAIN_REMEDY}")
    if not text:
        return ""
    below = "." * text.startswith(".")
    try:
        return below + normalise_domain(text.removeprefix("."))
    except AddressError as error:
        return Fault(text, str(error), _DOMAIN_REMEDY)


def parse_sender(text: object) -> str | Fault:
    """Read the sender of a rule: an address, `@example.org`, `example.org`, or `<>`; `""` is every one.

    An address is returned as its mailbox_key: subaddresses go the way of their mailbox.
    """
    if not isinstance(text, str):
        return Fault(text, "it is not a string", f"put it in quotes: {_SENDER_REMEDY}")
    if not text or text == NULL_SENDER:
        return text
    local, domain = split(text) if "@" in text else ("", text)
    try:
        domain = normalise_domain(domain)
    except AddressError as error:
        return Fault(text, str(error), _SENDER_REMEDY)
    if local and mailbox_key(local + "@") != mailbox_key(local + "@", separator=""):
        return Fault(text, "a subaddress goes the way of its mailbox", "leave out the + and what follows it")
    return mailbox_key(f"{local}@{domain}")
