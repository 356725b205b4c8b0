"""SCRAM against the embedded accounts, by a client of another hand."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import apsw
import pytest
from scramp import ScramClient  # type: ignore[import-untyped]  # it has no types

from valija.auth.accounts import SCRAM_ITERATIONS, Accounts
from valija.auth.backend import Challenge, ConnectionFacts, Exchange, Malformed, Step, Success, Unavailable, Wrong
from valija.auth.local import AccountsBackend
from valija.auth.password import Passwords

ALICE = "alice@example.org"
END_POINT = b"a digest of the server's certificate"


class Tls:
    """A channel whose certificate has an end point, or none."""

    def __init__(self, end_point: bytes = END_POINT) -> None:
        self.end_point = end_point

    def binding(self) -> bytes:
        return self.end_point

    def client_certificate(self) -> bytes:
        return b""


def facts(channel: Tls | None, *, secured: bool = True) -> ConnectionFacts:
    return ConnectionFacts(secured, "192.0.2.1", 40_000, "192.0.2.2", 587, channel)


class Client:
    """A program that logs in; `says` are its two messages."""

    def __init__(self, backend: AccountsBackend, login: str, password: str, binding: bytes = b"") -> None:
        self.mechanism = "SCRAM-SHA-256-PLUS" if binding else "SCRAM-SHA-256"
        bound = ("tls-server-end-point", binding) if binding else None
        self.scram = ScramClient([self.mechanism], login, password, channel_binding=bound)
        self.exchange = begin(backend, self.mechanism)
        self.says: list[bytes] = []

    def first(self) -> Step:
        self.says.append(self.scram.get_client_first().encode())
        return run(self.exchange.respond(self.says[-1]))

    def final(self, challenge: Step) -> Step:
        assert isinstance(challenge, Challenge)
        self.scram.set_server_first(challenge.data.decode())
        self.says.append(self.scram.get_client_final().encode())
        return run(self.exchange.respond(self.says[-1]))

    def log_in(self) -> Step:
        """Return how it ended; with Success the server has proved that it knows the password too."""
        step = self.final(self.first())
        if not isinstance(step, Challenge):
            return step
        self.scram.set_server_final(step.data.decode())
        return run(self.exchange.respond(b""))


def run(work: Coroutine[Any, Any, Step]) -> Step:
    return asyncio.run(asyncio.wait_for(work, 20))


def begin(backend: AccountsBackend, mechanism: str, channel: Tls | None = None) -> Exchange:
    exchange = backend.start(mechanism, facts(channel or Tls()))
    assert exchange is not None
    return exchange


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    accounts = Accounts(tmp_path / "accounts.sqlite3")
    accounts.add(ALICE, "s3cret")
    return accounts


@pytest.fixture
def backend(accounts: Accounts) -> AccountsBackend:
    return AccountsBackend(accounts, Passwords(1))


def forget_keys(accounts: Accounts) -> None:
    """Have the file be as an older version left it: nobody has keys."""
    accounts._connection.execute("UPDATE account SET scram = NULL")


# Right and wrong


@pytest.mark.parametrize("binding", [b"", END_POINT])
@pytest.mark.parametrize("login", [ALICE, "Alice@Example.ORG"])
def test_logs_in(backend: AccountsBackend, login: str, binding: bytes) -> None:
    assert Client(backend, login, "s3cret", binding).log_in() == Success(ALICE)


@pytest.mark.parametrize("login", [ALICE, "bob@example.org", "alice", "alice+x@example.org", "x=y,z"])
def test_wrong_password_and_unknown_login_are_alike(backend: AccountsBackend, login: str) -> None:
    assert Client(backend, login, "wrong").log_in() == Wrong(login)


def test_c047_non_ascii_password(accounts: Accounts, backend: AccountsBackend) -> None:
    accounts.set_password(ALICE, "te\u0301st")
    assert Client(backend, ALICE, "t\u00e9st").log_in() == Success(ALICE)


def test_changes_count_at_once(accounts: Accounts, backend: AccountsBackend) -> None:
    accounts.set_password(ALICE, "other")
    assert Client(backend, ALICE, "s3cret").log_in() == Wrong(ALICE)
    assert Client(backend, ALICE, "other").log_in() == Success(ALICE)
    accounts.remove(ALICE)
    assert Client(backend, ALICE, "other").log_in() == Wrong(ALICE)


@pytest.mark.parametrize(("authzid", "right"), [(ALICE, True), ("ALICE@example.org", True), ("bob@example.org", False)])
def test_authzid(accounts: Accounts, backend: AccountsBackend, authzid: str, right: bool) -> None:
    accounts.add("bob@example.org", "x")
    exchange = begin(backend, "SCRAM-SHA-256")
    header, bare = f"n,a={authzid},".encode(), f"n={ALICE},r=clients".encode()
    step = run(exchange.respond(header + bare))
    assert isinstance(step, Challenge)
    step = run(exchange.respond(client_final(step.data, header, bare, b"s3cret")))
    if not right:
        assert step == Wrong(ALICE)
        return
    assert isinstance(step, Challenge)
    assert run(exchange.respond(b"")) == Success(ALICE)


def client_final(challenge: bytes, header: bytes, bare: bytes, password: bytes) -> bytes:
    """Return a client's final message, made by the letter of RFC 5802 section 3: scramp knows no authzid."""
    fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    unproven = b"c=" + base64.b64encode(header) + b",r=" + fields[b"r"]
    signature = hmac.digest(hashlib.sha256(key).digest(), b",".join((bare, challenge, unproven)), "sha256")
    proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
    return unproven + b",p=" + base64.b64encode(proof)


