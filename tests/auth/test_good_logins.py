"""Logins that were right a moment ago."""

from valija.auth.good_logins import REMEMBERED_FOR, GoodLogins


def test_what_was_right_is_good_for_a_while() -> None:
    now = [1000.0]
    good = GoodLogins.shared(lambda: now[0])
    good.remember("alice", b"secret", "hash")
    assert good.holds("alice", b"secret", "hash")
    assert not good.holds("alice", b"Secret", "hash")
    assert not good.holds("bob", b"secret", "hash")
    assert not good.holds("alice", b"secret", "another hash")
    now[0] += REMEMBERED_FOR + 1
    assert not good.holds("alice", b"secret", "hash")


def test_facts_do_not_run_together() -> None:
    good = GoodLogins.shared()
    good.remember("alice", b"secret", "hash")
    assert not good.holds("alice", b"hsecret", "has")
    assert not good.holds("alicehash", b"secret")


def test_forgetting_takes_all_passwords_of_a_login() -> None:
    good = GoodLogins.shared()
    for login in ("alice", "bob"):
        good.remember(login, b"old")
        good.remember(login, b"new")
    good.forget("alice")
    assert not good.holds("alice", b"old")
    assert not good.holds("alice", b"new")
    assert good.holds("bob", b"old")
    good.remember("alice", b"new")
    assert good.holds("alice", b"new")
