"""Every record that the DNS should have for this server and the domains it hosts: a pure function of what is known.

    plan = plan_records(config, RecordFacts(addresses=("203.0.113.7",), sources=("203.0.113.7",), keys=keys))
    for record in plan.records:
        print(record.name, record.type, record.value, record.purpose)
    plan.notes                     # what is left out, and why

Names and values have no quotes and are cut nowhere: how they are written in a zone file is admin/dns_zone's affair.
What of it the world sees is admin/check_published's.

Known weakness: with a relayhost, what its servers send from is known to its operator alone; the SPF record names it by
its name, which may be too few.
"""

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from valija.admin.check_spf import suggestion
from valija.config import Config
from valija.content.dkim_key import DkimKey, dns_record
from valija.https.site import names_of_domain
from valija.policy.certificate_names import names_match
from valija.policy.mta_sts_own import policy_record
from valija.policy.networks import parse_address

UNKNOWN: Final = "ADDRESS"
"""Stands in records for an address that could not be found out."""

_HTTPS: Final = 443  # where others ask, whatever port it is behind a router


class Record(msgspec.Struct, frozen=True):
    """A record to publish; `name` and the host names in `value` in A-labels, those in `value` with their last dot.

    `owner` is the domain for whose sake it is, `""` for the server itself. Mail suffers without those that are needed.
    """

    owner: str
    name: str
    type: str
    value: str
    purpose: str
    is_needed: bool = True


class RecordFacts(msgspec.Struct, frozen=True):
    """What is known: the public addresses of this machine, those that mail leaves from, the keys, the certificate.

    `keys` are all whose records have to be there, also those that do not sign yet, or no more. `certified` are the
    names in all certificates; `chain_pem` is the one that is served to most, b"" where it is not known.
    """

    addresses: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    keys: tuple[DkimKey, ...] = ()
    chain_pem: bytes = b""
    certified: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """The records, those of the server first, and words about what is not among them."""

    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    def of(self, owner: str) -> tuple[Record, ...]:
        """Return the records of a domain, or for `""` of the server."""
        return tuple(record for record in self.records if record.owner == owner)


def plan_records(config: Config, facts: RecordFacts) -> Plan:
    """Return all records for the server and each of its domains."""
    records = [*_of_host(config, facts)]
    for domain in config.domains:
        records += _of_domain(config, facts, domain)
    return Plan(tuple(dict.fromkeys(records)), tuple(_notes(config, facts)))


# The server


def _of_host(config: Config, facts: RecordFacts) -> Iterator[Record]:
    for name, addresses in _named_addresses(config, facts):
        for address in addresses or (UNKNOWN,):
            kind = "AAAA" if ":" in address else "A"
            yield Record("", name, kind, address, "where others find this server")
    yield from _reverse(config, facts)
    yield from _own_spf(config, facts)
    if config.smtpd.listen and has_stable_key(config) and facts.chain_pem:
        purpose = "the key of the certificate: who asks for it (DANE) hands mail to nobody else"
        yield Record("", tlsa_name(config.hostname), "TLSA", tlsa_value(facts.chain_pem), purpose, is_needed=False)


