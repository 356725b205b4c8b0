"""Passwords: stored as argon2id, verified in threads, and not again for a client that was right a minute ago.

    stored = hash_password("secret")
    passwords = Passwords(threads=2)
    await passwords.verify("alice@example.org", stored, b"secret")     # True
    await passwords.verify("nobody@example.org", None, b"secret")      # False, after the same work

What was right is remembered for some minutes (auth/good_logins), bound to the stored hash, so that a changed password
counts at once. What was wrong never is.

Non-ASCII passwords are compared in the form of RFC 8265 (OpaqueString): NFC, every kind of blank a space. Octets that
are no UTF-8 are just wrong.
"""

import asyncio
import base64
import contextlib
import os
import secrets
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import argon2
from argon2.exceptions import VerifyMismatchError

from valija.auth.good_logins import GoodLogins

MEMORY_COST: Final = 19 * 1024  # KiB; with two rounds on one lane what OWASP recommends, some 20 ms
MAX_PASSWORD: Final = 1024  # octets
_NICE: Final = 5  # nice(2); on Linux a thread has its own
WAITING_PER_THREAD: Final = 100  # some seconds of work: whoever comes behind would give up anyway


class PasswordRefused(ValueError):
    """A new password that cannot be taken; the message says why, and never what it was."""


class Overloaded(Exception):
    """More logins are waiting than can be verified in time."""


class Hasher(Protocol):
    """The part of argon2.PasswordHasher that is used."""

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:
        """Return True or raise VerifyMismatchError, VerificationError or InvalidHashError."""


ARGON2: Final = argon2.PasswordHasher(time_cost=2, memory_cost=MEMORY_COST, parallelism=1)


def hash_password(password: str) -> str:
    """Return what is stored for a new password. Takes some 20 ms of one core. Raises PasswordRefused."""
    if not password:
        raise PasswordRefused("the password is empty; choose one of a few words")
    if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD:
        raise PasswordRefused(f"the password is longer than {MAX_PASSWORD} octets; choose a shorter one")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in password):
        raise PasswordRefused("the password holds a control character, which no mail program can send; leave it out")
    return ARGON2.hash(opaque_string(password))


def opaque_string(password: str) -> str:
    """Return a password as it is compared (RFC 8265 section 4.2.2)."""
    if password.isascii():
        return password
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
    return unicodedata.normalize("NFC", spaced)


class Passwords:
    """Verifies passwords, some at once in threads. `good` is what the workers remember together."""

    def __init__(self, threads: int, hasher: Hasher = ARGON2, good: GoodLogins | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password", initializer=_yield_to_others)
        self._most_waiting = threads * WAITING_PER_THREAD
        self._hasher = hasher
        self._waiting = 0
        self._nobodys_hash = _hash_of_nothing()
        self._good = good or GoodLogins.shared()

    async def verify(self, login: str, stored: str | None, password: bytes) -> bool:
        """Tell whether the password is the one stored; `stored` is None where there is no such login.

        That costs the same work, so that time does not tell who has an account. An empty password is always wrong.
        Raises Overloaded, and argon2's errors for a stored hash that is damaged.
        """
        text = _as_text(password)
        if not text:
            return False
        if stored is not None and self._good.holds(login, text.encode(), stored):
            return True
        right = await self._in_thread(stored or self._nobodys_hash, text)
        if right and stored is not None:
            self._good.remember(login, text.encode(), stored)
            return True
        return False

    def close(self) -> None:
        """Let the threads end; what waits is given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, stored: str, password: str) -> bool:
        if self._waiting >= self._most_waiting:
            raise Overloaded(f"{self._waiting} logins are waiting for their passwords to be verified")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._matches, stored, password)
        finally:
            self._waiting -= 1

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except VerifyMismatchError:
            return False


def _yield_to_others() -> None:
    """Have this thread step back when the processors are busy: mail should not wait for guesses."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _as_text(password: bytes) -> str:
    """Return the password to compare; `""` for one that cannot be anybody's."""
    if len(password) > MAX_PASSWORD:
        return ""
    try:
        return opaque_string(password.decode())
    except UnicodeDecodeError:
        return ""


def _hash_of_nothing() -> str:
    """Return a hash as costly as the stored ones, of a password that nobody knows: its digest is made up."""
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={MEMORY_COST},t=2,p=1${salt}${digest}"
