"""Who runs a host, by its name."""

import pytest

from valija.policy.mx_operator import operator_of


@pytest.mark.parametrize(
    ("host", "operator"),
    [
        ("alt1.gmail-smtp-in.l.google.com", "google.com"),
        ("ASPMX.L.GOOGLE.COM", "google.com"),
        ("example-net.mail.protection.outlook.com", "outlook.com"),
        ("mx.example.co.uk", "example.co.uk"),
        ("mail.exemplo.com.br", "exemplo.com.br"),
        ("mx1.exemple.gouv.fr", "exemple.gouv.fr"),
        ("mx.example.de", "example.de"),
        ("mx.co.example", "co.example"),
        ("example.net.", "example.net"),
        ("co.uk", "co.uk"),
        ("localhost", "localhost"),
        ("192.0.2.25", "192.0.2.25"),
        ("2001:db8::25", "2001:db8::25"),
        ("mx.xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"),
        ("", ""),
    ],
)
def test_operator(host: str, operator: str) -> None:
    assert operator_of(host) == operator
