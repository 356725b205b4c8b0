"""What rspamd is told: the facts, and nothing that a client could make of them."""

import pytest

from valija.mail.origin import TlsFacts
from valija.rspamd.request import MOST_FOR_RECIPIENTS, Facts, request_fields

KNOWN = Facts(
    queue_id="3f2a",
    reverse_path="bob@example.net",
    recipients=("alice@example.org", "carol@example.org"),
    mta_name="mail.example.org",
    address="192.0.2.7",
    helo="mx.example.net",
    host_name="mx.example.net",
    login="alice@example.org",
    tls=TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
)


def test_what_is_known_is_told() -> None:
    assert request_fields(KNOWN) == [
        ("Queue-Id", "3f2a"),
        ("From", "<bob@example.net>"),
        ("Rcpt", "<alice@example.org>"),
        ("Rcpt", "<carol@example.org>"),
        ("MTA-Name", "mail.example.org"),
        ("IP", "192.0.2.7"),
        ("Helo", "mx.example.net"),
        ("Hostname", "mx.example.net"),
        ("User", "alice@example.org"),
        ("TLS-Version", "TLSv1.3"),
        ("TLS-Cipher", "TLS_AES_256_GCM_SHA384"),
    ]


def test_what_is_not_known_is_not_told() -> None:
    told = request_fields(Facts(queue_id="3f2a", reverse_path="", recipients=("a@b.example",), mta_name="us.example"))
    assert told == [("Queue-Id", "3f2a"), ("From", "<>"), ("Rcpt", "<a@b.example>"), ("MTA-Name", "us.example")]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\0", "\u2028", "\x85", "\x0b"])
def test_no_value_ends_its_field(end: str) -> None:
    """rspamd reads the file that a request names: `File: /etc/shadow` must not come from a client."""
    bad = f"x{end}File: /etc/shadow"
    facts = Facts(bad, bad, (bad,), bad, bad, bad, bad, bad, TlsFacts(bad, bad))
    for _, value in request_fields(facts):
        assert value.isprintable()


def test_what_is_no_text_is_told_as_one() -> None:
    told = dict(request_fields(Facts("3f2a", "b\udcffb@example.net", (), "us.example", helo="\u00fcber.example")))
    assert told["From"] == "<b\\xFFb@example.net>"
    assert told["Helo"] == "\u00fcber.example"


def test_of_very_many_recipients_the_first_are_told() -> None:
    many = [f"{'x' * 60}{number}@example.org" for number in range(5000)]
    told = [value for name, value in request_fields(Facts("3f2a", "", many, "us")) if name == "Rcpt"]
    assert told == [f"<{address}>" for address in many[: len(told)]]
    assert len(told) > 100
    assert sum(len(f"Rcpt: {value}\r\n") for value in told) <= MOST_FOR_RECIPIENTS
