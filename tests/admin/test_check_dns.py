"""What the DNS says of a server: each finding when all is well, and when it is not."""

import asyncio
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.admin.lab import MINE, SCRIPTS, SOUND, bad, config, facts, look_up
from tests.ca import CertificateAuthority
from tests.fakedns import Script
from valija.admin import check_dns as module
from valija.admin.check_dns import TIMEOUT, check_dns, fits
from valija.admin.check_domain import tags_of
from valija.admin.check_host import leaving_from
from valija.admin.findings import Finding
from valija.content.dkim_key import DkimKey, dns_record, generate
from valija.dns.caching import TRIES
from valija.dns.options import DnsOptions
from valija.dns.resolver import Answer, RecordType, Status
from valija.mail.endpoint import Endpoint

Zone = dict[str, list[str]]
V6_NAME = next(name for name in SOUND if name.endswith("ip6.arpa"))


def found_in(zone: Zone, text: str = MINE, scripts: dict[str, Script] | None = None, **known: object) -> list[Finding]:
    given = facts(**known)  # type: ignore[arg-type]  # what the caller means
    return look_up(zone, lambda dns: check_dns(config(text), dns, given), {**SCRIPTS, **(scripts or {})})


def test_a_dns_without_fault() -> None:
    found = found_in(SOUND)
    assert bad(found) == []
    assert [(finding.topic, finding.text) for finding in found] == [
        ("host", "mail.example.org has 203.0.113.7, 2001:db8::7"),
        ("reverse", "203.0.113.7 is mail.example.org, and back"),
        ("reverse", "2001:db8::7 is mail.example.org, and back"),
        ("mx", "mail for example.org is led here"),
        ("spf", "example.org lets 203.0.113.7 send (mx)"),
        ("spf", "example.org lets 2001:db8::7 send (mx)"),
        ("dmarc", "example.org has a DMARC policy: p=reject"),
        ("dnssec", "the name server validates DNSSEC"),
        ("mta-sts", "example.org has an MTA-STS policy; its MX hosts have to keep it"),
    ]


def test_host_that_is_a_hosted_domain_too_is_looked_at_as_both() -> None:
    found = found_in(SOUND, 'hostname = "mail.example.org"\ndomains = ["mail.example.org"]\n')
    assert {finding.topic for finding in found} >= {"host", "mx"}


def without(*names: str) -> Zone:
    return {name: records for name, records in SOUND.items() if name not in names}


@pytest.mark.parametrize(
    ("zone", "grade", "topic", "words"),
    [
        (without("mail.example.org"), "warning", "host", "mail.example.org has no address"),
        (without("mail.example.org"), "failure", "mx", "is led to mail.example.org, which has no address"),
        (SOUND | {"mail.example.org": ["A 203.0.113.99"]}, "warning", "host", "none of the addresses of mail.example"),
        (SOUND | {"mail.example.org": ["A 10.0.0.7"]}, "warning", "host", "10.0.0.7 of mail.example.org cannot be"),
        (without("7.113.0.203.in-addr.arpa"), "warning", "reverse", "203.0.113.7 has no reverse name"),
        (SOUND | {V6_NAME: ["PTR h7.isp.example."]}, "warning", "reverse", "is h7.isp.example, which does not lead"),
        (without("example.org"), "warning", "mx", "example.org has no MX record"),
        (SOUND | {"example.org": ["MX 0 ."]}, "failure", "mx", "example.org publishes a null MX"),
        (SOUND | {"example.org": ["MX 5 gone.example."]}, "failure", "mx", "gone.example, which has no address"),
        (
            SOUND | {"example.org": ["MX 5 mx.example.net."], "mx.example.net": ["A 198.51.100.9"]},
            "warning",
            "mx",
            "mail for example.org is led to mx.example.net, not here",
        ),
        (SOUND | {"example.org": ["MX 10 mail.example.org."]}, "warning", "spf", "example.org has no SPF record"),
        (
            SOUND | {"example.org": ["MX 10 mail.example.org.", 'TXT "v=spf1 ip4:198.51.100.1 -all"']},
            "failure",
            "spf",
            "example.org forbids 203.0.113.7 to send (-all)",
        ),
        (
            SOUND | {"example.org": ["MX 10 mail.example.org.", 'TXT "v=spf1 ip4:203.0.113.7 ~all"']},
            "warning",
            "spf",
            "example.org does not vouch for 2001:db8::7 (softfail: ~all)",
        ),
        (
            SOUND | {"example.org": ["MX 10 mail.example.org.", 'TXT "v=spf1 ip5:1 -all"']},
            "failure",
            "spf",
            "the SPF record of example.org is wrong: example.org: 'ip5:1' is no mechanism",
        ),
        (without("_dmarc.example.org"), "warning", "dmarc", "example.org has no DMARC record"),
        (SOUND | {"_dmarc.example.org": ['TXT "v=DMARC1; rua=x"']}, "warning", "dmarc", "example.org has no p="),
        (SOUND | {"_dmarc.example.org": ['TXT "v=DMARC1;p=none"'] * 2 + ['TXT "v=DMARC1;p=reject"']}, "warning",
         "dmarc", "has 2 DMARC records"),
    ],
)  # fmt: skip
def test_what_is_wrong(zone: Zone, grade: str, topic: str, words: str) -> None:
    about = [finding for finding in found_in(zone) if finding.topic == topic]
    assert any(finding.grade == grade and words in finding.text and finding.remedy for finding in about), about


