"""May this client send to this recipient? The decision that keeps the relay closed, asked once per RCPT.

    facts = RelayFacts(networks, frozenset({"example.org"}), "example.org", accounts.exists)
    decide("smtpd", "192.0.2.1", "", "bob@example.net", facts)
    # Reply(554, "5.7.1", "<bob@example.net>: Relay access denied")
    decide("smtpd", "192.0.2.1", "", "alice@example.org", facts)
    # Allowed(rule="hosted example.org", address="alice@example.org")

The rules, first match:

1. A recipient in a hosted domain must exist (550 5.1.1), whoever asks. `postmaster` always does (RFC 5321 section
   4.5.1), and so does `abuse` (RFC 2142 section 2).
2. A user who has logged in (never on smtpd), and a client in `mynetworks` (on smtpd only), may send anywhere else, save
   to an address literal: sending to a bare IP address goes round every protection a domain has (550 5.1.2).
3. All others may not (554 5.7.1).

An address is judged by what stands behind its last `@`, and that must equal a hosted domain's A-labels: subdomains are
other domains, and the percent hack, bang paths and an `@` in a quoted local part mean nothing here but the name of a
mailbox that probably does not exist (C062).
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from valija.mail.address import AddressError, fold_case, normalise_domain, split
from valija.mail.fault import Fault
from valija.mail.origin import Role
from valija.mail.reply import Reply
from valija.policy.networks import Networks

POSTMASTER: Final = "postmaster"
ABUSE: Final = "abuse"
ALWAYS_THERE: Final = frozenset({POSTMASTER, ABUSE})  # in every hosted domain

_LOGIN_NEEDED: Final = Reply(530, "5.7.0", "Authentication required")


class RelayFacts(msgspec.Struct, frozen=True):
    """What the decision rests on.

    `domains` are the hosted ones as A-labels (see `domains_of`), `postmaster_domain` is the one of them whose
    postmaster a bare `<Postmaster>` is. `recipient_exists` is asked for addresses in hosted domains only, the local
    part as the client wrote it; what it raises goes up to the session, which answers 4yz.
    """

    networks: Networks
    domains: frozenset[str]
    postmaster_domain: str
    recipient_exists: Callable[[str], bool]

    def trusts(self, client_address: str) -> bool:
        """Whether a client lies in `mynetworks`. That counts on smtpd only."""
        return self.networks.find(client_address) is not None


class Allowed(msgspec.Struct, frozen=True, gc=False):
    """Yes. `rule` is what allowed it, for the log; `address` is the recipient with its domain in A-labels."""

    rule: str
    address: str


def decide(role: Role, client_address: str, login: str, recipient: str, facts: RelayFacts) -> Allowed | Reply:
    """Return whether a client may send to `recipient` (without angle brackets), or the refusal."""
    rule = _rule_of_client(role, client_address, login, facts)
    if role in ("submission", "submissions") and rule is None:
        return _LOGIN_NEEDED
    local_part, written_domain = split(recipient)
    if not written_domain and fold_case(local_part) == POSTMASTER and "@" not in recipient:
        written_domain = facts.postmaster_domain
    if _is_literal(written_domain):
        return _refuse_literal(recipient, trusted=rule is not None)
    try:
        domain = normalise_domain(written_domain)
    except AddressError:
        return Reply(501, "5.1.3", f"<{_shown(recipient)}>: Bad recipient address syntax")
    address = f"{local_part}@{domain}"
    if domain in facts.domains:
        return _decide_hosted(address, local_part, domain, rule, facts)
    return Allowed(rule, address) if rule else _denied(recipient)


def _rule_of_client(role: Role, client_address: str, login: str, facts: RelayFacts) -> str | None:
    """Return the rule by which a client may relay, None for a stranger."""
    if role == "smtpd":
        entry = facts.networks.find(client_address)
        return f"mynetworks {entry}" if entry is not None else None
    if role == "local":
        return f"local {login}" if login else "local"
    return f"login {login}" if login else None


def _decide_hosted(address: str, local_part: str, domain: str, rule: str | None, facts: RelayFacts) -> Allowed | Reply:
    if fold_case(local_part) in ALWAYS_THERE or facts.recipient_exists(address):
        return Allowed(rule or f"hosted {domain}", address)
    return Reply(550, "5.1.1", f"<{_shown(address)}>: User unknown")


def _is_literal(domain: str) -> bool:
    """Whether a domain is an IP address, in brackets (RFC 5321 section 4.1.3) or, wrongly, bare.

    No top-level domain is a number (RFC 3696 section 2).
    """
    return domain.startswith("[") or domain.endswith("]") or domain.rstrip(".").rpartition(".")[2].isdecimal()


def _refuse_literal(recipient: str, trusted: bool) -> Reply:
    if not trusted:
        return _denied(recipient)
    return Reply(550, "5.1.2", f"<{_shown(recipient)}>: Mail to address literals is not sent; use the domain")


def _denied(recipient: str) -> Reply:
    return Reply(554, "5.7.1", f"<{_shown(recipient)}>: Relay access denied")


def _shown(address: str) -> str:
    """Return an address as it may stand in a reply: no control character can begin a line of its own."""
    return address if address.isprintable() else "".join(c if c.isprintable() else "?" for c in address)


def domains_of(entries: Sequence[object], hostname: str) -> tuple[tuple[str, ...], list[Fault]]:
    """Read `domains` as written; return the hosted domains in A-labels, in order, without repetition, and the faults.

    A server without any hosts its own name, so that its postmaster can be reached (RFC 5321 section 4.5.1). The first
    domain is the one of a bare `<Postmaster>`.
    """
    domains: dict[str, None] = {}
    faults: list[Fault] = []
    for entry in entries:
        domain = _read_domain(entry)
        if isinstance(domain, Fault):
            faults.append(domain)
        else:
            domains[domain] = None
    return tuple(domains) or (hostname,), faults


def _read_domain(entry: object) -> str | Fault:
    remedy = 'write a domain such as "example.org"'
    if not isinstance(entry, str):
        return Fault(entry, "it is not a string", f"put it in quotes: {remedy}")
    if "@" in entry:
        return Fault(entry, "it is an address", f"write what stands behind the @: {entry.rpartition('@')[2]!r}")
    if entry.startswith(".") or "*" in entry:
        return Fault(entry, "a domain does not stand for its subdomains", "name each domain that is hosted here")
    if _is_literal(entry):
        return Fault(entry, "it is an IP address", remedy)
    try:
        return normalise_domain(entry)
    except AddressError as error:
        return Fault(entry, str(error), remedy)