# Attacks


def test_salt_of_nobody_is_always_the_same(accounts: Accounts, backend: AccountsBackend, tmp_path: Path) -> None:
    def answer(asked: AccountsBackend, login: str) -> list[str]:
        step = Client(asked, login, "x").first()
        assert isinstance(step, Challenge)
        return step.data.decode().split(",")[1:]

    known, nobody = answer(backend, ALICE), answer(backend, "nobody@example.org")
    assert nobody == answer(backend, "Nobody@Example.ORG") == answer(backend, "nobody@example.org")
    assert known == answer(backend, "ALICE@example.org")
    assert nobody != answer(backend, "nobody2@example.org")
    assert known[1] == nobody[1] == f"i={SCRAM_ITERATIONS}"
    assert len(known[0]) == len(nobody[0])
    restarted = AccountsBackend(Accounts(tmp_path / "accounts.sqlite3"), Passwords(1))
    assert nobody == answer(restarted, "nobody@example.org")
    elsewhere = Accounts(tmp_path / "elsewhere.sqlite3")
    assert nobody != answer(AccountsBackend(elsewhere, Passwords(1)), "nobody@example.org")


def test_final_message_is_good_once(backend: AccountsBackend) -> None:
    client = Client(backend, ALICE, "s3cret")
    assert isinstance(client.final(client.first()), Challenge)
    replaying = begin(backend, client.mechanism)
    assert isinstance(run(replaying.respond(client.says[0])), Challenge)
    assert run(replaying.respond(client.says[1])) == Wrong(ALICE)


def test_somebody_in_between_with_another_certificate(backend: AccountsBackend) -> None:
    assert Client(backend, ALICE, "s3cret", b"digest of another certificate").log_in() == Wrong(ALICE)


def test_plus_taken_out_of_the_offer(backend: AccountsBackend) -> None:
    believes_we_cannot = f"y,,n={ALICE},r=x".encode()
    assert run(begin(backend, "SCRAM-SHA-256").respond(believes_we_cannot)) == Wrong(ALICE)
    without = begin(backend, "SCRAM-SHA-256", Tls(b""))  # where we really cannot, it is right
    assert isinstance(run(without.respond(believes_we_cannot)), Challenge)