@pytest.mark.parametrize("name", ["mail.example.org", "7.113.0.203.in-addr.arpa", "example.org", "_dmarc.example.org"])
def test_what_cannot_be_looked_up_is_unknown(name: str) -> None:
    found = bad(found_in(SOUND, scripts={name: Script(rcode="SERVFAIL")}))
    assert {finding.grade for finding in found} == {"unknown"}
    assert all("SERVFAIL" in finding.text for finding in found)


def test_spf_of_an_address_that_others_may_never_see_is_a_warning() -> None:
    found = found_in(SOUND, sources=["198.51.100.77"])
    assert ("warning", "example.org forbids 198.51.100.77 to send (-all): its mail is refused") in [
        (finding.grade, finding.text) for finding in found
    ]


# Host name and reverse names


def test_behind_a_router_the_name_may_be_the_routers() -> None:
    zone = SOUND | {"mail.example.org": ["A 203.0.113.7"]}
    (host,) = bad(found_in(zone, sources=["10.0.0.5"], own=["10.0.0.5"]))
    assert (host.grade, host.topic) == ("unknown", "host")
    assert "mail.example.org is not an address of this machine, which has 10.0.0.5: a router stands" in host.text
    assert "pass" in host.remedy


@pytest.mark.parametrize(
    ("record", "words"),
    [([], "9.9.9.9 has no reverse name"), (["PTR other.example."], "9.9.9.9 is other.example, which does not lead")],
)
def test_a_source_that_the_internet_sees_needs_its_reverse_name(record: list[str], words: str) -> None:
    zone = SOUND | {"9.9.9.9.in-addr.arpa": record}
    found_all = found_in(zone, sources=["9.9.9.9"])
    (found,) = [each for each in found_all if each.topic == "reverse" and "9.9.9.9" in each.text]
    assert (found.grade, found.remedy) == ("failure", "have your provider set it to mail.example.org")
    assert words in found.text


def test_any_name_that_leads_back_will_do() -> None:
    names = {"7.113.0.203.in-addr.arpa": ["PTR x.example.", "PTR h.isp.example."], "h.isp.example": ["A 203.0.113.7"]}
    zone = SOUND | names
    assert "203.0.113.7 is h.isp.example, and back" in [finding.text for finding in found_in(zone)]


@pytest.mark.parametrize(("hostname", "grade"), [("localhost", "ok"), ("vm", "warning")])
def test_a_name_without_a_dot_is_neither_looked_up_nor_published(hostname: str, grade: str) -> None:
    found = found_in(SOUND, f'hostname = "{hostname}"\ndomains = ["none.example"]')
    assert (found[0].grade, found[0].text) == (
        grade,
        f"no other server can find {hostname}: that name is not looked up",
    )
    mx = next(finding for finding in found if finding.topic == "mx")
    assert hostname not in mx.remedy


def test_the_machine_that_knows_no_address_of_its_own() -> None:
    found = found_in(SOUND, 'hostname = "vm"\ndomains = ["example.org"]', sources=[])
    assert [finding.grade for finding in found if finding.topic in ("reverse", "spf")] == ["unknown", "unknown"]


# The hosted domains


def test_an_mx_host_that_is_this_server_under_another_name_leads_here() -> None:
    zone = SOUND | {"example.org": ["MX 5 mx.example.org."], "mx.example.org": ["A 203.0.113.7"]}
    assert "mail for example.org is led here" in [finding.text for finding in found_in(zone)]


def test_a_domain_without_mx_whose_own_address_is_ours_leads_here() -> None:
    zone = SOUND | {"example.org": ["A 203.0.113.7", 'TXT "v=spf1 a -all"']}
    assert "mail for example.org is led here, by its address: it has no MX record" in [
        finding.text for finding in found_in(zone)
    ]