def _named_addresses(config: Config, facts: RecordFacts) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each name that the server goes by, with the addresses that have to bear it."""
    yield config.hostname, facts.addresses
    if config.smtp.helo_name and config.smtp.helo_name != config.hostname:
        yield config.smtp.helo_name, facts.sources or facts.addresses
    for pool in config.smtp.pools:
        if pool.addresses and pool.helo_name not in ("", config.hostname):
            yield pool.helo_name, pool.addresses


def _reverse(config: Config, facts: RecordFacts) -> Iterator[Record]:
    names = {address: name for name, addresses in _named_addresses(config, facts) for address in addresses}
    purpose = (
        "the name of the address, without which mail is refused; who gave you the address sets it: ask your provider"
    )
    if config.relayhost:
        return
    for address in dict.fromkeys((*facts.addresses, *facts.sources)):
        pointer = ip_address(address).reverse_pointer
        yield Record("", pointer, "PTR", f"{names.get(address, config.hostname)}.", purpose)


def _own_spf(config: Config, facts: RecordFacts) -> Iterator[Record]:
    """Yield what lets the server send by its own names, which stand in EHLO (RFC 7208 section 2.3)."""
    if config.relayhost:
        return
    named = dict(_named_addresses(config, facts))
    known = {address for addresses in named.values() for address in addresses}
    nameless = [f"ip{ip_address(each).version}:{each}" for each in facts.sources if each not in known]
    for name in named:
        more = nameless if name == config.hostname else []
        if name not in config.domains:
            value = " ".join(("v=spf1 a", *more, "-all"))
            purpose = "SPF of the server's own name: bounces bear no other"
            yield Record("", name, "TXT", value, purpose, is_needed=False)


def tlsa_name(hostname: str) -> str:
    """Return where the TLSA records of a server that takes mail stand (RFC 7672 section 2.2)."""
    return f"_25._tcp.{hostname}"


def tlsa_value(chain_pem: bytes) -> str:
    """Return the record of the key itself, `3 1 1`: any certificate with this key will do (RFC 7671 section 5.1)."""
    leaf = x509.load_pem_x509_certificates(chain_pem)[0]
    key = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"3 1 1 {hashlib.sha256(key).hexdigest()}"


def has_stable_key(config: Config) -> bool:
    """Whether the certificate's key outlives a renewal, as far as that is the server's own affair."""
    return config.tls.certificate != "acme" or config.tls.acme_reuse_key


# A domain


def _of_domain(config: Config, facts: RecordFacts, domain: str) -> Iterator[Record]:
    host = f"{config.hostname}."
    if config.smtpd.listen:
        yield Record(domain, domain, "MX", f"10 {host}", "mail for the domain is brought here")
    purpose = "SPF: who may send mail of the domain; there is one such record, whatever else sends is added to it"
    yield Record(domain, domain, "TXT", _spf(config, facts), purpose)
    for key in facts.keys:
        if key.domain == domain:
            name, value = dns_record(key)
            yield Record(domain, name, "TXT", value, f"DKIM: the key {key.selector}, by which signatures are verified")
    policy = f"v=DMARC1; p=none; rua=mailto:postmaster@{domain}"
    purpose = "DMARC: what becomes of forged mail; p=quarantine or p=reject once the reports are good"
    yield Record(domain, f"_dmarc.{domain}", "TXT", policy, purpose, is_needed=False)
    if config.smtpd.listen:
        purpose = "TLS-RPT: where others report trouble with encryption"
        report = f"v=TLSRPTv1; rua=mailto:postmaster@{domain}"
        yield Record(domain, f"_smtp._tls.{domain}", "TXT", report, purpose, is_needed=False)
    yield from _https_names(config, facts, domain)
    yield from _services(config, domain)


def _spf(config: Config, facts: RecordFacts) -> str:
    if config.relayhost is None:
        return suggestion(map(ip_address, facts.sources or facts.addresses))
    address = parse_address(config.relayhost.host)
    if address is not None:
        return f"v=spf1 mx ip{address.version}:{address} ~all"
    return f"v=spf1 mx {'mx' if config.relayhost.lookup_mx else 'a'}:{config.relayhost.host} ~all"


def _https_names(config: Config, facts: RecordFacts, domain: str) -> Iterator[Record]:
    if not config.https.listen:
        return
    host = f"{config.hostname}."
    policy_host, autoconfig, autodiscover = names_of_domain(domain)
    if config.smtpd.listen:
        purpose = "MTA-STS: tells others that there is a policy about encryption, and which"
        value = policy_record(config.site.policy)
        yield Record(domain, f"_mta-sts.{domain}", "TXT", value, purpose, is_needed=False)
        yield Record(domain, policy_host, "CNAME", host, "MTA-STS: where the policy is fetched", is_needed=False)
    if config.site.mail is None:
        return
    yield Record(domain, autoconfig, "CNAME", host, "where Thunderbird and others ask for settings", is_needed=False)
    if names_match((autodiscover,), facts.certified):
        yield Record(domain, autodiscover, "CNAME", host, "where Outlook asks for settings", is_needed=False)
    else:  # a certificate for the server's own name will do then
        name, value = f"_autodiscover._tcp.{domain}", f"0 0 {_HTTPS} {host}"
        yield Record(domain, name, "SRV", value, "where Outlook asks for settings", is_needed=False)


def _services(config: Config, domain: str) -> Iterator[Record]:
    """Yield where mail programs find the servers of an account (RFC 6186, RFC 8314 section 5.1)."""
    found = [
        ("submissions", config.submissions.listen and config.submissions.listen[0].port, config.hostname, 0),
        ("submission", config.submission.listen and config.submission.listen[0].port, config.hostname, 10),
        ("imaps", config.autoconfig.imap_host and config.autoconfig.imap_port, config.autoconfig.imap_host, 0),
    ]
    words = {
        "submissions": "where mail programs hand in mail, by TLS",
        "submission": "the same by STARTTLS, for those that know no better",
        "imaps": "where mail programs read mail",
    }
    for service, port, host, priority in found:
        if port:
            name, value = f"_{service}._tcp.{domain}", f"{priority} 1 {port} {host}."
            yield Record(domain, name, "SRV", value, words[service], is_needed=False)


# What is not there


def _notes(config: Config, facts: RecordFacts) -> Iterator[str]:
    if not facts.addresses:
        yield f"{UNKNOWN} is the public address of this machine, which could not be found out"
    if unsigned := _unsigned(config.domains, facts.keys):
        yield f"no key signs mail of {', '.join(unsigned)}, and large providers distrust it: valija dkim create DOMAIN"
    if config.relayhost:
        yield f"ask the operator of {config.relayhost.host} what SPF should name: it may be include:... instead"
    yield from _tlsa_notes(config, facts)
    if not config.https.listen:
        yield "MTA-STS and the settings of mail programs are not served: [https] listen is empty"
    elif config.site.mail is None:
        yield "mail programs are told no settings: [autoconfig] imap_host names no server that keeps the mail"


def _unsigned(domains: Iterable[str], keys: Iterable[DkimKey]) -> list[str]:
    signed = {key.domain for key in keys}
    return [domain for domain in domains if domain not in signed]


def _tlsa_notes(config: Config, facts: RecordFacts) -> Iterator[str]:
    if not config.smtpd.listen:
        return
    if not has_stable_key(config):
        what = "no TLSA record: each renewal of the certificate brings a new key, and others would hand over no mail"
        yield f"{what}; [tls] acme_reuse_key = true keeps the key"
    elif not facts.chain_pem:
        yield "no TLSA record: the certificate is not there yet, or you may not read it"
    elif config.tls.certificate == "files":
        what = "TLSA: only where the zone is signed (DNSSEC), and the key has to stay the same (certbot: --reuse-key)"
        yield f"{what}; before a new key serves, its record has to stand beside the old one for twice the TTL"
    else:
        yield "TLSA: only where the zone is signed (DNSSEC); without that nobody looks at it"
