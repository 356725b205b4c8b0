"""Every record to publish, as people, forms and zone files get it: golden/dns/NAME.txt and NAME.zone.

After a change of words run it with VALIJA_WRITE_GOLDEN=1, and look at the difference.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dns.zone
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.admin.lab import config
from tests.ca import CertificateAuthority
from valija.admin.check_dns import fits
from valija.admin.dns_records import Plan, Record, RecordFacts, plan_records, tlsa_value
from valija.admin.dns_zone import as_rows, form_lines, zone_file, zone_line, zone_value
from valija.content.dkim_key import DkimKey, generate
from valija.policy.mta_sts import policy_id

FOLDER = Path(__file__).parent.parent / "golden" / "dns"
HOST = 'hostname = "mail.example.org"\n'
ONE = f'{HOST}domains = ["example.org"]\n'
ALL = f"""{HOST}domains = ["example.org", "bücher.example"]
[https]
listen = ["0.0.0.0:443"]
[autoconfig]
imap_host = "imap.example.org"
[tls]
certificate = "acme"
acme_reuse_key = true
"""
CHAIN = CertificateAuthority().issue("mail.example.org", key=ec.derive_private_key(4711, ec.SECP256R1())).chain_pem
KEY = DkimKey("example.org", "2026e", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
ADDRESSES = ("203.0.113.7", "2001:db8::7")
KNOWN = RecordFacts(ADDRESSES, ADDRESSES, (KEY,), CHAIN, certified=("autodiscover.example.org",))

PLANS = {
    "everything": (ALL, KNOWN),
    "little_known": (ONE, RecordFacts()),
    "relayhost": (
        f'{ONE}[smtp]\nrelayhost = "[smtp.provider.example]:587"\n',
        RecordFacts(ADDRESSES[:1], ADDRESSES[:1]),
    ),
    "pool": (
        f'{ONE}[[smtp.pool]]\nname = "bulk"\naddresses = ["203.0.113.8"]\nhelo_name = "bulk.example.org"\n',
        RecordFacts(ADDRESSES[:1], ("203.0.113.7", "203.0.113.8"), (KEY,)),
    ),
}


def plan(text: str = ONE, facts: RecordFacts = KNOWN, **changed: Any) -> Plan:
    return plan_records(config(text), msgspec.structs.replace(facts, **changed))


def found(records: Iterable[Record], name: str, kind: str) -> list[str]:
    return [record.value for record in records if (record.name, record.type) == (name, kind)]


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("form", ["txt", "zone"])
def test_what_people_get(name: str, form: str) -> None:
    write = zone_file if form == "zone" else form_lines
    told = "".join(f"{line}\n" for line in write(plan(*PLANS[name]), "mail.example.org"))
    expected = FOLDER / f"{name}.{form}"
    if os.environ.get("VALIJA_WRITE_GOLDEN"):
        expected.write_text(told)
    assert told == expected.read_text()


@pytest.mark.parametrize("name", ["everything", "relayhost", "pool"])
def test_a_zone_file_is_read_by_others_as_it_was_meant(name: str) -> None:
    made = plan(*PLANS[name])
    text = "\n".join(["$TTL 300", ". IN SOA ns. admin. 1 3600 600 86400 60", ". IN NS ns."])
    read = dns.zone.from_text("\n".join([text, *zone_file(made, "mail.example.org")]), origin=".", relativize=False)
    for record in made.records:
        if record.type == "PTR":
            assert read.get_node(f"{record.name}.") is None
            continue
        values = [each.to_text() for each in read.find_rdataset(f"{record.name}.", record.type)]
        assert _unquoted(record, values)


def _unquoted(record: Record, values: list[str]) -> bool:
    if record.type != "TXT":
        return any(value.lower() == record.value.lower() for value in values)
    return any(value.replace('" "', "").strip('"') == record.value for value in values)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=600))
def test_any_text_survives_a_zone_file(text: str) -> None:
    line = zone_line(Record("", "x.example", "TXT", text, ""))
    zone = f"$TTL 300\n. IN SOA ns. admin. 1 3600 600 86400 60\n. IN NS ns.\n{line}"
    (read,) = dns.zone.from_text(zone, origin=".", relativize=False).find_rdataset("x.example.", "TXT")
    assert b"".join(read.strings).decode() == text
    assert all(len(string) <= 255 for string in read.strings)


def test_a_long_key_is_cut_for_zone_files_and_whole_for_forms() -> None:
    long = DkimKey.load("example.org", "r", generate("rsa"))
    made = plan(keys=(long,))
    (record,) = [each for each in made.records if each.name.startswith("r._domainkey")]
    assert zone_value(record).count('" "') == 1
    assert '" "' not in "".join(form_lines(made, "x"))
    (row,) = as_rows([record])
    assert [len(string) for string in row["strings"]] == [255, len(record.value) - 255]  # type: ignore[attr-defined]


def test_the_same_facts_make_the_same_plan() -> None:
    assert plan(ALL) == plan(ALL)


def test_the_id_of_the_policy_changes_with_it_alone() -> None:
    def identity(more: str) -> str | None:
        return policy_id(found(plan(f"{ALL}{more}").records, "_mta-sts.example.org", "TXT"))

    assert identity("") == identity('[mta_sts]\nmode = "testing"\n')
    assert len({identity(""), identity('[mta_sts]\nmode = "enforce"\n'), identity('[mta_sts]\nmax_age = "8d"\n')}) == 3


# The certificate's key


def test_the_tlsa_record_fits_the_certificate_and_a_renewed_one_with_its_key() -> None:
    key = ec.derive_private_key(4711, ec.SECP256R1())
    renewed = CertificateAuthority().issue("mail.example.org", key=key).chain_pem
    other = CertificateAuthority().issue("mail.example.org").chain_pem
    value = tlsa_value(CHAIN)
    assert value.startswith("3 1 1 ")
    assert fits(value, x509.load_pem_x509_certificates(renewed))
    assert not fits(value, x509.load_pem_x509_certificates(other))


@pytest.mark.parametrize(
    ("tls", "is_there", "note"),
    [
        ('certificate = "acme"\n', False, "acme_reuse_key = true"),
        ('certificate = "acme"\nacme_reuse_key = true\n', True, "only where the zone is signed"),
        ('certificate = "files"\ncert_file = "c"\nkey_file = "k"\n', True, "certbot: --reuse-key"),
        ("", True, "only where the zone is signed"),
    ],
)
def test_a_key_that_changes_by_itself_is_not_published(tls: str, is_there: bool, note: str) -> None:
    made = plan(f"{ONE}[tls]\n{tls}")
    assert bool(found(made.records, "_25._tcp.mail.example.org", "TLSA")) == is_there
    assert any(note in each for each in made.notes)


def test_without_a_certificate_there_is_no_tlsa_record() -> None:
    made = plan(chain_pem=b"")
    assert not any(record.type == "TLSA" for record in made.records)
    assert any(each.startswith("no TLSA record") for each in made.notes)


# What is left out


def test_a_server_that_takes_no_mail_from_others_has_none_led_to_it() -> None:
    made = plan(f"{ALL}[smtpd]\nlisten = []\n")
    assert {record.type for record in made.records}.isdisjoint({"MX", "TLSA"})
    assert not any("mta-sts" in record.name or "_tls" in record.name for record in made.records)


def test_programs_are_told_of_the_ports_that_there_are() -> None:
    made = plan(f'{ONE}[submissions]\nlisten = ["0.0.0.0:4650"]\n[submission]\nlisten = []\n')
    assert found(made.records, "_submissions._tcp.example.org", "SRV") == ["0 1 4650 mail.example.org."]
    assert found(made.records, "_submission._tcp.example.org", "SRV") == []
    assert found(made.records, "_imaps._tcp.example.org", "SRV") == []


def test_without_a_certificate_of_its_own_outlook_is_led_by_srv() -> None:
    made = plan(ALL, certified=("mail.example.org",))
    assert found(made.records, "_autodiscover._tcp.example.org", "SRV") == ["0 0 443 mail.example.org."]
    assert found(made.records, "autodiscover.example.org", "CNAME") == []


def test_a_domain_that_is_the_server_has_one_spf_record() -> None:
    made = plan(HOST + 'domains = ["mail.example.org"]\n')
    assert len([each for each in found(made.records, "mail.example.org", "TXT") if each.startswith("v=spf1")]) == 1