def test_a_policy_of_the_domain_above_counts() -> None:
    zone = SOUND | {"a.b.example.org": ["MX 1 mail.example.org."]}
    text = 'hostname = "mail.example.org"\ndomains = ["a.b.example.org"]'
    assert "a.b.example.org has a DMARC policy: p=reject, from example.org" in [f.text for f in found_in(zone, text)]


def test_only_the_first_domains_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DOMAINS", 1)
    found = found_in(SOUND, 'hostname = "mail.example.org"\ndomains = ["example.org", "b.example", "c.example"]')
    assert "only the first 1 of 3 domains were looked at" in [finding.text for finding in found]
    assert not any("b.example" in finding.text for finding in found)


KEY = DkimKey.load("example.org", "s1", generate("ed25519"))
NAME, VALUE = dns_record(KEY)
OTHER = dns_record(DkimKey.load("example.org", "s1", generate("ed25519")))[1]


@pytest.mark.parametrize(
    ("records", "grade", "words"),
    [
        ([VALUE], "ok", "s1._domainkey.example.org is published, and is the key that signs"),
        ([VALUE.replace("v=DKIM1; ", "").replace("p=", "p= ")], "ok", "is the key that signs"),
        ([f"{VALUE}; t=y"], "warning", "is marked as a test"),
        ([], "warning", "is not published: nobody can verify the signatures"),
        ([OTHER], "failure", "it has another key (p= differs): signatures are refused"),
        ([VALUE.replace("k=ed25519", "k=rsa")], "failure", "signatures are refused"),
        (["v=DKIM1; k=ed25519; p="], "failure", "is revoked"),
    ],
)
def test_the_record_of_a_key(records: list[str], grade: str, words: str) -> None:
    zone = SOUND | {NAME: [f'TXT "{record}"' for record in records]}
    (found,) = [finding for finding in found_in(zone, keys=[KEY]) if finding.topic == "dkim"]
    assert found.grade == grade
    assert words in found.text


def test_a_long_record_in_pieces() -> None:
    key = DkimKey.load("example.org", "long", generate("rsa"))
    name, value = dns_record(key)
    found = found_in(SOUND | {name: [f'TXT "{value[:200]}" "{value[200:]}"']}, keys=[key])
    assert "long._domainkey.example.org is published, and is the key that signs" in [each.text for each in found]


def test_tags() -> None:
    assert tags_of("v=DKIM1 ; p = ab c\td; t=y:s;") == {"v": "DKIM1", "p": "abcd", "t": "y:s"}


# The way out


RELAYHOST = f"{MINE}[smtp]\nrelayhost = "


@pytest.mark.parametrize("written", ['"[relay.example]:587"', '"example.net"', '"[198.51.100.9]"', '"relay.example"'])
def test_a_relayhost_that_can_be_found(written: str) -> None:
    zone = SOUND | {"relay.example": ["A 198.51.100.9"], "example.net": ["MX 1 relay.example."]}
    found = found_in(zone, RELAYHOST + written)
    assert bad(found) == []
    told = {finding.topic: finding.text for finding in found}
    assert "not needed: mail for others leaves by" in told["reverse"]
    assert "has to cover the addresses that" in told["spf"]


@pytest.mark.parametrize(
    ("written", "grade", "words"),
    [
        ('"[nobody.example]:587"', "warning", "the relayhost nobody.example has no address; until that changes, mail"),
        ('"nobody.example"', "warning", "the relayhost nobody.example has no address"),
        ('"[relay.broken]"', "unknown", "the relayhost relay.broken cannot be looked up: "),
    ],
)
def test_a_relayhost_that_cannot_be_found(written: str, grade: str, words: str) -> None:
    found = found_in(SOUND, RELAYHOST + written, scripts={"relay.broken": Script(rcode="SERVFAIL")})
    (only,) = bad(found)
    assert (only.topic, only.grade) == ("sending", grade)
    assert words in only.text


# The name server


@pytest.mark.parametrize(
    ("scripts", "gone", "grade", "words"),
    [
        ({}, (), "ok", "the name server validates DNSSEC"),
        ({"ietf.org": Script()}, (), "warning", "may validate DNSSEC, and is not believed"),
        ({"ietf.org": Script(), "dnssec-failed.org": Script()}, (), "warning", "does not validate DNSSEC"),
        ({"ietf.org": Script()}, ("ietf.org",), "unknown", "ietf.org cannot be looked up"),
        ({"ietf.org": Script(rcode="SERVFAIL")}, (), "unknown", "ietf.org cannot be looked up"),
    ],
)
def test_dnssec(scripts: dict[str, Script], gone: tuple[str, ...], grade: str, words: str) -> None:
    (found,) = [finding for finding in found_in(without(*gone), scripts=scripts) if finding.topic == "dnssec"]
    assert found.grade == grade
    assert words in found.text


