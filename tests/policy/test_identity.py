"""Whose name a user may send in."""

import pytest

from valija.content.addresses import addresses_of
from valija.content.header import split, values
from valija.content.submission import author_addresses, check_once
from valija.mail.address import mailbox_key
from valija.mail.reply import Reply
from valija.policy.identity import check_envelope, check_from, check_outsider, may_use

HOSTED = ("local.example", "other.example")
ALIASES = {"sales@local.example": {"alice@local.example"}, "root@other.example": {"carol"}}


def owns(login: str, address: str) -> bool:
    return login in ALIASES.get(mailbox_key(address), ())


@pytest.mark.parametrize(
    ("login", "address", "theirs"),
    [
        ("alice@local.example", "alice@local.example", True),
        ("alice@local.example", "ALICE@local.example", True),
        ("Alice@local.example", "alice@local.example", True),
        ("alice@local.example", "alice+news@local.example", True),
        ("alice@local.example", "Alice+A+B@local.example", True),
        ("alice@local.example", '"alice"@local.example', True),
        ("alice@local.example", '"alice+x y"@local.example', True),
        ("alice@local.example", "sales@local.example", True),
        ("alice@local.example", "Sales+eu@local.example", True),
        ("alice@local.example", "bob@local.example", False),
        ("alice@local.example", "alice@other.example", False),
        ("alice@local.example", "alice@remote.example", False),
        ("alice@local.example", "alic@local.example", False),
        ("alice@local.example", "alicex@local.example", False),
        ("alice@local.example", "alice-x@local.example", False),
        ("alice@local.example", "+alice@local.example", False),
        ("alice@local.example", '"alice@local.example"@remote.example', False),
        ("alice@local.example", '"bob@local.example,alice"@local.example', False),
        ("alice@local.example", "alice@[192.0.2.1]", False),
        ("alice@local.example", "alice", False),
        ("alice@local.example", "", False),
        ("alice+sub@local.example", "alice@local.example", False),
        ("alice+sub@local.example", "alice+sub@local.example", True),
        ("alice@remote.example", "alice@remote.example", True),
        ("carol", "carol@local.example", True),
        ("carol", "Carol+x@other.example", True),
        ("carol", "root@other.example", True),
        ("carol", "carol@remote.example", False),
        ("carol", "alice@local.example", False),
        ("carol", "carol", False),
        ("", "@local.example", False),
        ("", "+x@local.example", False),
        ("J\u00fcrgen@local.example", "j\u00fcrgen@local.example", True),
        ("\u00c4@local.example", "\u00e4@local.example", False),
    ],
)
def test_what_is_theirs(login: str, address: str, theirs: bool) -> None:
    assert may_use(login, address, hosted=HOSTED, owns=owns) is theirs


@pytest.mark.parametrize(
    ("delimiter", "address", "theirs"),
    [
        ("-", "alice-news@local.example", True),
        ("-", "alice+news@local.example", False),
        ("", "alice+@local.example", False),
    ],
)
def test_what_parts_a_subaddress_is_a_setting(delimiter: str, address: str, theirs: bool) -> None:
    login = "alice@local.example"
    assert may_use(login, address, hosted=HOSTED, owns=lambda _, __: False, delimiter=delimiter) is theirs


def test_c071_an_outsider_may_be_kept_from_the_names_of_hosted_domains() -> None:
    reply = check_outsider("bob@local.example", HOSTED)
    assert reply is not None
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert "bob@local.example" in reply.text
    for other in ("bob@remote.example", "bob@sub.local.example", "", "postmaster"):
        assert check_outsider(other, HOSTED) is None


def test_a_refusal_says_what_to_do() -> None:
    reply = check_from("alice@local.example", ["bob@local.example"], hosted=HOSTED, owns=owns, field="Resent-From")
    assert reply is not None
    assert reply.text == (
        "bob@local.example is not yours to use as Resent-From: use alice@local.example or an alias, "
        "or have your postmaster allow it to you"
    )


def test_the_envelope() -> None:
    assert check_envelope("alice@local.example", "", hosted=HOSTED, owns=owns) is None
    assert check_envelope("alice@local.example", "alice+x@local.example", hosted=HOSTED, owns=owns) is None
    reply = check_envelope("alice@local.example", "bob@local.example", hosted=HOSTED, owns=owns)
    assert reply is not None
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert "bob@local.example" in reply.text
    assert "alice@local.example" in reply.text


def test_a_refusal_tells_a_system_user_the_addresses_it_has() -> None:
    reply = check_envelope("carol", "x@remote.example", hosted=HOSTED, owns=owns)
    assert reply is not None
    assert "carol@local.example, carol@other.example" in reply.text


@pytest.mark.parametrize(
    "address", ["x" * 5000 + "@local.example", "\u202egr\u00e5@local.example", "a\r\n250 ok@x.example"]
)
def test_a_refusal_is_one_short_printable_line(address: str) -> None:
    reply = check_from("y" * 5000, [address], hosted=HOSTED, owns=owns)
    assert reply is not None
    assert reply.text.isascii()
    assert reply.text.isprintable()
    assert len(reply.encode()) <= 512


def decide(header: bytes) -> Reply | None:
    """Return what the end of a submitted content comes to."""
    try:
        header = split(header + b"\r\nbody\r\n").header
    except ValueError:
        return Reply(554, "5.6.0", "refused for its form")
    authors = author_addresses(header)
    if isinstance(authors, Reply):
        return authors
    return check_once(header) or check_from("alice@local.example", authors, hosted=HOSTED, owns=owns)


@pytest.mark.parametrize(
    "header",
    [
        b"From: bob@local.example\r\n",
        b"From: alice@local.example\r\nFrom: bob@local.example\r\n",
        b"From: bob@local.example\r\nFrom: alice@local.example\r\n",
        b"From: alice@local.example, bob@local.example\r\n",
        b"From : bob@local.example\r\n",
        b"From: alice@local.example\r\nFrom : bob@local.example\r\n",
        b"From: bob@local.example <alice@local.example>\r\n",
        b"From: alice@local.example <bob@local.example>\r\n",
        b"From: (alice@local.example) bob@local.example\r\n",
        b"From: Team: alice@local.example, bob@local.example;\r\n",
        b"From: <alice@local.example><bob@local.example>\r\n",
        b"From:\r\n bob@local.example\r\n",
        b"fRoM: bob@local.example\r\n",
        b"From: =?utf-8?q?alice=40local=2Eexample?= <bob@local.example>\r\n",
        b'From: "alice@local.example"@remote.example\r\n',
        b"From: alice@local.example.remote.example\r\n",
        b"From: @local.example:bob@local.example\r\n",
    ],
)
def test_c070_a_forged_from_is_refused(header: bytes) -> None:
    reply = decide(header)
    assert reply is not None
    assert reply.is_permanent


@pytest.mark.parametrize(
    "header",
    [
        b"From: Alice <alice@local.example>\r\n",
        b"From: =?utf-8?q?bob=40local=2Eexample?= <alice@local.example>\r\n",
        b'From: "bob@local.example" <alice@local.example>\r\n',
        b"From: sales@local.example, Alice <ALICE+x@LOCAL.example>\r\n",
        b"Sender: bob@local.example\r\n",
    ],
)
def test_c070_what_is_theirs_is_let_through(header: bytes) -> None:
    assert decide(header) is None


def test_c070_the_address_that_is_checked_is_the_one_a_reader_sees() -> None:
    header = b'From: "bob@local.example" <alice@local.example>\r\n'
    assert addresses_of(values(header, b"from")[0]) == ["alice@local.example"]
