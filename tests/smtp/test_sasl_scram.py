"""The server's side of SCRAM: the standard's example, a client of another hand, and what is not quite it."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient  # type: ignore[import-untyped]  # it has no types

from valija.smtp.sasl import Malformed
from valija.smtp.sasl_scram import (
    LONGEST_NONCE,
    ClientFirst,
    Proven,
    Refused,
    ScramExchange,
    ScramKeys,
    choose_binding,
)

# RFC 7677 section 3
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

KEYS = ScramKeys.of(b"pencil", SALT, 4096)


def parsed(message: bytes) -> ClientFirst:
    first = ClientFirst.parse(message)
    assert isinstance(first, ClientFirst)
    return first


def exchange(first: bytes = FIRST, binding: bytes = b"") -> ScramExchange:
    return ScramExchange(parsed(first), KEYS, SERVER_NONCE, binding)


def test_example_of_rfc_7677() -> None:
    machine = exchange()
    assert machine.challenge == SERVER_FIRST
    assert machine.finish(FINAL) == Proven(SERVER_FINAL)


@pytest.mark.parametrize("binding", [b"", b"\x00\xffwhat TLS is bound to"])
def test_client_of_another_hand(binding: bytes) -> None:
    mechanism = "SCRAM-SHA-256-PLUS" if binding else "SCRAM-SHA-256"
    bound = ("tls-server-end-point", binding) if binding else None
    client = ScramClient([mechanism], "us=er,1", "pencil", channel_binding=bound)
    machine = exchange(client.get_client_first().encode(), binding)
    client.set_server_first(machine.challenge.decode())
    verdict = machine.finish(client.get_client_final().encode())
    assert isinstance(verdict, Proven)
    client.set_server_final(verdict.data.decode())  # raises where the server did not prove itself


@pytest.mark.parametrize(
    ("message", "flag", "authzid", "authcid", "nonce"),
    [
        (FIRST, "n", "", "user", b"rOprNGfwEbeRWgbNEkqO"),
        (b"y,,n=user,r=x", "y", "", "user", b"x"),
        (b"p=tls-server-end-point,,n=user,r=x", "p=tls-server-end-point", "", "user", b"x"),
        (b"n,a=b=2Cb=3D,n=a=2Cb=3Dc,r=x", "n", "b,b=", "a,b=c", b"x"),
        ("n,,n=jos\u00e9,r=x".encode(), "n", "", "jos\u00e9", b"x"),
        (b"n,,n=user,r=x,z=extension,y=other", "n", "", "user", b"x"),
    ],
)
def test_first_message(message: bytes, flag: str, authzid: str, authcid: str, nonce: bytes) -> None:
    first = parsed(message)
    assert (first.flag, first.authzid, first.authcid, first.nonce) == (flag, authzid, authcid, nonce)
    assert first.header + first.bare == message


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n,,n=user",
        b"n,,n=,r=x",
        b"n,,n=user,r=",
        b"n,n=user,r=x",
        b"x,,n=user,r=x",
        b"p=,,n=user,r=x",
        b"p=odd name,,n=user,r=x",
        b"n,b=bob,n=user,r=x",
        b"n,,n=us=er,r=x",
        b"n,,n=us=2cer,r=x",
        b"n,,n=user\0,r=x",
        b"n,,n=us\ter,r=x",
        b"n,,n=us\xffer,r=x",
        b"n,,r=x,n=user",
        b"n,,n=user,r=x y",
        b"n,,n=user,r=x\n",
        b"n,,m=must,n=user,r=x",  # RFC 5802 section 5.1: an extension that nobody knows must fail
        b"n,,n=user,r=" + b"x" * (LONGEST_NONCE + 1),
    ],
)
def test_first_message_that_is_none(message: bytes) -> None:
    assert ClientFirst.parse(message) == Malformed()


@pytest.mark.parametrize(
    "message",
    [
        b"",
        FINAL.partition(b",p=")[0],
        FINAL.replace(b"c=biws", b"c="),
        FINAL.replace(b"c=biws", b"c=bi*s"),
        FINAL + b"=",
        FINAL + b",x=behind",
        FINAL.replace(b",p=", b",p=\xff"),
        b"n,,n=user,r=x",
    ],
)
def test_final_message_that_is_none(message: bytes) -> None:
    assert exchange().finish(message) == Malformed()


@pytest.mark.parametrize(
    "change",
    [
        lambda final: final.replace(b"hvYD", b"hvYE"),
        lambda final: final.replace(b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", b""),
        lambda final: final.replace(b"c=biws", b"c=eSws"),  # "y,,": what the client first said is bound too
        lambda final: final.replace(b",p=", b",x=smuggled,p="),
        lambda final: final.replace(b"p=d", b"p=e"),
        lambda final: final.partition(b",p=")[0] + b",p=AAAA",
        lambda final: final.partition(b",p=")[0] + b",p=" + base64.b64encode(bytes(32)),
    ],
)
def test_final_message_that_is_changed(change: Callable[[bytes], bytes]) -> None:
    changed = change(FINAL)
    assert changed != FINAL
    assert isinstance(exchange().finish(changed), Refused)


@given(st.integers(0, len(FINAL) * 8 - 1))
def test_no_bit_may_be_flipped(bit: int) -> None:
    flipped = bytearray(FINAL)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not isinstance(exchange().finish(bytes(flipped)), Proven)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_garbage_never_raises_and_never_gets_in(first: bytes, final: bytes) -> None:
    assert isinstance(ClientFirst.parse(first), Malformed | ClientFirst)
    assert not isinstance(exchange().finish(final), Proven)


def test_replayed_in_another_exchange() -> None:
    other = ScramExchange(parsed(FIRST), KEYS, "another-and-fresh")
    assert other.finish(FINAL) == Refused("another nonce")


def test_bound_to_another_channel() -> None:
    client = ScramClient(
        ["SCRAM-SHA-256-PLUS"], "user", "pencil", channel_binding=("tls-server-end-point", b"of somebody in between")
    )
    machine = exchange(client.get_client_first().encode(), b"ours")
    client.set_server_first(machine.challenge.decode())
    assert machine.finish(client.get_client_final().encode()) == Refused("another channel binding")


@pytest.mark.parametrize(
    ("flag", "plus", "offered", "right"),
    [
        ("n", False, True, True),
        ("n", False, False, True),
        ("y", False, False, True),
        ("y", False, True, False),  # somebody took PLUS out of our offer
        ("p=tls-server-end-point", True, True, True),
        ("p=tls-unique", True, True, False),
        ("p=tls-exporter", True, True, False),
        ("n", True, True, False),
        ("y", True, True, False),
        ("p=tls-server-end-point", False, True, False),
    ],
)
def test_choice_of_the_binding(flag: str, plus: bool, offered: bool, right: bool) -> None:
    bindings = {"tls-server-end-point": b"digest"} if offered else {}
    chosen = choose_binding(flag, plus=plus, bindings=bindings)
    assert chosen == (b"digest" if plus else b"") if right else isinstance(chosen, Refused)


def test_keys_are_stored_as_text() -> None:
    text = KEYS.as_text()
    assert text == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert ScramKeys.parse(text) == KEYS
    assert "W22Z" not in repr(KEYS)


@pytest.mark.parametrize("text", ["", "SCRAM-SHA-256$1:salt", "SCRAM-SHA-1$1:AA==$AA==:AA==", "SCRAM-SHA-256$1:!$!:!"])
def test_damaged_keys(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ScramKeys.parse(text)
