import pytest

from valija.mail.fault import Fault
from valija.policy.next_hop import NextHop, parse_next_hop


@pytest.mark.parametrize(
    ("text", "next_hop"),
    [
        ("", None),
        ("[relay.example]", NextHop("relay.example")),
        ("[relay.example]:587", NextHop("relay.example", 587)),
        ("[Relay.Example.]:25", NextHop("relay.example", 25)),
        ("relay.example", NextHop("relay.example", 0, True)),
        ("relay.example:2525", NextHop("relay.example", 2525, True)),
        ("bücher.example", NextHop("xn--bcher-kva.example", 0, True)),
        ("[192.0.2.1]:25", NextHop("192.0.2.1", 25)),
        ("[2001:DB8::1]:25", NextHop("2001:db8::1", 25)),
        ("[2001:db8::1]", NextHop("2001:db8::1")),
        ("[localhost]:2626", NextHop("localhost", 2626)),
    ],
)
def test_a_next_hop_as_postfix_writes_it(text: str, next_hop: NextHop | None) -> None:
    assert parse_next_hop(text) == next_hop


@pytest.mark.parametrize(
    ("text", "reason", "remedy"),
    [
        ("192.0.2.1", "an IP address has no MX hosts", 'write "[192.0.2.1]"'),
        ("192.0.2.1:25", "an IP address has no MX hosts", 'write "[192.0.2.1]:25"'),
        ("2001:db8::1", "stands in brackets", 'write "[2001:db8::1]"'),
        ("[relay.example]:smtp", "the port is no number", "[host]:port"),
        ("[relay.example]:0", "the port is no number from 1 to 65535", ""),
        ("relay.example:65536", "the port is no number from 1 to 65535", ""),
        ("relay.example:", "the port is no number", ""),
        ("[relay.example]:", "the port is no number", ""),
        ("[relay.example", "it cannot be read", ""),
        ("[relay.example]587", "it cannot be read", ""),
        ("smtp:[relay.example]:25", "it cannot be read", ""),
        ("[]", "'' is neither a host name nor an IP address", ""),
        ("[relay example]", "'relay example' is neither", ""),
        (":25", "'' is neither", ""),
        ("[2001:db8::zz]:25", "'2001:db8::zz' is neither", ""),
        ("[a.example], [b.example]", "it cannot be read", ""),
        (25, "it is not a string", "put it in quotes"),
    ],
)
def test_a_next_hop_s_fault(text: object, reason: str, remedy: str) -> None:
    fault = parse_next_hop(text)
    assert isinstance(fault, Fault)
    assert fault.value == text
    assert reason in fault.reason
    assert remedy in fault.remedy
    assert fault.remedy
