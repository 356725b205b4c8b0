"""The Received field and the hop count."""

import re
from email.utils import parsedate_to_datetime
from itertools import product

import pytest

from valija.content.header import fields, split
from valija.content.trace import (
    MAX_RECEIVED,
    check_hops,
    count_received,
    protocol_keyword,
    received_field,
    return_path_field,
)
from valija.mail.envelope import Recipient
from valija.mail.origin import Origin, TlsFacts

BOB = Recipient("bob@remote.example")
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
NOON = 1764072000.0


def received(
    *recipients: Recipient,
    address: str = "192.0.2.1",
    helo: str = "client.example",
    protocol: str = "ESMTP",
    tls: TlsFacts | None = None,
    login: str = "",
) -> str:
    origin = Origin("smtpd", NOON, address, helo, protocol, login, "", tls)
    octets = received_field(origin, hostname="mail.example.org", queue_id="4F2", recipients=recipients or (BOB,))
    assert len(fields(octets)) == 1
    assert fields(octets)[0].raw == octets
    assert fields(octets)[0].name == b"received"
    return octets.decode("ascii")


def unfolded(field: str) -> str:
    return re.sub(r"\r\n[ \t]", " ", field).rstrip("\r\n")


def test_c104_the_whole_field() -> None:
    assert received(tls=TLS, protocol="ESMTPSA") == (
        "Received: from client.example ([192.0.2.1]) (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
        "\tby mail.example.org with ESMTPSA id 4F2 for <bob@remote.example>;\r\n"
        "\tTue, 25 Nov 2025 12:00:00 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("extended", "tls", "authenticated", "smtputf8", "keyword"),
    [
        (False, False, False, False, "SMTP"),
        (False, True, False, False, "SMTP"),
        (True, False, False, False, "ESMTP"),
        (True, True, False, False, "ESMTPS"),
        (True, False, True, False, "ESMTPA"),
        (True, True, True, False, "ESMTPSA"),
        (True, False, False, True, "UTF8SMTP"),
        (True, True, False, True, "UTF8SMTPS"),
        (True, False, True, True, "UTF8SMTPA"),
        (True, True, True, True, "UTF8SMTPSA"),
    ],
)
def test_c104_with_keywords(extended: bool, tls: bool, authenticated: bool, smtputf8: bool, keyword: str) -> None:
    found = protocol_keyword(extended=extended, tls=tls, authenticated=authenticated, smtputf8=smtputf8)
    assert found == keyword


def test_c104_every_combination_has_a_keyword() -> None:
    for extended, tls, authenticated, smtputf8 in product((False, True), repeat=4):
        keyword = protocol_keyword(extended=extended, tls=tls, authenticated=authenticated, smtputf8=smtputf8)
        assert keyword.endswith(("SMTP", "SMTPS", "SMTPA", "SMTPSA"))


def test_c104_for_is_written_for_a_single_recipient_only() -> None:
    assert "for <bob@remote.example>;" in unfolded(received(BOB))
    several = received(BOB, Recipient("carol@remote.example"), Recipient("dave@remote.example"))
    assert "for" not in unfolded(several).split()
    assert "bob" not in several


def test_c104_for_names_what_the_sender_used() -> None:
    assert "for <sales@local.example>;" in unfolded(
        received(Recipient("x@remote.example", given="sales@local.example"))
    )


@pytest.mark.parametrize("address", ["gr\u00e5@remote.example", '"a) (b"@remote.example', '"<"@remote.example'])
def test_an_odd_recipient_is_left_out(address: str) -> None:
    assert " for " not in unfolded(received(Recipient(address)))


@pytest.mark.parametrize(
    ("address", "literal"),
    [
        ("192.0.2.1", "[192.0.2.1]"),
        ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ("fe80::1%eth0", "[IPv6:fe80::1]"),
        ("", "unknown"),
    ],
)
def test_c104_the_peer_as_a_literal(address: str, literal: str) -> None:
    assert f"from client.example ({literal}) by" in unfolded(received(address=address))


def test_c104_no_login_and_a_valid_date() -> None:
    field = received(login="alice@local.example")
    assert "alice" not in field
    assert parsedate_to_datetime(unfolded(field).rpartition(";")[2]).timestamp() == NOON


@pytest.mark.parametrize(
    ("helo", "name"),
    [
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("a_b", "a_b"),
        ("x) (y", "x___y"),
        ("x\r\nX-Injected: 1", "x__X-Injected:_1"),
        ("\x1b[31mred", "_[31mred"),
        ("b\u00fccher", "b_cher"),
        ("x;", "x_"),
        ("\\", "_"),
        ("", "[192.0.2.1]"),
    ],
)
def test_c027_an_odd_helo_stays_one_word(helo: str, name: str) -> None:
    assert unfolded(received(helo=helo)).startswith(f"Received: from {name} ([192.0.2.1]) by ")


def test_long_names_are_folded_and_cut() -> None:
    field = received(helo="h" * 5000)
    assert max(map(len, field.split("\r\n"))) < 998
    assert (
        max(len(line.expandtabs(8)) for line in received(tls=TLS, helo="mail-long.client.example").split("\r\n")) <= 78
    )


def test_local_mail_has_no_client() -> None:
    assert unfolded(received(address="", helo="")).startswith("Received: by mail.example.org ")


def test_the_new_field_stands_on_top() -> None:
    content = received().encode() + b"Received: from a by b; x\r\n\r\nbody\r\n"
    assert count_received(split(content).header) == 2


def test_hops_are_counted_in_any_case_and_not_in_folds() -> None:
    header = b"RECEIVED: a\r\nreceived: b\r\nX: y\r\n Received: c\r\nX-Received: d\r\nReceived:e\r\n"
    assert count_received(header) == 3
    assert count_received(b"") == 0


def test_a_loop_is_refused() -> None:
    hop = b"Received: from a by b; Tue, 25 Nov 2025 12:00:00 +0000\r\n"
    assert check_hops(hop * 50) is None
    assert check_hops(hop * MAX_RECEIVED) is None
    reply = check_hops(hop * (MAX_RECEIVED + 1))
    assert reply is not None
    assert (reply.code, reply.enhanced) == (554, "5.4.6")


def test_return_path() -> None:
    assert return_path_field("alice@example.org") == b"Return-Path: <alice@example.org>\r\n"
    assert return_path_field("") == b"Return-Path: <>\r\n"
    assert return_path_field("a\r\nX: y") == b"Return-Path: <aX: y>\r\n"
