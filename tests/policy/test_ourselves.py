import pytest

from valija.mail.endpoint import Endpoint
from valija.policy.next_hop import NextHop
from valija.policy.ourselves import Ourselves, relayhost_fault

LOCAL = {"192.0.2.7", "2001:db8::7"}


def _ourselves(*listeners: str) -> Ourselves:
    return Ourselves("mail.example.org", tuple(Endpoint.parse(text) for text in listeners), LOCAL.__contains__)


@pytest.mark.parametrize(
    ("listener", "address", "port", "is_own"),
    [
        ("0.0.0.0:25", "127.0.0.1", 25, True),
        ("0.0.0.0:25", "127.0.0.2", 25, True),
        ("0.0.0.0:25", "192.0.2.7", 25, True),
        ("0.0.0.0:25", "::ffff:192.0.2.7", 25, True),
        ("0.0.0.0:25", "0.0.0.0", 25, True),
        ("0.0.0.0:25", "192.0.2.8", 25, False),
        ("0.0.0.0:25", "127.0.0.1", 26, False),
        ("0.0.0.0:25", "::1", 25, False),
        ("0.0.0.0:25", "2001:db8::7", 25, False),
        ("[::]:25", "::1", 25, True),
        ("[::]:25", "2001:db8::7", 25, True),
        ("[::]:25", "2001:DB8:0::7", 25, True),
        ("[::]:25", "::", 25, True),
        ("[::]:25", "2001:db8::8", 25, False),
        ("[::]:25", "127.0.0.1", 25, False),
        ("[::]:25", "192.0.2.7", 25, False),
        ("[::]:25", "::ffff:192.0.2.7", 25, False),
        ("127.0.0.1:25", "127.0.0.1", 25, True),
        ("127.0.0.1:25", "::ffff:127.0.0.1", 25, True),
        ("127.0.0.1:25", "0.0.0.0", 25, True),
        ("127.0.0.1:25", "127.0.0.2", 25, False),
        ("192.0.2.7:25", "192.0.2.7", 25, True),
        ("192.0.2.7:25", "127.0.0.1", 25, False),
        ("[::1]:25", "::1", 25, True),
        ("[::1]:25", "::1%lo", 25, True),
        ("0.0.0.0:25", "mail.example.org", 25, False),
        ("0.0.0.0:25", "", 25, False),
    ],
)
def test_who_would_be_reached(listener: str, address: str, port: int, is_own: bool) -> None:
    assert _ourselves("198.51.100.1:2525", listener).is_own_listener(address, port) is is_own


def test_without_listeners_nobody_is_reached() -> None:
    assert not _ourselves().is_own_listener("127.0.0.1", 25)


@pytest.mark.parametrize(
    ("name", "is_own"),
    [
        ("mail.example.org", True),
        ("MAIL.Example.Org.", True),
        ("example.org", False),
        ("x.mail.example.org", False),
        ("", False),
        ("..", False),
    ],
)
def test_the_own_name(name: str, is_own: bool) -> None:
    assert _ourselves().is_own_name(name) is is_own


@pytest.mark.parametrize(
    "relayhost",
    [
        NextHop("mail.example.org", 2525),
        NextHop("mail.example.org"),
        NextHop("mail.example.org", lookup_mx=True),
        NextHop("127.0.0.1", 2525),
        NextHop("127.0.0.9", 25),
        NextHop("192.0.2.7"),
        NextHop("localhost", 25),
    ],
)
def test_a_relayhost_that_is_ourselves_is_a_fault(relayhost: NextHop) -> None:
    fault = relayhost_fault(relayhost, _ourselves("0.0.0.0:25", "127.0.0.1:2525"), 25)
    assert fault
    assert relayhost.host in str(fault.value)
    assert "this server's own" in fault.reason


@pytest.mark.parametrize(
    "relayhost",
    [
        NextHop("relay.example", 25),
        NextHop("127.0.0.1", 2626),
        NextHop("mail.example.org", 2626),
        NextHop("192.0.2.8", 25),
        NextHop("localhost", 2626),
        NextHop("::1", 25),
    ],
)
def test_any_other_relayhost_is_taken_at_its_word(relayhost: NextHop) -> None:
    assert relayhost_fault(relayhost, _ourselves("0.0.0.0:25", "127.0.0.1:2525"), 25) is None
