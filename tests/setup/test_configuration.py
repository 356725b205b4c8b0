"""The first configuration is one that valija reads, and so is each of its examples."""

import re
from itertools import product
from pathlib import Path

import pytest

from tests.config.facts import FACTS
from tests.setup.samples import PAIR, chosen, configuration, machine
from valija.config import parse
from valija.setup.choices import Choices
from valija.setup.configuration import configuration_text
from valija.setup.facts import Names

ALL = [
    chosen(machine(has_dovecot=has_dovecot, certbot=certbot, names=names), email=email)
    for has_dovecot, certbot, names, email in product(
        (False, True), (None, PAIR), (machine().names, None, Names(("10.0.0.5",))), ("", "postmaster@example.org")
    )
]


@pytest.mark.parametrize("choices", ALL)
def test_it_says_what_was_chosen(choices: Choices) -> None:
    config = configuration(choices)
    assert config.warnings == ()
    assert config.hostname == "mail.example.org"
    assert config.domains == choices.domains
    assert config.sasl.type == choices.sasl.value
    assert config.tls.certificate == choices.certificate.value
    assert config.tls.acme_email == choices.wish.email
    assert config.mynetworks == ("127.0.0.0/8", "[::1]/128")
    assert (config.user, str(config.data_dir)) == ("valija", "/var/lib/valija")
    if choices.pair:
        assert (config.tls.cert_file, config.tls.key_file) == (PAIR.cert_file, PAIR.key_file)


def examples(text: str) -> list[str]:
    """Return the texts in which one example has taken the place of the setting, for each."""
    lines = text.splitlines()
    found = []
    for place, line in enumerate(lines):
        if example := re.fullmatch(r"#(\w+) = .*", line):
            table = max((at for at in range(place) if lines[at].startswith("[")), default=-1)
            end = next((at for at in range(place, len(lines)) if lines[at].startswith("[")), len(lines))
            rest = [
                "" if table < at < end and other.startswith(f"{example[1]} = ") else other
                for at, other in enumerate(lines)
            ]
            rest[place] = line[1:]
            found.append("\n".join(rest))
    return found


@pytest.mark.parametrize("choices", ALL)
def test_each_example_in_it_can_be_used(choices: Choices) -> None:
    texts = examples(configuration_text(choices))
    assert len(texts) > 10
    for text in texts:
        parse(text, "valija.toml", Path("/etc/valija"), FACTS)


def test_no_line_is_too_long_and_no_reason_breaks_out_of_its_comment() -> None:
    long = machine(names=Names(failed="nobody answers " * 20))
    text = configuration_text(chosen(long, domains=('ex"ample',)))
    assert all(len(line) <= 120 for line in text.splitlines())
    assert 'domains = ["ex\\"ample"]' in text


def test_what_needs_no_name_in_the_dns_is_not_offered_to_one_without() -> None:
    assert "acme_email" not in configuration_text(chosen(hostname="mailhost"))
