"""Passwords: stored, verified, remembered for a while. Work is counted in argon2 rounds, not in time."""

import asyncio
import threading
import unicodedata
from collections.abc import Coroutine
from typing import Any

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError
from hypothesis import given
from hypothesis import strategies as st

from valija.auth import password as password_module
from valija.auth.good_logins import REMEMBERED_FOR, GoodLogins
from valija.auth.password import (
    ARGON2,
    MEMORY_COST,
    Overloaded,
    PasswordRefused,
    Passwords,
    hash_password,
    opaque_string,
)

ALICE = "alice@example.org"
SECRET = hash_password("secret")
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class CountingHasher:
    """The real thing, and what it was asked to do."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:
        self.asked.append(str(hash))
        return ARGON2.verify(hash, password)


class Setting:
    """Passwords under a counting hasher and a clock of the test's own."""

    def __init__(self) -> None:
        self.hasher = CountingHasher()
        self.now = 1000.0
        self.passwords = Passwords(1, self.hasher, GoodLogins.shared(lambda: self.now))

    @property
    def rounds(self) -> int:
        return len(self.hasher.asked)

    async def verify(self, password: bytes, stored: str | None = SECRET, login: str = ALICE) -> bool:
        return await self.passwords.verify(login, stored, password)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def test_parameters() -> None:
    assert SECRET.startswith(f"$argon2id$v=19$m={MEMORY_COST},t=2,p=1$")
    assert hash_password("secret") != SECRET, "each hash has a salt of its own"


def test_right_and_wrong() -> None:
    async def work() -> None:
        here = Setting()
        assert await here.verify(b"secret")
        for wrong in (b"Secret", b"secret ", b"secre", b"x" * 12_288):
            assert not await here.verify(wrong)

    run(work())


def test_unknown_login_costs_the_same_work() -> None:
    async def work() -> None:
        here = Setting()
        for stored in (SECRET, None, None):
            assert not await here.verify(b"wrong", stored)
        assert here.rounds == 3
        known, unknown, again = here.hasher.asked
        assert unknown == again, "made once, not for each login"
        assert known.split("$")[:4] == unknown.split("$")[:4], "the same algorithm and costs"
        assert [len(part) for part in known.split("$")] == [len(part) for part in unknown.split("$")]

    run(work())


def test_the_unknown_logins_password_is_no_password() -> None:
    async def work() -> None:
        class Agreeable(CountingHasher):
            def verify(self, hash: str | bytes, password: str | bytes) -> bool:
                return True

        passwords = Passwords(1, Agreeable())
        assert not await passwords.verify("nobody@example.org", None, b"secret")
        assert not await passwords.verify("nobody@example.org", None, b"secret"), "nor is it remembered"

    run(work())


def test_c042_empty_is_wrong_without_asking() -> None:
    async def work() -> None:
        here = Setting()
        empty = ARGON2.hash("")  # even where a foreign tool stored one
        assert not await here.verify(b"", empty)
        assert not await here.verify(b"", None)
        assert here.rounds == 0

    run(work())


def test_c042_one_character() -> None:
    async def work() -> None:
        assert await Setting().verify(b"x", hash_password("x"))

    run(work())


@pytest.mark.parametrize("stored", [unicodedata.normalize("NFC", "tést"), unicodedata.normalize("NFD", "tést")])
def test_c047_non_ascii_passwords(stored: str) -> None:
    async def work() -> None:
        here, digest = Setting(), hash_password(stored)
        assert await here.verify(b"t\xc3\xa9st", digest)
        assert await here.verify(b"te\xcc\x81st", digest)
        assert not await here.verify(b"t\xe9st", digest)
        assert not await here.verify(b"test", digest)

    run(work())


def test_c047_blanks_of_every_kind() -> None:
    assert opaque_string("a\u00a0b\u3000c") == "a b c"
    assert opaque_string("\u212b") == "\u00c5"


@given(st.binary(max_size=40))
def test_c047_no_octets_raise(octets: bytes) -> None:
    async def work() -> None:
        passwords = Passwords(1, CHEAP)
        assert not await passwords.verify(
            ALICE, CHEAP.hash("something longer than forty octets, so never equal"), octets
        )
        passwords.close()

    run(work())


@pytest.mark.parametrize("password", ["", "a\nb", "a\0b", "a\x7fb", "\udc80", "x" * 1025, "é" * 513])
def test_passwords_that_cannot_be_set(password: str) -> None:
    with pytest.raises(PasswordRefused) as caught:
        hash_password(password)
    assert not password or password not in str(caught.value)


def test_a_right_login_is_remembered() -> None:
    async def work() -> None:
        here = Setting()
        for _ in range(5):
            assert await here.verify(b"secret")
        assert here.rounds == 1
        here.now += REMEMBERED_FOR + 1
        assert await here.verify(b"secret")
        assert here.rounds == 2

    run(work())


def test_being_asked_often_does_not_prolong_it() -> None:
    async def work() -> None:
        here = Setting()
        for _ in range(10):
            assert await here.verify(b"secret")
            here.now += REMEMBERED_FOR / 4
        assert here.rounds >= 3  # in 2.25 times the longest

    run(work())


def test_a_wrong_login_is_never_remembered() -> None:
    async def work() -> None:
        here = Setting()
        for expected in (1, 2, 3):
            assert not await here.verify(b"wrong")
            assert here.rounds == expected

    run(work())


def test_a_changed_password_counts_at_once() -> None:
    async def work() -> None:
        here = Setting()
        assert await here.verify(b"secret")
        assert not await here.verify(b"secret", hash_password("other"))
        assert await here.verify(b"other", hash_password("other"))
        assert not await here.verify(b"secret", None), "the account is gone"
        assert not await here.verify(b"secret", hash_password("x"), "bob@example.org"), "another's login"

    run(work())


def test_damaged_hash_is_no_wrong_password() -> None:
    async def work() -> None:
        with pytest.raises(InvalidHashError):
            await Setting().verify(b"secret", "no hash at all")

    run(work())


def test_the_loop_goes_on_and_waiting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_module, "WAITING_PER_THREAD", 2)
    gate = threading.Event()

    class Slow(CountingHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:
            gate.wait(20)
            return super().verify(hash, password)

    async def work() -> None:
        passwords = Passwords(1, Slow())
        waiting = [asyncio.ensure_future(passwords.verify(ALICE, SECRET, b"secret")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await passwords.verify(ALICE, SECRET, b"secret")
        waiting.pop().cancel()
        await asyncio.sleep(0)
        waiting.append(asyncio.ensure_future(passwords.verify(ALICE, SECRET, b"secret")))
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*waiting) == [True, True]

    try:
        run(work())
    finally:
        gate.set()
