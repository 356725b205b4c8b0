"""[mailbox], [forwarding] and the delimiter: where mail of the hosted domains goes, as it is written."""

from pathlib import Path

import pytest

from valija.config import MACHINE, Config, parse
from valija.config.faults import ConfigError
from valija.policy.route import Router

HEAD = 'hostname = "mail.example.org"\ndomains = ["example.org", "example.net"]\n'


def read(text: str) -> Config:
    return parse(HEAD + text, "valija.toml", Path("/etc/valija"), MACHINE)


def test_the_defaults() -> None:
    config = read("")
    assert config.recipient_delimiter == "+"
    assert config.mailbox.lmtp == ""
    assert (config.forwarding.srs, config.forwarding.srs_domain, config.forwarding.arc) == (True, "", True)
    assert isinstance(config.router, Router)


@pytest.mark.parametrize(
    ("written", "place", "transport"),
    [
        ("maildir", "", "maildir"),
        ("lmtp:unix:/run/dovecot/lmtp", "/run/dovecot/lmtp", "lmtp"),
        ("lmtp:unix:dovecot/lmtp", "/etc/valija/dovecot/lmtp", "lmtp"),
        ("lmtp:inet:127.0.0.1:24", "inet:127.0.0.1:24", "lmtp"),
        ("lmtp:inet:[::1]:24", "inet:[::1]:24", "lmtp"),
        ("lmtp:inet:dovecot:24", "inet:dovecot:24", "lmtp"),
    ],
)
def test_transports(written: str, place: str, transport: str) -> None:
    config = read(f'[mailbox]\ntransport = "{written}"')
    assert config.mailbox.lmtp == place
    route = config.router.route(None, "alice@example.org")  # type: ignore[arg-type]  # a hosted domain asks no sender
    assert (route.transport, route.next_hop, route.is_final) == (transport, "example.org", True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[mailbox]\ntransport = "lmtp"', "it is no way to a mailbox"),
        ('[mailbox]\ntransport = "lmtp:unix:"', "the socket has no path"),
        ('[mailbox]\ntransport = "lmtp:inet:127.0.0.1"', "the host or the port is missing"),
        ('[mailbox]\ntransport = "lmtp:inet:::1:24"', "square brackets"),
        ('[mailbox]\ntransport = "lmtp:inet:host:99999"', "a port is a number"),
        (f'[mailbox]\ntransport = "lmtp:unix:/{"x" * 200}"', "a socket's path"),
        ("[mailbox]\ntransport = 24", "it is not a string"),
        ('[forwarding]\nsrs_domain = "elsewhere.example"', "it is not hosted here"),
        ('[forwarding]\nsrs_domain = "no domain"', "domain"),
        ('[forwarding]\nsrs = "yes"', "neither true nor false"),
        ('recipient_delimiter = "."', "it parts no subaddress"),
        ('recipient_delimiter = "+-"', "it parts no subaddress"),
        ("recipient_delimiter = 1", "it is not a string"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(text)


@pytest.mark.parametrize("delimiter", ["", "+", "-", "=", "_", "#"])
def test_delimiters(delimiter: str) -> None:
    assert read(f'recipient_delimiter = "{delimiter}"').recipient_delimiter == delimiter


def test_a_domain_of_return_addresses() -> None:
    assert read('[forwarding]\nsrs_domain = "EXAMPLE.net"').forwarding.srs_domain == "example.net"