def test_name_servers_out_of_reach_are_one_warning() -> None:
    nobody = DnsOptions(nameservers=(Endpoint("127.0.0.1", 9),))
    (only,) = look_up({}, lambda dns: check_dns(config(), dns, facts()), options=nobody)
    assert (only.grade, only.topic) == ("warning", "dns")
    assert "out of reach" in only.text


class Silence:
    """A resolver that never answers for some names, at once for others."""

    def __init__(self, silent: str = "") -> None:
        self._silent = silent

    async def lookup(self, name: str, rtype: RecordType) -> Answer[str]:
        if name.endswith(self._silent):
            await asyncio.Event().wait()
        return Answer(Status.NO_DATA)


def test_silence_ends_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    (only,) = asyncio.run(check_dns(config(), Silence(), facts()))  # type: ignore[arg-type]  # a small one
    assert (only.grade, only.topic) == ("warning", "dns")
    assert "no answer within 0.05 s" in only.text


def test_what_is_late_is_named_and_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    text = 'hostname = "mail.example.net"\ndomains = ["example.org"]'
    found = asyncio.run(check_dns(config(text), Silence("example.org"), facts()))  # type: ignore[arg-type]  # a small one
    assert "not looked up in time: mail for example.org" in [finding.text for finding in found]
    assert "mail.example.net has no address" in [finding.text for finding in found]


def test_a_fault_of_ours_is_unknown_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> list[Finding]:
        raise RuntimeError("oh")

    monkeypatch.setattr(module, "check_reverse", broken)
    found = found_in(SOUND)
    assert [finding.text for finding in bad(found)] == ["reverse names: internal fault: RuntimeError('oh')"]


def test_a_silent_name_server_is_given_up_in_time() -> None:
    assert TIMEOUT * TRIES < module.PATIENCE  # as the command makes its resolver
    silent = {name: Script(silent=True) for name in ("ietf.org", "mail.example.org")}
    (only,) = look_up(SOUND, lambda dns: check_dns(config(), dns, facts()), silent)
    assert "out of reach" in only.text


# TLSA


def test_tlsa_records_are_held_against_the_certificate() -> None:
    authority = CertificateAuthority()
    deep = authority.intermediate().issue("mail.example.org")
    chain = x509.load_pem_x509_certificates(deep.chain_pem)
    spki = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whole = chain[1].public_bytes(Encoding.DER)
    good = f"3 1 1 {hashlib.sha256(spki).hexdigest()}"
    assert fits(good, chain)
    assert fits(f"2 0 2 {hashlib.sha512(whole).hexdigest()}", chain)
    assert fits(f"2 0 0 {whole.hex()}", chain)
    assert not fits(f"3 0 1 {hashlib.sha256(whole).hexdigest()}", chain)
    zone = SOUND | {"_25._tcp.mail.example.org": [f"TLSA {good}"]}
    assert "fits the certificate" in hints(zone, deep.chain_pem).text
    other = CertificateAuthority().issue("mail.example.org").chain_pem
    assert hints(zone, other).grade == "warning"
    signed = {"_25._tcp.mail.example.org": Script(authentic=True)}
    assert hints(zone, other, signed).grade == "failure"
    assert hints(zone, b"").grade == "unknown"


def hints(zone: Zone, chain_pem: bytes, scripts: dict[str, Script] | None = None) -> Finding:
    found = found_in(zone, scripts=scripts, chain_pem=chain_pem)
    (only,) = [finding for finding in found if "_25._tcp" in finding.text]
    return only


# Where mail leaves from


@pytest.mark.parametrize(
    ("settings", "sources"),
    [
        ("", ("203.0.113.7", "2001:db8::7")),
        ('[smtp]\nbind_addresses = ["203.0.113.8"]', ("203.0.113.8", "2001:db8::7")),
        (
            '[[smtp.pool]]\nname = "bulk"\naddresses = ["203.0.113.9", "203.0.113.7"]',
            ("203.0.113.7", "2001:db8::7", "203.0.113.9"),
        ),
    ],
    ids=["the kernel's choice", "bound in one family", "a pool"],
)
def test_mail_leaves_from_what_is_configured_and_what_the_kernel_chooses(
    settings: str, sources: tuple[str, ...]
) -> None:
    assert leaving_from(config(MINE + settings), ["203.0.113.7", "2001:db8::7"]) == sources


def test_each_address_of_a_pool_needs_a_reverse_name() -> None:
    found = found_in(SOUND, sources=("203.0.113.7", "203.0.113.9"))
    assert [str(finding.text) for finding in bad(found) if finding.topic == "reverse"] == [
        "203.0.113.9 has no reverse name; many servers refuse mail from such an address"
    ]