@pytest.mark.parametrize("response", [b"x", b"\0", b"c=biws,r=x,p=AAAA"])
def test_more_is_said_where_nothing_is_left_to_say(backend: AccountsBackend, response: bytes) -> None:
    client = Client(backend, ALICE, "s3cret")
    assert isinstance(client.final(client.first()), Challenge)
    assert run(client.exchange.respond(response)) == Malformed()


@pytest.mark.parametrize("responses", [[b""], [b"n,,"], [b"n,,n=alice,r=x", b""], [None, b"\xff"]])
def test_malformed(backend: AccountsBackend, responses: list[bytes | None]) -> None:
    exchange = begin(backend, "SCRAM-SHA-256")
    steps = [run(exchange.respond(response)) for response in responses]
    assert steps[-1] == Malformed()


# What is offered


def test_nothing_is_begun_in_clear_and_plus_only_where_it_can_be(backend: AccountsBackend) -> None:
    assert backend.start("SCRAM-SHA-256", facts(None, secured=False)) is None
    assert backend.start("SCRAM-SHA-256", facts(None)) is not None
    assert backend.start("SCRAM-SHA-256-PLUS", facts(None)) is None
    assert backend.start("SCRAM-SHA-256-PLUS", facts(Tls(b""))) is None
    assert backend.start("SCRAM-SHA-1", facts(Tls())) is None


def test_without_channel_binding(accounts: Accounts) -> None:
    backend = AccountsBackend(accounts, Passwords(1), binds=False)
    assert backend.mechanisms() == ("PLAIN", "LOGIN", "SCRAM-SHA-256")
    assert backend.start("SCRAM-SHA-256-PLUS", facts(Tls())) is None
    assert isinstance(run(begin(backend, "SCRAM-SHA-256").respond(f"y,,n={ALICE},r=x".encode())), Challenge)


def test_accounts_of_an_older_version_get_keys_by_their_next_login(accounts: Accounts) -> None:
    accounts.add("bob@example.org", "b0b")
    forget_keys(accounts)
    backend = AccountsBackend(accounts, Passwords(1))
    assert backend.mechanisms() == ("PLAIN", "LOGIN")
    assert backend.start("SCRAM-SHA-256", facts(Tls())) is None
    assert run(begin(backend, "PLAIN").respond(f"\0{ALICE}\0wrong".encode())) == Wrong(ALICE)
    assert len(accounts.without_scram_keys()) == 2
    assert run(begin(backend, "PLAIN").respond(f"\0{ALICE}\0s3cret".encode())) == Success(ALICE)
    assert accounts.without_scram_keys() == {"bob@example.org"}
    assert backend.mechanisms() == ("PLAIN", "LOGIN")
    accounts.set_password("bob@example.org", "b0b")
    assert "SCRAM-SHA-256" in backend.mechanisms()
    assert Client(backend, ALICE, "s3cret").log_in() == Success(ALICE)


def test_a_file_that_cannot_be_written_costs_no_login(accounts: Accounts, tmp_path: Path) -> None:
    forget_keys(accounts)
    backend = AccountsBackend(accounts, Passwords(1))
    accounts._connection.execute("CREATE TRIGGER full BEFORE UPDATE ON account BEGIN SELECT RAISE(FAIL, 'full'); END")
    assert run(begin(backend, "PLAIN").respond(f"\0{ALICE}\0s3cret".encode())) == Success(ALICE)
    assert accounts.without_scram_keys() == {ALICE}


def test_damage_is_unavailable_and_never_wrong(accounts: Accounts, backend: AccountsBackend, tmp_path: Path) -> None:
    assert Client(backend, ALICE, "s3cret").log_in() == Success(ALICE)
    apsw.Connection(str(tmp_path / "accounts.sqlite3")).execute("UPDATE account SET scram = 'SCRAM-SHA-256$'")
    step = Client(backend, ALICE, "s3cret").first()
    assert step == Unavailable("ValueError: the stored SCRAM keys are damaged")
    accounts._connection.execute("DROP TABLE salt_key")
    assert isinstance(Client(backend, "nobody@example.org", "x").first(), Unavailable)
