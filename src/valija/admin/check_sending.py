"""What `valija check` finds about the ways out: where mail goes, logins' files, and next hops' addresses.

    sending(config)
for finding in check_logins(config, account): ...              # account: who the server will be
findings = await check_next_hops(config, resolver)
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from valija.admin.check_host import addresses_of
from valija.admin.findings import Finding, failure, fine, unknown, warning
from valija.config import Config
from valija.deliver.credentials import LoginOptions
from valija.dns.resolver import Resolver
from valija.policy.networks import parse_address
from valija.policy.next_hop import NextHop
from valija.policy.route import route_to
from valija.policy.tls import tls_wish
from valija.policy.tls_ladders import TlsSecurityLevel
from valija.policy.tls_rules import TlsRules
from valija.privileges import Account, first_barred
from valija.secret_file import SecretUnusable, read_secret

_ENCRYPTED: Final[Mapping[TlsSecurityLevel, str]] = {
    "none": "never encrypted",
    "may": "encrypted wherever the other side can",
    "encrypt": "always encrypted, whatever the certificate",
    "dane": "encrypted wherever the other side can, and to its TLSA records where it has any",
    "dane-only": "always encrypted, to hosts with signed TLSA records alone",
    "fingerprint": "always encrypted, to hosts with a certificate that is known",
    "verify": "always encrypted, to hosts with a trusted certificate for their name",
    "secure": "always encrypted, to hosts with a trusted certificate for the domain",
}


def sending(config: Config) -> Finding:
    """Return in words where mail for other domains goes, and how."""
    where = f"goes to {config.relayhost}" if config.relayhost else "goes to the MX hosts of each"
    level = _usual_level(config)
    text = f"mail for other domains {where}, {_ENCRYPTED[level]}"
    if level == "none":
        return warning("sending", text, '[smtp] tls_security_level = "may" encrypts it where it can be')
    return fine("sending", text)


def _usual_level(config: Config) -> TlsSecurityLevel:
    if config.relayhost is None:
        return config.smtp.tls_security_level
    rules = TlsRules(config.smtp.tls_security_level, config.smtp.policies)
    return tls_wish(route_to(config.relayhost, config.relayhost_login), rules).level


def check_logins(config: Config, account: Account | None) -> Iterator[Finding]:
    """Yield the findings about logins at other servers; `account` is whose process will read the files."""
    used = {config.relayhost_login, *(route.login for route in config.routes)}
    for login in config.logins:
        where = f"login {login.name!r} at other servers"
        problems = list(_problems(login, account))
        for problem in problems:
            yield failure("sending", f"{where}: {problem}")
        if login.name not in used:
            yield warning("sending", f"{where}: nothing uses it", "name it in a route, or in relayhost_login")
        elif not problems:
            by = f"tokens from {login.oauth.token_url}" if login.has_tokens else "a password"
            yield fine("sending", f"{where}: {login.user} by {by}")


def _problems(login: LoginOptions, account: Account | None) -> Iterator[str]:
    for file in login.files:
        try:
            read_secret(file)
        except SecretUnusable as unusable:
            yield str(unusable)
            continue
        if account and (barred := first_barred(Path(file), account)):
            yield f"user {account.name!r} cannot read {barred}; let the user's group read {file}, mode 0640"


async def check_next_hops(config: Config, resolver: Resolver) -> list[Finding]:
    """Return a finding for each next hop of the configuration that cannot be found."""
    hops: dict[NextHop, str] = {}
    if config.relayhost:
        hops[config.relayhost] = "relayhost"
    for relay in config.smtp.fallback_relay:
        hops.setdefault(relay, "fall-back relay")
    for route in config.routes:
        if route.next_hop:
            hops.setdefault(route.next_hop, "next hop")
    found = await asyncio.gather(*(_check_next_hop(hop, what, resolver) for hop, what in hops.items()))
    return [finding for finding in found if finding]


async def _check_next_hop(hop: NextHop, what: str, resolver: Resolver) -> Finding | None:
    if parse_address(hop.host) is not None:
        return None
    if hop.lookup_mx and (await resolver.lookup(hop.host, "MX")).records:
        return None
    found = await addresses_of(hop.host, resolver)
    if found.addresses:
        return None
    why = f"cannot be looked up: {found.failed}" if found.failed else "has no address"
    kept = {"relayhost": "mail for other domains waits in the queue", "fall-back relay": "it is of no use"}
    text = f"the {what} {hop.host} {why}; until that changes, {kept.get(what, 'mail for it waits in the queue')}"
    remedy = {"relayhost": "see [smtp] relayhost", "fall-back relay": "see [smtp] fallback_relay"}
    return (unknown if found.failed else warning)("sending", text, remedy.get(what, "see [[smtp.route]]"))
