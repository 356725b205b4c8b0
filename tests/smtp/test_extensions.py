"""What the server announces, and to whom."""

import pytest

from valija.mail.origin import Role
from valija.smtp.extensions import banner, ehlo_reply, helo_reply, mail_offer
from valija.smtp.rules import ServerRules, TlsOffer


def keywords(rules: ServerRules, *, tls: bool, mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")) -> list[str]:
    return ehlo_reply(rules, tls, mechanisms).text.split("\n")[1:]


def test_what_is_always_announced() -> None:
    rules = ServerRules("mx.example.org", "smtpd", size_limit=1000, recipient_limit=7, tls="none")
    assert sorted(keywords(rules, tls=False)) == [
        "8BITMIME",
        "CHUNKING",
        "DELIVERBY",
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


@pytest.mark.parametrize("role", ["smtpd", "submission", "submissions"])
def test_requiretls_inside_tls_and_nowhere_else(role: Role) -> None:
    rules = ServerRules("mx.example.org", role)
    assert "REQUIRETLS" in keywords(rules, tls=True)
    assert "REQUIRETLS" not in keywords(rules, tls=False)
    assert "REQUIRETLS" in mail_offer(rules, True).parameters
    assert "REQUIRETLS" not in mail_offer(rules, False).parameters


@pytest.mark.parametrize("tls", [False, True])
def test_what_is_for_users_is_announced_to_users(tls: bool) -> None:
    strangers = keywords(ServerRules("mx.example.org", "smtpd", future_release_limit=3600.0), tls=tls)
    assert not any(word.split()[0] in ("BINARYMIME", "MT-PRIORITY", "FUTURERELEASE") for word in strangers)
    rules = ServerRules("mx.example.org", "submissions", future_release_limit=3600.0)
    users = ehlo_reply(rules, tls, ("PLAIN",), 1_000_000_000.9)
    assert {"BINARYMIME", "MT-PRIORITY", "FUTURERELEASE 3600 2001-09-09T02:46:40Z"} <= set(users.text.split("\n"))


def test_no_time_to_hold_mail_no_announcement() -> None:
    rules = ServerRules("mx.example.org", "submission", future_release_limit=0.0)
    assert not any(word.startswith("FUTURERELEASE") for word in keywords(rules, tls=True))
    assert not mail_offer(rules, True).parameters & {"HOLDFOR", "HOLDUNTIL"}


@pytest.mark.parametrize("role", ["smtpd", "submission", "submissions"])
@pytest.mark.parametrize("tls", [False, True])
def test_each_parameter_belongs_to_an_announced_extension(role: Role, tls: bool) -> None:
    rules = ServerRules("mx.example.org", role, future_release_limit=60.0)
    announced = {word.split()[0] for word in keywords(rules, tls=tls)}
    homes = {
        "SIZE": "SIZE",
        "BODY": "8BITMIME",
        "SMTPUTF8": "SMTPUTF8",
        "RET": "DSN",
        "ENVID": "DSN",
        "BY": "DELIVERBY",
        "REQUIRETLS": "REQUIRETLS",
        "MT-PRIORITY": "MT-PRIORITY",
        "HOLDFOR": "FUTURERELEASE",
        "HOLDUNTIL": "FUTURERELEASE",
    }
    offer = mail_offer(rules, tls)
    assert {homes[name] for name in offer.parameters - {"AUTH"}} <= announced
    assert {name for name, home in homes.items() if home in announced} <= offer.parameters
    assert offer.binary == ("BINARYMIME" in announced)


def test_names() -> None:
    rules = ServerRules("mx.example.org", "smtpd")
    assert str(banner(rules)) == "220 mx.example.org ESMTP"
    assert str(helo_reply(rules)) == "250 mx.example.org"
