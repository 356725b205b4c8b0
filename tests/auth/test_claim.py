"""The name in the first response of mechanisms that keep the password to themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.auth.claim import claimed_name


@pytest.mark.parametrize(
    ("mechanism", "response", "name"),
    [
        ("SCRAM-SHA-256", b"n,,n=alice@example.org,r=fyko+d2lbbFgONRv9qkxdawL", "alice@example.org"),
        ("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=alice,r=x", "alice"),
        ("SCRAM-SHA-1", b"y,a=boss,n=alice,r=x", "alice"),
        ("SCRAM-SHA-1", b"n,,n=a=2Cb=3D2C,r=x", "a,b=2C"),
        ("OAUTHBEARER", b"n,a=alice@example.org,\x01host=mail\x01auth=Bearer t\x01\x01", "alice@example.org"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer t\x01\x01", ""),
        ("XOAUTH2", b"user=alice@example.org\x01auth=Bearer t\x01\x01", "alice@example.org"),
        ("EXTERNAL", b"", ""),
        ("SCRAM-SHA-256", b"n,,m=ext,n=alice,r=x", ""),
        ("SCRAM-SHA-256", b"n,,n=" + b"a" * 2000 + b",r=x", ""),
    ],
)
def test_names(mechanism: str, response: bytes, name: str) -> None:
    assert claimed_name(mechanism, response) == name


@given(st.sampled_from(["SCRAM-SHA-256", "XOAUTH2", "GSSAPI"]), st.binary(max_size=60))
def test_no_octets_raise(mechanism: str, response: bytes) -> None:
    claimed_name(mechanism, response)
