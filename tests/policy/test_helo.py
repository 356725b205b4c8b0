"""What a client calls itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.helo import helo_domain, helo_fault

US = "mail.example.net"


@pytest.mark.parametrize(
    ("helo", "fault"),
    [
        ("client.example.org", ""),
        ("Client.Example.ORG.", ""),
        ("[192.0.2.7]", ""),
        ("[IPv6:::ffff:192.0.2.7]", ""),
        ("MAIL.example.net", "it is our own name"),
        ("localhost", "it is no full host name"),
        ("192.0.2.7", "it is no full host name"),
        ("", "it is no full host name"),
        ("under_score.example.org", ""),
        ("a..b.example", "it is no full host name"),
        ("[192.0.2.8]", "it is the address of somebody else"),
        ("[IPv6:2001:db8::1]", "it is the address of somebody else"),
        ("[192.0.2.7", "it is no address literal"),
        ("[example.org]", "it is no address literal"),
    ],
)
def test_names(helo: str, fault: str) -> None:
    assert helo_fault(helo, "192.0.2.7", own_name=US) == fault


def test_an_address_that_is_not_known_is_nobodys() -> None:
    assert helo_fault("[192.0.2.7]", "", own_name=US) == "it is the address of somebody else"
    assert helo_fault("[IPv6:fe80::1]", "fe80::1%eth0", own_name=US) == ""


@given(st.text(max_size=60), st.text(max_size=20))
def test_no_name_raises(helo: str, address: str) -> None:
    helo_fault(helo, address, own_name=US)
    helo_domain(helo)
