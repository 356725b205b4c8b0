"""The client's side of SASL: the standards' examples, the server of this project, and servers that lie."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.smtp.client_sasl import (
    FEWEST_ITERATIONS,
    MECHANISMS,
    SCRAM,
    SCRAM_PLUS,
    NotTrusted,
    Secret,
    begin,
    strongest,
)
from valija.smtp.sasl import Credentials, PlainExchange
from valija.smtp.sasl_oauth import BEARERS, Bearer
from valija.smtp.sasl_scram import ClientFirst, Proven, ScramExchange, ScramKeys, choose_binding

ALICE = Secret("alice@example.org", b"secret", token="vF9dft4q", nonce="rOprNGfwEbeRWgbNEkqO", host="mx", port=587)
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def test_example_of_rfc_7677() -> None:
    exchange = begin(SCRAM, Secret("user", b"pencil", nonce="rOprNGfwEbeRWgbNEkqO"))
    assert exchange.initial == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert exchange.respond(SERVER_FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert not exchange.is_proven
    assert exchange.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
    assert exchange.is_proven


@pytest.mark.parametrize("mechanism", [SCRAM, SCRAM_PLUS])
@pytest.mark.parametrize("name", ["alice", "a=b,c", "ñandú@example.org"])
def test_scram_with_the_server_of_this_project(mechanism: str, name: str) -> None:
    plus = mechanism == SCRAM_PLUS
    binding = b"\x00\xffbound"
    exchange = begin(mechanism, Secret(name, b"secret", nonce="abc", binding=binding, server_binds=True))
    assert exchange.initial is not None
    first = ClientFirst.parse(exchange.initial)
    assert isinstance(first, ClientFirst)
    assert first.authcid == name
    bound = choose_binding(first.flag, plus=plus, bindings={"tls-server-end-point": binding})
    assert isinstance(bound, bytes)
    server = ScramExchange(first, ScramKeys.of(b"secret", b"salt", FEWEST_ITERATIONS), "xyz", bound)
    verdict = server.finish(exchange.respond(server.challenge))
    assert isinstance(verdict, Proven)
    assert exchange.respond(verdict.data) == b""
    assert exchange.is_proven


@pytest.mark.parametrize(
    ("binding", "server_binds", "flag"), [(b"", False, b"n"), (b"x", False, b"y"), (b"x", True, b"n")]
)
def test_the_word_on_channel_binding(binding: bytes, server_binds: bool, flag: bytes) -> None:
    initial = begin(SCRAM, Secret("u", nonce="n", binding=binding, server_binds=server_binds)).initial
    assert initial is not None
    assert initial.startswith(flag + b",,")


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"r=other,s=c2FsdA==,i=4096", "another nonce"),
        (b"r=abc,s=c2FsdA==,i=4096", "another nonce"),
        (b"r=abcd,s=c2FsdA==,i=4095", "4095 iterations"),
        (b"r=abcd,s=c2FsdA==,i=1000001", "1000001 iterations"),
        (b"r=abcd,s=c2Fsd,i=4096", "does not follow SCRAM"),
        (b"m=new,r=abcd,s=c2FsdA==,i=4096", "does not follow SCRAM"),
        (b"", "does not follow SCRAM"),
    ],
)
def test_a_server_that_is_not_sound_learns_nothing(first: bytes, why: str) -> None:
    exchange = begin(SCRAM, Secret("u", b"secret", nonce="abc"))
    with pytest.raises(NotTrusted, match=why):
        exchange.respond(first)
    assert not exchange.is_proven


@pytest.mark.parametrize("final", [b"v=" + base64.b64encode(bytes(32)), b"e=other-error", b"", b"v="])
def test_a_server_that_does_not_know_the_password(final: bytes) -> None:
    exchange = begin(SCRAM, Secret("u", b"secret", nonce="abc"))
    exchange.respond(b"r=abcd,s=c2FsdA==,i=4096")
    with pytest.raises(NotTrusted):
        exchange.respond(final)
    assert not exchange.is_proven


def test_plain_and_login() -> None:
    plain = begin("PLAIN", ALICE)
    assert PlainExchange().respond(plain.initial) == Credentials("alice@example.org", "", b"secret")
    with pytest.raises(NotTrusted):
        plain.respond(b"")
    login = begin("LOGIN", ALICE)
    assert login.initial is None
    assert not login.is_proven
    assert [login.respond(b"Username:"), login.respond(b"?")] == [b"alice@example.org", b"secret"]
    assert login.is_proven
    with pytest.raises(NotTrusted):
        login.respond(b"more")


@pytest.mark.parametrize(("mechanism", "answer"), [("XOAUTH2", b""), ("OAUTHBEARER", b"\x01")])
def test_tokens(mechanism: str, answer: bytes) -> None:
    exchange = begin(mechanism, ALICE)
    assert exchange.initial is not None
    assert BEARERS[mechanism].parse(exchange.initial) == Bearer("alice@example.org", "vF9dft4q")
    assert exchange.is_proven
    assert exchange.respond(b'{"status":"401"}') == answer
    assert not exchange.is_proven
    with pytest.raises(NotTrusted):
        exchange.respond(b"again")


def test_the_strongest_mechanism() -> None:
    everything = ("LOGIN", "PLAIN", SCRAM, SCRAM_PLUS, "GSSAPI")
    assert strongest(everything, is_secure=True, can_bind=True) == SCRAM_PLUS
    assert strongest(everything, is_secure=True, can_bind=False) == SCRAM
    assert strongest(("LOGIN", "PLAIN"), is_secure=True, can_bind=True) == "PLAIN"
    assert strongest(("LOGIN",), is_secure=True, can_bind=True) == "LOGIN"
    assert strongest(("LOGIN", "PLAIN"), is_secure=False, can_bind=False) == ""
    assert strongest(("GSSAPI",), is_secure=True, can_bind=True) == ""


@given(st.sampled_from(MECHANISMS), st.lists(st.binary(max_size=60), max_size=5))
def test_no_challenge_raises_anything_else(mechanism: str, challenges: list[bytes]) -> None:
    exchange = begin(mechanism, ALICE)
    for challenge in challenges:
        try:
            exchange.respond(challenge)
        except NotTrusted:
            return


def test_nothing_shows_the_secret() -> None:
    assert repr(ALICE) == "Secret('alice@example.org', ...)"
