"""What the server announces, and to whom."""

import pytest

from valija.mail.origin import Role
from valija.smtp.extensions import banner, ehlo_reply, helo_reply
from valija.smtp.rules import ServerRules, TlsOffer


def keywords(rules: ServerRules, *, tls: bool, mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")) -> list[str]:
    return ehlo_reply(rules, tls, mechanisms).text.split("\n")[1:]


def test_what_is_always_announced() -> None:
    rules = ServerRules("mx.example.org", "smtpd", size_limit=1000, recipient_limit=7, tls="none")
    assert sorted(keywords(rules, tls=False)) == [
        "8BITMIME",
        "CHUNKING",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "LIMITS RCPTMAX=7",
        "PIPELINING",
        "SIZE 1000",
        "SMTPUTF8",
    ]


@pytest.mark.parametrize(
    ("role", "offer", "tls", "announced"),
    [
        ("smtpd", "offered", False, True),
        ("smtpd", "required", False, True),
        ("smtpd", "none", False, False),
        ("smtpd", "offered", True, False),
        ("submission", "none", False, True),
        ("submission", "offered", True, False),
        ("submissions", "offered", True, False),
        ("submissions", "offered", False, False),
    ],
)
def test_starttls(role: Role, offer: TlsOffer, tls: bool, announced: bool) -> None:
    assert ("STARTTLS" in keywords(ServerRules("mx.example.org", role, tls=offer), tls=tls)) == announced


@pytest.mark.parametrize(
    ("role", "tls", "announced"),
    [
        ("smtpd", True, False),
        ("smtpd", False, False),
        ("submission", False, False),
        ("submission", True, True),
        ("submissions", True, True),
        ("submissions", False, False),
    ],
)
def test_auth_inside_tls_and_never_on_smtpd(role: Role, tls: bool, announced: bool) -> None:
    rules = ServerRules("mx.example.org", role)
    assert ("AUTH PLAIN LOGIN" in keywords(rules, tls=tls)) == announced
    assert not any(word.startswith("AUTH") for word in keywords(rules, tls=tls, mechanisms=()))


def test_names() -> None:
    rules = ServerRules("mx.example.org", "smtpd")
    assert str(banner(rules)) == "220 mx.example.org ESMTP"
    assert str(helo_reply(rules)) == "250 mx.example.org"
