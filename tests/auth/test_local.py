"""Logins against the embedded accounts, through the SASL mechanisms."""

import asyncio
import base64
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.auth.test_password import CountingHasher
from valija.auth.accounts import Accounts
from valija.auth.backend import (
    AuthBackend,
    Challenge,
    ConnectionFacts,
    Exchange,
    Malformed,
    Step,
    Success,
    Unavailable,
    Wrong,
)
from valija.auth.local import AccountsBackend
from valija.auth.password import Passwords

FACTS = ConnectionFacts(
    secured=True, client_address="192.0.2.1", client_port=40000, local_address="192.0.2.2", local_port=587
)
ALICE = "alice@local.example"


class Setting:
    def __init__(self, folder: Path) -> None:
        self.accounts = Accounts(folder / "accounts.sqlite3")
        self.hasher = CountingHasher()
        self.backend: AuthBackend = AccountsBackend(self.accounts, Passwords(1, self.hasher))
        self.accounts.add(ALICE, "s3cret")

    def begin(self, mechanism: str) -> Exchange:
        exchange = self.backend.start(mechanism, FACTS)
        assert exchange is not None
        return exchange

    def plain(self, authcid: str, password: str | bytes, authzid: str = "") -> Step:
        octets = password if isinstance(password, bytes) else password.encode()
        return run(self.begin("PLAIN").respond(f"{authzid}\0{authcid}\0".encode() + octets))

    def login(self, *responses: bytes | None) -> list[Step]:
        exchange = self.begin("LOGIN")
        return [run(exchange.respond(response)) for response in responses]


