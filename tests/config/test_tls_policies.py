"""`[[smtp.policy]]`, and what is said where DANE can't come to anything."""

from pathlib import Path

import pytest

from tests.config.facts import FACTS
from valija.config import Config, parse
from valija.policy.tls_rules import TlsRule


def config(text: str) -> Config:
    return parse(text, "valija.toml", Path("/etc/valija"), FACTS)


def test_rules_are_read_as_they_are_compared() -> None:
    read = config(
        """
        [smtp]
        tls_security_level = "encrypt"
        [[smtp.policy]]
        domain = "Bücher.Example."
        [[smtp.policy]]
        domain = ".Example.Net"
        tls_security_level = "secure"
        match = ["nexthop", ".Partner.Example"]
        [[smtp.policy]]
        domain = "[2001:DB8:0::1]:587"
        tls_security_level = "fingerprint"
        fingerprints = ["AB:"""
        + "CD:" * 30
        + """EF"]
        """
    )
    assert read.smtp.policies == (
        TlsRule("xn--bcher-kva.example", "encrypt"),
        TlsRule(".example.net", "secure", match=("nexthop", ".partner.example")),
        TlsRule("[2001:db8::1]:587", "fingerprint", fingerprints=(bytes.fromhex("ab" + "cd" * 30 + "ef"),)),
    )


ASKED = '[smtp]\ntls_security_level = "dane"\n'
RULE = '[[smtp.policy]]\ndomain = "example.net"\ntls_security_level = "dane-only"\n'


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (ASKED + '[dns]\nnameservers = ["192.0.2.53"]', ["[smtp] tls_security_level"]),
        (RULE + '[dns]\nnameservers = ["127.0.0.1", "2001:db8::53"]', ["[[smtp.policy]] #1 tls_security_level"]),
        (ASKED + RULE + '[dns]\nnameservers = ["192.0.2.53"]', ["[smtp]", "[[smtp.policy]] #1"]),
        (ASKED + '[dns]\nnameservers = ["192.0.2.53"]\ntrust_ad = true', []),
        (ASKED + RULE + '[dns]\nnameservers = ["127.0.0.1", "::1"]', []),
        ('[dns]\nnameservers = ["192.0.2.53"]', []),
    ],
)
def test_dane_needs_a_resolver_whose_word_is_taken(text: str, places: list[str]) -> None:
    told = [str(each) for each in config(text).warnings if "DNSSEC" in each.reason]
    assert len(told) == len(places)
    for line, place in zip(told, places, strict=True):
        assert place in line
        assert "trust_ad" in line
