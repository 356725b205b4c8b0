"""What is served over HTTPS, as the configuration says it, and what is worth a warning."""

from pathlib import Path

import pytest

from tests.config.facts import FACTS
from valija.config import Config, parse
from valija.mail.endpoint import Endpoint

NAMED = 'hostname = "mail.example.org"\ndomains = ["example.org"]\n'
ON = f'{NAMED}[https]\nlisten = ["0.0.0.0:443"]\n'


def config(text: str) -> Config:
    return parse(text, "valija.toml", Path("/etc/valija"), FACTS)


def test_it_is_off_and_says_nothing_by_itself() -> None:
    plain = config(NAMED)
    assert plain.https.listen == ()
    assert plain.warnings == ()


def test_the_policy_names_the_server_first() -> None:
    site = config(
        f'{ON}[mta_sts]\nmode = "enforce"\nmx = ["*.backup.example", "mail.example.org"]\nmax_age = "30d"\n'
    ).site
    assert site.policy.splitlines() == [
        "version: STSv1",
        "mode: enforce",
        "mx: mail.example.org",
        "mx: *.backup.example",
        "max_age: 2592000",
    ]


@pytest.mark.parametrize(
    ("tls", "missing"),
    [
        ("", "mta-sts.example.org, autoconfig.example.org, autodiscover.example.org"),
        ('[tls]\nnames = ["mta-sts.example.org"]\n', "autoconfig.example.org, autodiscover.example.org"),
        (
            '[tls]\ncertificate = "acme"\nacme_challenge = "dns-01"\nacme_dns_hook = "/x"\nnames = ["*.example.org"]\n',
            "",
        ),
        ('[tls]\ncertificate = "files"\ncert_file = "c"\nkey_file = "k"\n', ""),
    ],
)
def test_names_without_a_certificate_are_told(tls: str, missing: str) -> None:
    told = [str(each) for each in config(f"{ON}{tls}").warnings if "no certificate is for" in str(each)]
    assert [f"no certificate is for {missing}, which others ask for" in each for each in told] == [True] * bool(missing)


def test_other_challenges_leave_the_port_alone() -> None:
    acme = config(f'{ON}[tls]\ncertificate = "acme"\n')
    assert acme.https.listen == (Endpoint("0.0.0.0", 443),)
    assert acme.tls.challenge_listen == (Endpoint("0.0.0.0", 80), Endpoint("::", 80))
