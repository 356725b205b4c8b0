"""Whose name a user of the machine may send in."""

import pytest

from valija.policy.local_sender import RESERVED, LocalSenders, may_send_as

CLAIMED = {"boss@example.org", "sales@example.org", "daemon@example.org"}
SENDERS = LocalSenders(
    hosted=frozenset({"example.org", "shop.example"}),
    granted={"www-data": ("Sales@example.org", "@partner.example")},
)


def may(user: str, address: str, senders: LocalSenders = SENDERS) -> bool:
    return may_send_as(user, address, senders, CLAIMED.__contains__)


@pytest.mark.parametrize(
    "address",
    [
        "www-data@example.org",
        "WWW-Data+orders@shop.example",
        "noreply@example.org",
        "wordpress+7@shop.example",
        "sales@example.org",
        "sales+eu@example.org",
        "anybody@partner.example",
    ],
)
def test_names_that_are_the_users_granted_or_nobodys(address: str) -> None:
    assert may("www-data", address)


@pytest.mark.parametrize(
    "address",
    [
        "boss@example.org",
        "daemon@example.org",
        "somebody@elsewhere.example",
        "www-data@elsewhere.example",
        "www-data@sub.example.org",
        "x@sub.partner.example",
        "www-data",
        "@example.org",
        "",
    ],
)
def test_names_that_are_somebody_elses_or_of_no_domain_of_ours(address: str) -> None:
    assert not may("www-data", address)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_nobody_speaks_for_a_role_that_is_obeyed(name: str) -> None:
    assert not may("www-data", f"{name}@example.org")
    assert not may("www-data", f'"{name.upper()}"@example.org')
    assert not may("www-data", f"{name}+x@example.org")


def test_a_trusted_user_sends_in_any_name() -> None:
    assert may("root", "boss@example.org")
    assert may("root", "somebody@elsewhere.example")


def test_the_grant_is_the_users_alone() -> None:
    assert not may("daemon", "x@partner.example")
    assert not may("daemon", "sales@example.org")


def test_what_is_nobodys_can_be_switched_off() -> None:
    strict = LocalSenders(SENDERS.hosted, unclaimed=False)
    assert not may("www-data", "noreply@example.org", strict)
    assert may("www-data", "www-data@example.org", strict)


def test_without_a_delimiter_a_plus_is_part_of_the_name() -> None:
    plain = LocalSenders(SENDERS.hosted, unclaimed=False, delimiter="")
    assert not may("www-data", "www-data+x@example.org", plain)
    assert may("www-data", "www-data@example.org", plain)
