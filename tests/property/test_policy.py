"""Whatever a stranger asks for, the relay stays closed; whatever the configuration says, reading it never raises."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from valija.mail.reply import Reply
from valija.policy.networks import Gateway, Networks
from valija.policy.next_hop import parse_next_hop
from valija.policy.relay import Allowed, RelayFacts, decide, domains_of

TRUSTED = ("127.0.0.0/8", "[::1]/128", "192.0.2.0/24", "2001:db8::/64")
HOSTED = frozenset({"local.example"})

ipv4 = st.ip_addresses(v=4)
ipv6 = st.ip_addresses(v=6)
mapped = ipv4.map(lambda address: f"::ffff:{address}")
addresses = st.one_of(ipv4.map(str), ipv6.map(str), mapped, st.text(max_size=20))
pieces = st.sampled_from(
    ["@", "%", "!", '"', "\\", ":", ",", ".", "[", "]", "local.example", "LOCAL.EXAMPLE", "remote.example",
     "postmaster", "alice", "127.0.0.1", "IPv6:::1", "localhost", " ", "\x00", "\r\n", "é"]
)  # fmt: skip
recipients = st.one_of(st.lists(pieces, max_size=9).map("".join), st.text(max_size=30), st.emails())


def _facts() -> RelayFacts:
    networks, faults = Networks.parse(TRUSTED)
    assert not faults
    return RelayFacts(networks, HOSTED, "local.example", lambda _: True)


FACTS = _facts()


def _is_trusted(text: str) -> bool:
    """Say by plain arithmetic who is in TRUSTED."""
    if ":" not in text:
        try:
            number = int(IPv4Address(text))
        except ValueError:
            return False
        return number >> 24 == 127 or number >> 8 == int(IPv4Address("192.0.2.0")) >> 8
    try:
        number = int(IPv6Address(text.partition("%")[0]))
    except ValueError:
        return False
    if number >> 32 == 0xFFFF:
        return _is_trusted(str(IPv4Address(number & 0xFFFFFFFF)))
    return number == 1 or number >> 64 == 0x20010DB800000000


@given(addresses)
def test_trust_agrees_with_arithmetic(address: str) -> None:
    assert FACTS.trusts(address) is _is_trusted(address)


@given(addresses, recipients, st.text(max_size=10))
def test_a_stranger_reaches_hosted_domains_only(address: str, recipient: str, login: str) -> None:
    if _is_trusted(address):
        return
    decision = decide("smtpd", address, login, recipient, FACTS)
    if isinstance(decision, Allowed):
        assert decision.rule == "hosted local.example"
        assert decision.address.rpartition("@")[2] == "local.example"
    else:
        assert decision.is_permanent
        assert decision.encode().count(b"\n") == 1


@given(addresses, st.sampled_from(["submission", "submissions"]), recipients)
def test_without_a_login_nothing_is_submitted(address: str, role: str, recipient: str) -> None:
    decision = decide("submission" if role == "submission" else "submissions", address, "", recipient, FACTS)
    assert isinstance(decision, Reply)
    assert decision.code == 530


@given(
    st.lists(st.one_of(st.text("0123456789abcdef.:/[]%, ", max_size=24), st.text(max_size=8), st.none()), max_size=6)
)
def test_each_entry_is_a_range_or_a_fault(entries: list[object]) -> None:
    networks, faults = Networks.parse(entries, {Gateway("10.0.0.1", "container bridge")})
    assert len(faults) <= len(entries)
    assert all(fault.reason and fault.remedy for fault in faults)
    assert networks.find("10.0.0.1") is None
    domains_of(entries, "mail.example.org")
    for entry in entries:
        parse_next_hop(entry)


@given(st.integers(0, 32), st.integers(0, 2**32 - 1), ipv4)
def test_no_wide_public_range_gets_through(length: int, number: int, client: IPv4Address) -> None:
    host_bits = 32 - length
    entry = f"{IPv4Address(number >> host_bits << host_bits)}/{length}"
    networks, faults = Networks.parse([entry])
    if length < 16 and client.is_global:
        assert networks.find(str(client)) is None
    if not faults:
        assert networks.find(entry.partition("/")[0]) == entry
