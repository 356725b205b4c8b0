"""Endpoints: what is read, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.mail.endpoint import Endpoint


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:25", "0.0.0.0", 25),
        ("[::]:25", "::", 25),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
        ("[2001:DB8:0::1]:587", "2001:db8::1", 587),
        ("[fe80::1%eth0]:25", "fe80::1%eth0", 25),
    ],
)
def test_an_address_and_a_port(text: str, host: str, port: int) -> None:
    endpoint = Endpoint.parse(text)
    assert endpoint == Endpoint(host, port)
    assert Endpoint.parse(str(endpoint)) == endpoint


def test_a_missing_port_needs_a_default() -> None:
    assert Endpoint.parse("9.9.9.9", 53) == Endpoint("9.9.9.9", 53)
    assert Endpoint.parse("[::1]", 53) == Endpoint("::1", 53)
    with pytest.raises(ValueError, match="port is missing"):
        Endpoint.parse("9.9.9.9")


@pytest.mark.parametrize(
    "text",
    ["", ":25", "25", "localhost:25", "::1:25", "[::1", "[::1]25", "[::1]:", "[127.0.0.1]:25", "1.2.3.4:", "1.2.3.4:0",
     "1.2.3.4:65536", "1.2.3.4:٢٥", "1.2.3.4:+25", "1.2.3.4: 25", "01.2.3.4:25", "1.2.3.4:25:26", "*:25"],
)  # fmt: skip
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Endpoint.parse(text)
    with pytest.raises(ValueError, match=r"\w"):
        Endpoint.parse(text, 0)


@given(st.text(), st.integers(0, 65535))
def test_any_text_is_an_endpoint_or_a_value_error(text: str, default: int) -> None:
    try:
        endpoint = Endpoint.parse(text, default)
    except ValueError:
        return
    assert Endpoint.parse(str(endpoint)) == endpoint
