"""Dovecot's authentication protocol, octet by octet."""

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.auth.backend import Challenge, ConnectionFacts, Success, Unavailable, Wrong
from valija.auth.dovecot_protocol import LONGEST_LINE, DovecotLink, Nonsense, Verdict

FACTS = ConnectionFacts(
    secured=True, client_address="192.0.2.1", client_port=40000, local_address="2001:db8::1", local_port=587
)
HANDSHAKE = (
    b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nMECH\tSCRAM-SHA-256\tmutual-auth\n"
    b"MECH\tANONYMOUS\tanonymous\nMECH\tEXTERNAL\nMECH\tDOVECOT-TOKEN\tprivate\nMECH\tSCRAM-SHA-256-PLUS\n"
    b"MECH\tx bad\nSPID\t12\nCUID\t3\nCOOKIE\tabc\nDONE\n"
)


def ready() -> DovecotLink:
    link = DovecotLink(1)
    assert link.receive(HANDSHAKE) == []
    assert link.is_ready
    return link


def asked(link: DovecotLink) -> int:
    return link.begin("PLAIN", FACTS, b"\0alice\0secret")[0]


def test_only_what_may_be_used_is_offered() -> None:
    assert ready().mechanisms == ("PLAIN", "LOGIN", "SCRAM-SHA-256")


def test_nothing_is_offered_before_the_introduction_is_over() -> None:
    link = DovecotLink(1)
    link.receive(HANDSHAKE.removesuffix(b"DONE\n"))
    assert not link.is_ready
    assert link.mechanisms == ()


def test_request() -> None:
    number, octets = ready().begin("PLAIN", FACTS, b"\0alice\0secret")
    response = base64.b64encode(b"\0alice\0secret").decode()
    assert octets.decode() == (
        f"AUTH\t{number}\tPLAIN\tservice=smtp\tsecured\tnologin\tno-penalty\trip=192.0.2.1\tlip=2001:db8::1\t"
        f"rport=40000\tlport=587\tresp={response}\n"
    )


def test_request_without_an_initial_response_is_not_one_with_an_empty_one() -> None:
    link = ready()
    assert b"resp" not in link.begin("LOGIN", FACTS, None)[1]
    assert link.begin("LOGIN", FACTS, b"")[1].endswith(b"\tresp=\n")


@given(st.binary(), st.binary())
def test_no_name_or_password_can_add_a_field(name: bytes, password: bytes) -> None:
    plain = ready().begin("PLAIN", FACTS, b"\0alice\0secret")[1]
    octets = ready().begin("PLAIN", FACTS, b"\0" + name + b"\0" + password)[1]
    assert octets.count(b"\t") == plain.count(b"\t")
    assert octets.count(b"\n") == 1


def test_success_names_the_user_as_dovecot_spells_it() -> None:
    link = ready()
    number = asked(link)
    assert link.receive(f"OK\t{number}\tuser=alice\toriginal_user=ALICE\n".encode()) == [
        Verdict(number, Success("alice"))
    ]


@pytest.mark.parametrize("user", ["", "ali\x01tce", "al\x01nice", "a b"])
def test_user_name_that_no_login_may_have_is_nobodys_success(user: str) -> None:
    link = ready()
    number = asked(link)
    (verdict,) = link.receive(f"OK\t{number}\tuser={user}\n".encode())
    assert isinstance(verdict.step, Unavailable)


@pytest.mark.parametrize("said", ["temp", "code=temp_fail", "temp\treason=ldap is down"])
def test_temporary_failure_is_not_a_wrong_password(said: str) -> None:
    link = ready()
    number = asked(link)
    (verdict,) = link.receive(f"FAIL\t{number}\tuser=alice\t{said}\n".encode())
    assert isinstance(verdict.step, Unavailable)


@pytest.mark.parametrize("said", ["", "\tuser=alice", "\tuser=alice\tauthz", "\tuser=alice\tuser_disabled"])
def test_refusal(said: str) -> None:
    link = ready()
    number = asked(link)
    (verdict,) = link.receive(f"FAIL\t{number}{said}\n".encode())
    assert isinstance(verdict.step, Wrong)


def test_exchange_of_several_steps() -> None:
    link = ready()
    number, _ = link.begin("LOGIN", FACTS, None)
    prompt = base64.b64encode(b"Username:").decode()
    assert link.receive(f"CONT\t{number}\t{prompt}\n".encode()) == [Verdict(number, Challenge(b"Username:"))]
    assert link.go_on(number, b"alice") == f"CONT\t{number}\t{base64.b64encode(b'alice').decode()}\n".encode()
    assert link.open_requests == 1


def test_verdict_on_no_request_of_ours_is_none() -> None:
    link = ready()
    number = asked(link)
    assert link.receive(f"OK\t{number + 1}\tuser=mallory\n".encode()) == []
    assert link.receive(f"OK\t{number}\tuser=alice".encode()) == []  # not a whole line
    assert link.receive(b"\n") == [Verdict(number, Success("alice"))]
    assert link.receive(f"OK\t{number}\tuser=alice\n".encode()) == []  # said already


def test_cancelled_request_has_no_verdict() -> None:
    link = ready()
    number = asked(link)
    assert link.cancel(number) == f"CANCEL\t{number}\n".encode()
    assert link.cancel(number) == b""
    assert link.receive(f"OK\t{number}\tuser=alice\n".encode()) == []


@pytest.mark.parametrize(
    "octets",
    [
        b"220 mail.example.org ESMTP\r\n",
        b"VERSION\t2\t0\n",
        b"VERSION\n",
        b"OK\n",
        b"OK\tseven\tuser=alice\n",
        b"x" * (LONGEST_LINE + 1),
    ],
)
def test_nonsense(octets: bytes) -> None:
    with pytest.raises(Nonsense):
        DovecotLink(1).receive(octets)


def test_challenge_that_is_no_base64_is_nonsense() -> None:
    link = ready()
    with pytest.raises(Nonsense):
        link.receive(f"CONT\t{asked(link)}\t***\n".encode())


@given(st.lists(st.integers(1, len(HANDSHAKE)), max_size=10))
def test_any_cutting_gives_the_same(cuts: list[int]) -> None:
    link = DovecotLink(1)
    places = sorted({0, *cuts, len(HANDSHAKE)})
    for start, end in itertools.pairwise(places):
        link.receive(HANDSHAKE[start:end])
    assert link.mechanisms == ready().mechanisms


@given(st.lists(st.binary(), max_size=20))
def test_garbage_is_nonsense_at_worst(pieces: list[bytes]) -> None:
    link = ready()
    asked(link)
    try:
        for piece in pieces:
            assert not any(isinstance(verdict.step, Success) for verdict in link.receive(piece))
    except Nonsense:
        return
