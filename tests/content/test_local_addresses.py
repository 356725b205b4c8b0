"""Addresses as local programs write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.content.addresses import AddressListError, addresses_of
from valija.content.local_addresses import LocalNames, complete, complete_header, mailboxes

NAMES = LocalNames("example.org", frozenset({"localhost", "mail.example.org"}))


@pytest.mark.parametrize(
    ("written", "completed"),
    [
        (b" root", b" root@example.org"),
        (b" root (Cron Daemon)", b" root@example.org (Cron Daemon)"),
        (b' "Cron, Daemon" <root>', b' "Cron, Daemon" <root@example.org>'),
        (
            b" root, alice@localhost,\r\n\tbob@example.net",
            b" root@example.org, alice@example.org,\r\n\tbob@example.net",
        ),
        (b" <alice@Mail.Example.ORG>", b" <alice@example.org>"),
        (b' "odd user"', b' "odd user"@example.org'),
        (b" staff: root, alice;", b" staff: root@example.org, alice@example.org;"),
        (b" undisclosed-recipients:;", b" undisclosed-recipients:;"),
        (b" alice@example.net", b" alice@example.net"),
        (b" <>", b" <>"),
        (b" =?utf-8?q?J=C3=B6rg?= <joerg>", b" =?utf-8?q?J=C3=B6rg?= <joerg@example.org>"),
        (b" two words", b" two words"),
        (b' "unclosed', b' "unclosed'),
        (b" a@b@c", b" a@b@c"),
    ],
)
def test_an_address_list_is_completed_and_nothing_else_is_touched(written: bytes, completed: bytes) -> None:
    assert complete(written, NAMES) == completed


def test_only_fields_of_addresses_are_completed() -> None:
    header = b"Subject: root\r\nFrom: root\r\nTo:alice\r\nX-From: root\r\nReply-To: bob@example.net\r\n"
    expected = b"Subject: root\r\nFrom: root@example.org\r\nTo:alice@example.org\r\nX-From: root\r\n"
    assert complete_header(header, NAMES) == expected + b"Reply-To: bob@example.net\r\n"


@pytest.mark.parametrize(
    ("written", "completed"),
    [
        (b"From: root (Cron Daemon)\r\n", b"From: bob@example.org (Cron Daemon)\r\n"),
        (b'From: "Cron" <root@localhost>\r\n', b'From: "Cron" <bob@example.org>\r\n'),
        (b"Sender: root\r\n", b"Sender: bob@example.org\r\n"),
        (b"From: bob\r\n", b"From: bob@example.org\r\n"),
        (b"From: alice@example.org\r\n", b"From: alice@example.org\r\n"),  # said in full: judged, not changed
        (b"To: root\r\n", b"To: root@example.org\r\n"),
    ],
)
def test_an_author_named_without_a_domain_is_whoever_may_be_named(written: bytes, completed: bytes) -> None:
    assert complete_header(written, NAMES, lambda named: "bob@example.org") == completed


@pytest.mark.parametrize(
    ("address", "completed"),
    [
        ("root", "root@example.org"),
        ("root@localhost", "root@example.org"),
        ("root@LOCALHOST", "root@example.org"),
        ("root@example.net", "root@example.net"),
        ("", ""),
    ],
)
def test_one_address_is_completed(address: str, completed: str) -> None:
    assert NAMES.complete(address) == completed


def test_mailboxes_forgives_empty_elements_and_names_alone() -> None:
    assert mailboxes(b" root, , Bob <bob@Example.net>,\r\n carol (at work),") == ["root", "bob@example.net", "carol"]


@pytest.mark.parametrize("value", [b" two words", b" <a@b", b" a@b c@d", b' "x', b" <@route:a@b>", b" a@-b-@c"])
def test_mailboxes_refuses_what_could_be_read_in_two_ways(value: bytes) -> None:
    with pytest.raises(AddressListError):
        mailboxes(value)


@given(st.binary(max_size=60))
def test_no_value_raises_and_completing_twice_changes_nothing_more(value: bytes) -> None:
    once = complete(value, NAMES)
    assert complete(once, NAMES) == once


@given(st.lists(st.from_regex(r"[a-z]{1,8}(@(localhost|example\.net))?", fullmatch=True), min_size=1, max_size=5))
def test_a_list_reads_the_same_whether_it_is_completed_or_read_and_then_completed(written: list[str]) -> None:
    value = " " + ", ".join(written)
    assert addresses_of(complete(value.encode(), NAMES)) == [NAMES.complete(each) for each in mailboxes(value.encode())]
