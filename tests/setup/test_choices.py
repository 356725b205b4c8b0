"""What a first configuration says on which machine, and the reason that is given."""

import pytest

from tests.setup.samples import ADDRESS, HOST, NOW, PAIR, chosen, machine
from valija.admin.check_ports import Holder
from valija.setup.choices import candidate_domain
from valija.setup.facts import CertbotPair, Machine, Names


def test_a_name_that_leads_here_gets_a_certificate_from_an_authority() -> None:
    assert chosen().certificate.value == "acme"


def test_what_certbot_keeps_is_used() -> None:
    choices = chosen(machine(certbot=PAIR, holders={80: (Holder(7, "nginx"),)}))
    assert choices.certificate.value == "files"
    assert choices.pair == PAIR


def test_what_certbot_kept_once_is_not() -> None:
    ended = CertbotPair(PAIR.cert_file, PAIR.key_file, NOW - 1)
    choices = chosen(machine(certbot=ended))
    assert choices.certificate.value == "acme"
    assert choices.certificate.why.startswith("certbot's ended on 2027-01-15, and ")
    assert choices.pair is None


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (machine(names=None), "the DNS was not asked"),
        (machine(names=Names(failed="no answer within 8 s")), "cannot be looked up (no answer within 8 s)"),
        (machine(names=Names()), "has no address yet: publish one"),
        (
            machine(names=Names(("198.51.100.9",)), local=frozenset()),
            f"{HOST} is 198.51.100.9, and this machine's address is {ADDRESS}",
        ),
        (
            machine(names=Names((ADDRESS, "2001:db8::9"))),
            f"{HOST} is 2001:db8::9, and this machine's address is {ADDRESS}",
        ),
        (machine(sources=("10.0.0.5",), local=frozenset()), "where a router passes port 80 on to it"),
        (machine(holders={80: (Holder(7, "nginx"),)}), "nginx has port 80; name the folder it serves: acme_webroot"),
        (machine(holders={80: (Holder(),)}), "another program has port 80"),
        (
            machine(names=Names(("10.0.0.5",)), local=frozenset({"10.0.0.5"})),
            "which the internet cannot reach",
        ),
    ],
)
def test_where_an_order_might_fail_the_certificate_is_self_signed_and_the_reason_told(facts: Machine, why: str) -> None:
    certificate = chosen(facts).certificate
    assert certificate.value == "self-signed"
    assert why in certificate.why


def test_no_authority_vouches_for_a_short_name() -> None:
    assert "without a dot" in chosen(hostname="mailhost").certificate.why


def test_dovecot_judges_logins_where_it_is() -> None:
    assert chosen(machine(has_dovecot=True)).sasl.value == "dovecot"


def test_the_systems_passwords_are_nothing_for_the_internet_to_guess_at() -> None:
    assert chosen().sasl.value == "accounts"


@pytest.mark.parametrize(
    ("hostname", "above"),
    [
        ("mail.example.org", "example.org"),
        ("correo.ejemplo.es", "ejemplo.es"),
        ("mx1.example.co.uk", "example.co.uk"),
        ("mail.org", ""),
        ("www.example.org", ""),
        ("example.org", ""),
        ("localhost", ""),
    ],
)
def test_the_domain_that_a_name_stands_for(hostname: str, above: str) -> None:
    assert candidate_domain(hostname) == above


def test_domains_are_those_that_were_asked_for() -> None:
    assert chosen(domains=("a.example", "b.example")).domains == ("a.example", "b.example")


def test_the_domain_above_is_hosted() -> None:
    assert chosen().domains == ("example.org",)
    assert chosen(machine(names=None)).domains == ("example.org",)
    assert chosen(machine(names=Names((ADDRESS,), mail_hosts={"example.org": ()}))).domains == ("example.org",)


def test_a_domain_whose_mail_goes_elsewhere_is_not_hosted() -> None:
    """Its mail would be kept here, or refused, and never get where its users read it."""
    facts = machine(names=Names((ADDRESS,), mail_hosts={"example.org": ("aspmx.example.net",)}))
    choices = chosen(facts)
    assert choices.domains == (HOST,)
    assert "mail for example.org is led to aspmx.example.net" in choices.why_domains


@pytest.mark.parametrize(
    ("mailname", "hosts", "domain"),
    [
        ("example.org", (), "example.org"),
        ("example.org", (HOST,), "web7.example.org"),  # which takes its mail
        ("other.example", (), "web7.example.org"),
    ],
)
def test_the_machines_mail_name_counts(mailname: str, hosts: tuple[str, ...], domain: str) -> None:
    facts = machine(mailname=mailname, names=Names((ADDRESS,), mail_hosts={"example.org": hosts}))
    assert chosen(facts, hostname="web7.example.org").domains == (domain,)
