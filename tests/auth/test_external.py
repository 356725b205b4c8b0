"""EXTERNAL: a client certificate is a login where its address is one."""

import asyncio
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.ca import CertificateAuthority
from valija.auth.accounts import Accounts
from valija.auth.backend import Challenge, ConnectionFacts, Malformed, Step, Success, Unavailable, Wrong, fitting
from valija.auth.external import ExternalBackend, mail_addresses
from valija.auth.identities import account_logins

CA = CertificateAuthority("Users")
ALICE, BOB = "alice@example.org", "bob@example.org"


class Tls:
    """A channel in which the client has shown a certificate for these names, none for none."""

    def __init__(self, *names: str) -> None:
        self.certificate = der(*names) if names else b""

    def binding(self) -> bytes:
        return b"bound"

    def client_certificate(self) -> bytes:
        return self.certificate


def der(*names: str) -> bytes:
    return x509.load_pem_x509_certificate(CA.issue(*names).chain_pem).public_bytes(Encoding.DER)


def facts(channel: Tls | None, *, secured: bool = True) -> ConnectionFacts:
    return ConnectionFacts(secured, "192.0.2.1", 40_000, "192.0.2.2", 587, channel)


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    accounts = Accounts(tmp_path / "accounts.sqlite3")
    for address in (ALICE, BOB):
        accounts.add(address, "x")
    accounts.add_alias("sales@example.org", [ALICE])
    return accounts


def says(accounts: Accounts, response: bytes | None, *names: str) -> Step:
    exchange = ExternalBackend(account_logins(accounts)).start("external", facts(Tls(*names)))
    assert exchange is not None
    return asyncio.run(exchange.respond(response))


def test_addresses_of_a_certificate() -> None:
    assert mail_addresses(der("host.example", ALICE, "192.0.2.1", BOB)) == (ALICE, BOB)
    assert mail_addresses(der("host.example")) == ()
    without = CA.issue(common_name=ALICE).chain_pem  # a common name is no address
    assert mail_addresses(x509.load_pem_x509_certificate(without).public_bytes(Encoding.DER)) == ()
    assert mail_addresses(b"no certificate") == ()


@pytest.mark.parametrize(
    ("names", "authzid", "step"),
    [
        ([ALICE], b"", Success(ALICE)),
        (["Alice@EXAMPLE.org"], b"", Success(ALICE)),
        ([ALICE], b"ALICE@example.org", Success(ALICE)),
        ([ALICE, "host.example", "elsewhere@example.net"], b"", Success(ALICE)),
        ([ALICE, BOB], b"bob@example.org", Success(BOB)),
        ([ALICE, BOB], b"", Wrong(f"{ALICE}, {BOB}")),  # which of them?
        ([ALICE], b"bob@example.org", Wrong(BOB)),
        ([ALICE], b"alice", Wrong("alice")),
        ([ALICE], b"nobody@example.org", Wrong("nobody@example.org")),
        (["nobody@example.org"], b"", Wrong("nobody@example.org")),
        (["nobody@example.org"], b"nobody@example.org", Wrong("nobody@example.org")),
        (["sales@example.org"], b"", Wrong("sales@example.org")),  # an alias is no login
        (["alice+x@example.org"], b"", Wrong("alice+x@example.org")),
        (["host.example"], b"", Wrong("")),
        ([ALICE], b"\xff", Malformed()),
        ([ALICE], b"alice@example.org\0", Malformed()),
    ],
)
def test_login(accounts: Accounts, names: list[str], authzid: bytes, step: Step) -> None:
    assert says(accounts, authzid, *names) == step


def test_without_an_initial_response(accounts: Accounts) -> None:
    assert says(accounts, None, ALICE) == Challenge(b"")


def test_only_where_a_certificate_was_shown(accounts: Accounts) -> None:
    backend = ExternalBackend(account_logins(accounts))
    assert backend.start("EXTERNAL", facts(Tls())) is None
    assert backend.start("EXTERNAL", facts(None)) is None
    assert backend.start("EXTERNAL", facts(Tls(ALICE), secured=False)) is None
    assert backend.start("PLAIN", facts(Tls(ALICE))) is None


def test_fault_is_unavailable(accounts: Accounts) -> None:
    accounts._connection.execute("DROP TABLE account")
    assert isinstance(says(accounts, b"", ALICE), Unavailable)


def test_what_is_offered_fits_the_connection() -> None:
    every = ("EXTERNAL", "SCRAM-SHA-256-PLUS", "PLAIN")
    assert fitting(every, None) == ("PLAIN",)
    assert fitting(every, Tls()) == ("SCRAM-SHA-256-PLUS", "PLAIN")
    assert fitting(every, Tls(ALICE)) == every