def run(work: Coroutine[Any, Any, Step]) -> Step:
    return asyncio.run(asyncio.wait_for(work, 20))


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_mechanisms(here: Setting) -> None:
    assert here.backend.mechanisms() == ("PLAIN", "LOGIN", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")


@pytest.mark.parametrize("mechanism", ["FOO", "", "CRAM-MD5", "ANONYMOUS", "PLAIN "])
def test_c044_mechanism_that_is_not_offered(here: Setting, mechanism: str) -> None:
    assert here.backend.start(mechanism, FACTS) is None


def test_nothing_is_begun_in_clear(here: Setting) -> None:
    in_clear = ConnectionFacts(
        secured=False, client_address="192.0.2.1", client_port=40000, local_address="192.0.2.2", local_port=587
    )
    assert here.backend.start("PLAIN", in_clear) is None


@pytest.mark.parametrize("login", [ALICE, "Alice@Local.EXAMPLE", "ALICE@local.example", "alice@local.example."])
def test_login_in_any_case(here: Setting, login: str) -> None:
    assert here.plain(login, "s3cret") == Success(ALICE)


@pytest.mark.parametrize(
    "login", ["bob@local.example", "alice", "alice+x@local.example", "alice@other.example", "@", "alice@", "x y@z"]
)
def test_unknown_logins_are_wrong_at_full_cost(here: Setting, login: str) -> None:
    assert here.plain(login, "s3cret") == Wrong(login)
    assert len(here.hasher.asked) == 1


def test_wrong_password(here: Setting) -> None:
    assert here.plain(ALICE, "S3cret") == Wrong(ALICE)
    assert len(here.hasher.asked) == 1


def test_c042_empty_password(here: Setting) -> None:
    assert here.plain(ALICE, "") == Wrong(ALICE)
    assert here.login(ALICE.encode(), b"")[-1] == Wrong(ALICE)
    assert here.hasher.asked == []


def test_c042_one_character(here: Setting) -> None:
    here.accounts.add("carol@local.example", "x")
    token = base64.b64decode("AGNhcm9sQGxvY2FsLmV4YW1wbGUAeA==")
    assert run(here.begin("PLAIN").respond(token)) == Success("carol@local.example")


def test_c043_prompts(here: Setting) -> None:
    assert here.login(None, ALICE.encode(), b"s3cret") == [
        Challenge(base64.b64decode("VXNlcm5hbWU6")),
        Challenge(base64.b64decode("UGFzc3dvcmQ6")),
        Success(ALICE),
    ]


def test_c043_name_as_initial_response(here: Setting) -> None:
    token = base64.b64decode("YWxpY2VAbG9jYWwuZXhhbXBsZQ==")
    assert here.login(token, b"s3cret") == [Challenge(b"Password:"), Success(ALICE)]


@pytest.mark.parametrize("name", ["login", "Login", "plain"])
def test_c043_mechanism_in_any_case(here: Setting, name: str) -> None:
    assert here.backend.start(name, FACTS) is not None


def test_c044_right_after_wrong(here: Setting) -> None:
    assert here.plain(ALICE, "wrong") == Wrong(ALICE)
    assert here.plain(ALICE, "s3cret") == Success(ALICE)


def test_c047_non_ascii_passwords(here: Setting) -> None:
    here.accounts.set_password(ALICE, "t\u00e9st")
    for token, expected in (
        ("AGFsaWNlQGxvY2FsLmV4YW1wbGUAdMOpc3Q=", Success(ALICE)),
        ("AGFsaWNlQGxvY2FsLmV4YW1wbGUAdGXMgXN0", Success(ALICE)),
        ("AGFsaWNlQGxvY2FsLmV4YW1wbGUAdOlzdA==", Wrong(ALICE)),
    ):
        assert run(here.begin("PLAIN").respond(base64.b64decode(token))) == expected


@pytest.mark.parametrize("authzid", ["", ALICE, "ALICE@LOCAL.example"])
def test_authzid_that_is_the_login(here: Setting, authzid: str) -> None:
    assert here.plain(ALICE, "s3cret", authzid) == Success(ALICE)


@pytest.mark.parametrize("authzid", ["bob@local.example", "alice", "alice+x@local.example", "root"])
def test_authzid_that_is_another(here: Setting, authzid: str) -> None:
    assert here.plain(ALICE, "s3cret", authzid) == Wrong(ALICE)


@pytest.mark.parametrize("response", [b"", b"alice", b"\0\0", b"a\0b", b"a\0b\0c\0d", b"\0\xff\0x"])
def test_malformed(here: Setting, response: bytes) -> None:
    assert run(here.begin("PLAIN").respond(response)) == Malformed()


def test_changes_count_at_once(here: Setting) -> None:
    assert here.plain(ALICE, "s3cret") == Success(ALICE)
    here.accounts.set_password(ALICE, "other")
    assert here.plain(ALICE, "s3cret") == Wrong(ALICE)
    assert here.plain(ALICE, "other") == Success(ALICE)
    here.accounts.remove(ALICE)
    assert here.plain(ALICE, "other") == Wrong(ALICE)


def test_second_login_costs_no_argon2(here: Setting) -> None:
    for spelling in (ALICE, "Alice@LOCAL.example", ALICE):
        assert here.plain(spelling, "s3cret") == Success(ALICE)
    assert len(here.hasher.asked) == 1


def test_file_that_is_gone_bad_is_unavailable(here: Setting) -> None:
    here.accounts._connection.execute("DROP TABLE account")
    step = here.plain(ALICE, "s3cret")
    assert isinstance(step, Unavailable)
    assert "accounts.sqlite3" in step.detail
    assert "s3cret" not in step.detail


def test_closed_file_is_unavailable(here: Setting) -> None:
    here.accounts.close()
    assert isinstance(here.plain(ALICE, "s3cret"), Unavailable)


def test_damaged_hash_is_unavailable(here: Setting) -> None:
    here.accounts._change("UPDATE account SET hash = 'nonsense'")
    assert isinstance(here.plain(ALICE, "s3cret"), Unavailable)


def test_cancelled_exchange(here: Setting) -> None:
    exchange = here.begin("LOGIN")
    run(exchange.respond(None))
    exchange.cancel()
    assert here.plain(ALICE, "s3cret") == Success(ALICE)
