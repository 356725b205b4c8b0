"""What clients say in OAUTHBEARER and XOAUTH2."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.smtp.sasl import Malformed
from valija.smtp.sasl_oauth import BEARERS, Bearer

OAUTHBEARER, XOAUTH2 = BEARERS["OAUTHBEARER"], BEARERS["XOAUTH2"]


def test_example_of_rfc_7628() -> None:
    response = base64.b64decode(
        "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
        "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    assert OAUTHBEARER.parse(response) == Bearer("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")


def test_example_of_xoauth2() -> None:
    response = base64.b64decode(
        "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0"
        "Q2cBAQ=="
    )
    assert XOAUTH2.parse(response) == Bearer("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")


@pytest.mark.parametrize(
    ("response", "bearer"),
    [
        (b"n,,\x01auth=Bearer x\x01\x01", Bearer("", "x")),
        (b"y,a=u=2Cv=3D,\x01auth=bearer  x\x01\x01", Bearer("u,v=", "x")),
        (b"n,,\x01AUTH=BEARER x\x01host=h\x01\x01", Bearer("", "x")),
        (b"n,,\x01auth=\x01\x01", Bearer("", "")),  # asks how tokens are to be had
        (b"n,,\x01auth=Basic eA==\x01\x01", Bearer("", "")),
        (b"n,,\x01auth=Bearer a b\x01\x01", Bearer("", "")),
    ],
)
def test_oauthbearer(response: bytes, bearer: Bearer) -> None:
    assert OAUTHBEARER.parse(response) == bearer


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\x01",
        b"n,,",
        b"n,,\x01",
        b"n,,\x01\x01",
        b"n,,\x01host=h\x01\x01",
        b"n,,\x01auth=Bearer x\x01",
        b"n,,\x01auth=Bearer x",
        b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01",
        b"n,,\x01auth=Bearer x\x01junk\x01\x01",
        b"n,,\x01auth=Bearer x\x01\x01\x01",
        b"n,,\x01auth=Bearer x\x01\x01behind",
        b"n,,\x01auth=Bearer \xff\x01\x01",
        b"p=tls-unique,,\x01auth=Bearer x\x01\x01",
        b"n,u=alice,\x01auth=Bearer x\x01\x01",
        b"n,a=\xff,\x01auth=Bearer x\x01\x01",
        b"n,a=al\tice,\x01auth=Bearer x\x01\x01",
    ],
)
def test_oauthbearer_malformed(response: bytes) -> None:
    assert OAUTHBEARER.parse(response) == Malformed()


@pytest.mark.parametrize(
    "response",
    [b"", b"user=a", b"user=a\x01auth=Bearer x\x01", b"auth=Bearer x\x01\x01", b"user=\xff\x01auth=Bearer x\x01\x01"],
)
def test_xoauth2_malformed(response: bytes) -> None:
    assert XOAUTH2.parse(response) == Malformed()


@given(st.binary(max_size=300))
def test_garbage_never_raises(response: bytes) -> None:
    for mechanism in BEARERS.values():
        assert isinstance(mechanism.parse(response), Bearer | Malformed)


def test_refusals_are_json() -> None:
    assert json.loads(OAUTHBEARER.refusal("https://id.example.org/")) == {
        "status": "invalid_token",
        "openid-configuration": "https://id.example.org/.well-known/openid-configuration",
    }
    assert json.loads(OAUTHBEARER.refusal("")) == {"status": "invalid_token"}
    assert json.loads(XOAUTH2.refusal("https://id.example.org")) == {"status": "401", "schemes": "bearer"}


def test_a_token_is_not_shown() -> None:
    assert "vF9dft" not in repr(Bearer("alice", "vF9dft"))
