"""The settings of routing: `[[smtp.route]]`, `relayhost` and `fallback_relay`, and what they must be to the rest."""

from collections.abc import Callable, Iterator
from typing import Final

from valija.config.document import Document, Table
from valija.config.faults import Setting
from valija.config.model import Config
from valija.config.readers import flag, judged, parsed, text
from valija.mail.fault import Fault
from valija.policy.next_hop import NextHop, parse_next_hop
from valija.policy.ourselves import Ourselves, relayhost_fault
from valija.policy.route import RouteRule, parse_domain, parse_sender

Finding = tuple[Setting, Fault]

_KEYS: Final = ("domain", "sender", "next_hop", "login", "pool", "direct", "error", "tls_wrappermode")
_LONGEST_ERROR: Final = 200  # characters; a sender is to read it
_LOGIN_REMEDY: Final = "give one a [[smtp.login]] table with this name, or correct it"


def read_route(table: Table) -> RouteRule:
    """Return the rule in a `[[smtp.route]]` table."""
    return RouteRule(
        domain=table.read("domain", parsed(parse_domain), ""),
        sender=table.read("sender", parsed(parse_sender), ""),
        next_hop=table.read("next_hop", parsed(parse_next_hop), None),
        login=table.read("login", text, ""),
        pool=table.read("pool", text, ""),
        direct=table.read("direct", flag, False),
        error=table.read("error", judged(text, _error_fault), ""),
        tls_wrappermode=table.read("tls_wrappermode", flag, None),
    )


def _error_fault(words: str) -> tuple[str, str] | None:
    if len(words) <= _LONGEST_ERROR:
        return None
    return f"it is longer than {_LONGEST_ERROR} characters", "say in one sentence why such mail is not sent"


def relay(written: object) -> NextHop | Fault:
    """Read one entry of `fallback_relay`."""
    return parse_next_hop(written) or Fault(written, "it names no server", 'write "[host]:port"')


def check_routes(document: Document, config: Config, is_local_address: Callable[[str], bool]) -> None:
    """Refuse routes that contradict each other or lead nowhere, and next hops that are this server."""
    ourselves = Ourselves(config.hostname, config.endpoints, is_local_address)
    for setting, fault in (
        *_faults_of_relayhosts(document, config, ourselves),
        *_faults_of_routes(document, config, ourselves),
    ):
        if document.is_sound(setting.table, setting.key) and document.is_sound("smtp", "port"):
            document.refuse(setting, fault)


def _faults_of_relayhosts(document: Document, config: Config, ourselves: Ourselves) -> Iterator[Finding]:
    if config.relayhost and (fault := relayhost_fault(config.relayhost, ourselves, config.smtp.port)):
        written = document.written("smtp", "relayhost")
        yield Setting("smtp", "relayhost"), Fault(written, fault.reason, fault.remedy)
    for relay in config.smtp.fallback_relay:
        if fault := relayhost_fault(relay, ourselves, config.smtp.port):
            yield Setting("smtp", "fallback_relay"), fault
    if config.relayhost_login:
        setting = Setting("smtp", "relayhost_login")
        if config.relayhost is None:
            remedy = "set relayhost, or name the login in a [[smtp.route]]"
            yield setting, Fault(config.relayhost_login, "there is no relayhost to log in at", remedy)
        yield from _unknown_login(setting, config.relayhost_login, config)


def _faults_of_routes(document: Document, config: Config, ourselves: Ourselves) -> Iterator[Finding]:
    seen: dict[tuple[str, str], str] = {}
    for number, rule in enumerate(config.routes, start=1):
        table = f"smtp.route#{number}"
        if not document.is_sound(table, *_KEYS):
            continue
        if (where := seen.setdefault((rule.domain, rule.sender), table)) != table:
            key = "domain" if rule.domain else "sender"
            what = f"{Setting(where, '')} is for the same mail"
            yield Setting(table, key), Fault(rule.domain or rule.sender, what, "say it all in one of them")
        yield from _faults_of_one(table, rule, config)
        yield from _faults_of_the_way(table, rule, config, ourselves)


def _faults_of_one(table: str, rule: RouteRule, config: Config) -> Iterator[Finding]:
    if not rule.domain and not rule.sender:
        remedy = "name a domain or a sender; [smtp] relayhost is for all mail"
        yield Setting(table, "domain"), Fault(None, "it is not said for which mail it is", remedy)
    if rule.domain in config.domains:
        what = "this domain is hosted here: its mail stays here"
        yield Setting(table, "domain"), Fault(rule.domain, what, "take it out of domains, or leave this route out")
    if not (rule.next_hop or rule.login or rule.pool or rule.direct or rule.error):
        remedy = "set next_hop, login, pool, direct or error"
        yield Setting(table, "next_hop"), Fault(None, "it is not said how such mail goes", remedy)
    if rule.error and (rule.next_hop or rule.login or rule.pool or rule.direct):
        yield (
            Setting(table, "error"),
            Fault(rule.error, "mail that is not sent needs no way", "keep error, or the rest"),
        )
    if rule.direct and (rule.next_hop or rule.login):
        what = "direct is the way to the domain's own hosts, without a login"
        yield Setting(table, "direct"), Fault(True, what, "leave out direct, or next_hop and login")
    if rule.tls_wrappermode is not None and not rule.next_hop:
        what = "it belongs to a next_hop with a port of its own"
        yield Setting(table, "tls_wrappermode"), Fault(rule.tls_wrappermode, what, "set next_hop, or leave it out")


def _faults_of_the_way(table: str, rule: RouteRule, config: Config, ourselves: Ourselves) -> Iterator[Finding]:
    if rule.next_hop and (fault := relayhost_fault(rule.next_hop, ourselves, config.smtp.port)):
        yield Setting(table, "next_hop"), fault
    if rule.pool and rule.pool not in {pool.name for pool in config.smtp.pools}:
        what = "there is no pool of this name"
        yield Setting(table, "pool"), Fault(rule.pool, what, "give one a [[smtp.pool]] table with it, or correct it")
    if rule.login:
        yield from _unknown_login(Setting(table, "login"), rule.login, config)
        if not (rule.next_hop or config.relayhost or rule.direct):
            what = "there is no server to log in at"
            yield Setting(table, "login"), Fault(rule.login, what, "set next_hop here, or relayhost in [smtp]")


def _unknown_login(setting: Setting, name: str, config: Config) -> Iterator[Finding]:
    if name not in {login.name for login in config.logins}:
        yield setting, Fault(name, "there is no login of this name", _LOGIN_REMEDY)
