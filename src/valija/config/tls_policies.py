"""The settings of TLS policy towards other servers: `[[smtp.policy]]`, and what it must be to the rest."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final, get_args

from valija.config.document import Document, Table
from valija.config.faults import Setting, refuse
from valija.config.model import Config
from valija.config.readers import choice, domain, each, parsed, text
from valija.dns.system import SystemNameservers
from valija.mail.fault import Fault
from valija.policy.next_hop import parse_next_hop
from valija.policy.tls_ladders import TlsSecurityLevel
from valija.policy.tls_rules import TlsRule

Finding = tuple[Setting, Fault]

LEVELS: Final[tuple[TlsSecurityLevel, ...]] = tuple(
    level for level in get_args(TlsSecurityLevel) if level != "fingerprint"
)
"""The levels that can hold for everybody."""

_WORDS: Final = ("hostname", "nexthop", "dot-nexthop")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEYS: Final = ("domain", "tls_security_level", "fingerprints", "match")


def read_tls_rule(table: Table, level: TlsSecurityLevel) -> TlsRule:
    """Return the rule in a `[[smtp.policy]]` table; `level` holds where it names none."""
    return TlsRule(
        domain=table.read("domain", _destination, ""),
        level=table.read("tls_security_level", choice(*get_args(TlsSecurityLevel)), level),
        fingerprints=table.read("fingerprints", each(_fingerprint), ()),
        match=table.read("match", each(_name), ()),
    )


def _destination(value: object) -> str:
    """Read whom a rule is for: a domain, `.domain` for what lies below it, or a host as `relayhost` is written."""
    written = text(value)
    if written.startswith("."):
        return f".{domain(written[1:])}"
    found = parsed(parse_next_hop)(value)
    if found is None:
        raise refuse(value, "it names nobody", 'write "example.net", ".example.net" or "[host]:port"')
    return str(found)


def _fingerprint(value: object) -> bytes:
    """Read a SHA-256 digest in hexadecimal, with or without colons."""
    written = text(value).replace(":", "").lower()
    if not _DIGEST.fullmatch(written):
        remedy = 'write the 64 digits of "openssl x509 -in cert.pem -noout -fingerprint -sha256"'
        raise refuse(value, "it is no SHA-256 fingerprint", remedy)
    return bytes.fromhex(written)


def _name(value: object) -> str:
    """Read a name that a certificate may bear."""
    written = text(value)
    if written in _WORDS:
        return written
    below = "." if written.startswith(".") else ""
    return f"{below}{domain(written.removeprefix('.'))}"


def check_tls_rules(document: Document, config: Config) -> None:
    """Refuse policies that contradict themselves or each other."""
    seen: dict[str, str] = {}
    for number, rule in enumerate(config.smtp.policies, start=1):
        table = f"smtp.policy#{number}"
        if not document.is_sound(table, *_KEYS):
            continue
        for setting, fault in _faults(table, rule, seen):
            document.refuse(setting, fault)


def _faults(table: str, rule: TlsRule, seen: dict[str, str]) -> Iterator[Finding]:
    if not rule.domain:
        remedy = 'write domain = "example.net"; [smtp] tls_security_level is for all others'
        yield Setting(table, "domain"), Fault(None, "it is not said for whom it is", remedy)
    elif (where := seen.setdefault(rule.domain, table)) != table:
        what = f"{Setting(where, '')} is for the same destination"
        yield Setting(table, "domain"), Fault(rule.domain, what, "say it all in one of them")
    if rule.level == "fingerprint" and not rule.fingerprints:
        what = "it is not said which certificates are right"
        yield Setting(table, "fingerprints"), Fault(None, what, "write fingerprints = [...]")
    if rule.level != "fingerprint" and rule.fingerprints:
        what = f"they are not looked at where the level is {rule.level}"
        remedy = 'write tls_security_level = "fingerprint"'
        yield Setting(table, "fingerprints"), Fault([each.hex() for each in rule.fingerprints], what, remedy)
    if rule.level not in ("verify", "secure") and rule.match:
        what = f"names are not looked at where the level is {rule.level}"
        remedy = 'write tls_security_level = "secure"'
        yield Setting(table, "match"), Fault([*rule.match], what, remedy)


def doubts_about_dane(config: Config) -> Iterator[Finding]:
    """Yield each place where DANE is demanded of a resolver whose word on DNSSEC is not taken."""
    rules = ((f"smtp.policy#{number}", rule.level) for number, rule in enumerate(config.smtp.policies, start=1))
    demands = [each for each in (("smtp", config.smtp.tls_security_level), *rules) if each[1] in ("dane", "dane-only")]
    if not demands or config.dns.trust_ad:
        return
    servers = config.dns.nameservers or SystemNameservers().current()
    strangers = [server for server in servers if not ip_address(server.host).is_loopback]
    if not strangers:
        return
    what = f"the name server {strangers[0]} is not trusted for DNSSEC, so that nothing is known to be signed"
    remedy = "run a validating resolver on this machine, or set [dns] trust_ad = true if the way to it is safe"
    for table, level in demands:
        yield Setting(table, "tls_security_level"), Fault(level, what, remedy)
