"""The proof that the relay is closed agrees with the decision it speaks of, and sees every way to be open."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.mail.origin import Role
from valija.policy import relay_proof
from valija.policy.networks import Gateway, Networks
from valija.policy.relay import Allowed, RelayFacts, decide
from valija.policy.relay_proof import Answer, Grant, Proof, Stretch, answers_for, grants, prove

ALL: tuple[Role, ...] = ("smtpd", "submission", "submissions")


def facts_of(networks: Networks, *domains: str) -> RelayFacts:
    hosted = domains or ("example.org",)
    return RelayFacts(networks, frozenset(hosted), hosted[0], lambda _: False)


def parsed(*entries: str, gateways: frozenset[Gateway] = frozenset()) -> Networks:
    networks, faults = Networks.parse(entries, gateways)
    assert not faults
    return networks


def unchecked(*entries: str, exceptions: Sequence[str] = ()) -> Networks:
    """Networks that the configuration would refuse."""
    return Networks([(ip_network(entry), entry) for entry in entries], map(ip_address, exceptions))


USUAL = parsed(
    "127.0.0.0/8", "[::1]/128", "192.168.1.0/24", "::ffff:10.0.0.0/104", "[2001:db8::]/64", "203.0.113.7",
    gateways=frozenset({Gateway("192.168.1.1", "default")}),
)  # fmt: skip


# The stretches


def number(text: str) -> tuple[int, int]:
    """Return an address as it is written, not normalised."""
    address = IPv6Address(text) if ":" in text else IPv4Address(text)
    return address.version, int(address)


@pytest.mark.parametrize("role", ALL)
def test_the_stretches_are_all_addresses_without_gap_or_overlap(role: Role) -> None:
    proof = prove(facts_of(USUAL), ALL)
    ends = [(number(each.first), number(each.last)) for each in proof.stretches if each.listener == role]
    assert ends[0][0] == (4, 0)
    assert ends[-1][1] == (6, 2**128 - 1)
    for (_, last), (first, _) in pairwise(ends):
        assert first == ((6, 0) if last == (4, 2**32 - 1) else (last[0], last[1] + 1))


LENGTHS = {4: st.integers(16, 32), 6: st.integers(48, 128)}
V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
MAPPED = V4.map(lambda address: IPv6Address(f"::ffff:{address}"))


@st.composite
def entries(draw: st.DrawFn) -> str:
    address = draw(st.one_of(V4, V6))
    length = draw(LENGTHS[address.version])
    return str(ip_network((int(address), length) if address.version == 4 else (address, length), strict=False))


@st.composite
def near(draw: st.DrawFn, written: list[str]) -> str:
    """An address at or beside the end of a range, where mistakes would be, or anywhere."""
    if not written or draw(st.booleans()):
        return str(draw(st.one_of(V4, V6, MAPPED)))
    network = ip_network(draw(st.sampled_from(written)))
    base = draw(st.sampled_from([int(network.network_address), int(network.broadcast_address)]))
    value = min(max(base + draw(st.integers(-2, 2)), 0), 2**network.max_prefixlen - 1)
    address: object = type(network.network_address)(value)
    return f"::ffff:{address}" if network.version == 4 and draw(st.booleans()) else str(address)


@given(st.data(), st.lists(entries(), max_size=6))
def test_any_address_gets_the_decision_that_its_stretch_says(data: st.DataObject, written: list[str]) -> None:
    exceptions = [data.draw(near(written)) for _ in range(data.draw(st.integers(0, 2)))]
    facts = facts_of(unchecked(*written, exceptions=[each for each in exceptions if "::ffff:" not in each]))
    proof = prove(facts, ALL, landmarks=[data.draw(near(written))])
    for address in data.draw(st.lists(near(written), min_size=1, max_size=8)):
        for role in ALL:
            said = stretch_of(proof, role, address).rule
            real = decide(role, address, "", "someone@example.net", facts)
            assert said == (real.rule if isinstance(real, Allowed) else "")


def stretch_of(proof: Proof, role: Role, address: str) -> Stretch:
    wanted = number(address)
    (found,) = [s for s in proof.stretches if s.listener == role and number(s.first) <= wanted <= number(s.last)]
    return found


def test_gateways_and_own_addresses_are_judged_one_by_one() -> None:
    without, apart = prove(facts_of(USUAL), ALL), prove(facts_of(USUAL), ALL, gateways=["198.51.100.1"])
    assert apart.pieces == without.pieces + 4  # in IPv4, and among the mapped addresses
    assert apart.stretches == without.stretches


# Closed and open


def test_a_usual_configuration_is_closed() -> None:
    proof = prove(facts_of(USUAL), ALL, gateways=["192.168.1.1"])
    assert proof.leaks == ()
    assert proof.is_closed


def test_nobody_at_all_is_closed() -> None:
    proof = prove(facts_of(Networks()), ALL)
    assert proof.is_closed
    assert {stretch.rule for stretch in proof.stretches} == {""}


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        (unchecked("0.0.0.0/0"), "smtpd: anybody in 0.0.0.0/0 may relay without a login: it is the whole internet"),
        (unchecked("::/0"), "a public range wider than one site"),
        (unchecked("100.0.0.0/15"), "anybody in 100.0.0.0/15 may relay without a login: it is a public range wider"),
        (unchecked("100.0.0.0/16", "100.1.0.0/16"), "anybody in 100.0.0.0/15"),
        (unchecked("100.0.0.0/15", exceptions=["100.0.255.255", "100.1.0.0"]), "anybody in 100.0.0.0/15"),
        (unchecked("2001::/33"), "tunnels that anybody can open (Teredo)"),
        (unchecked("64:ff9b::/100"), "stand for a part of the IPv4 internet that is wider than one site (NAT64)"),
    ],
)
def test_a_wide_public_range_is_a_leak(networks: Networks, words: str) -> None:
    proof = prove(facts_of(networks), ("smtpd",))
    assert not proof.is_closed
    assert any(words in leak for leak in proof.leaks), proof.leaks


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/8", "100.0.0.0/16", "2a00::/32", "fc00::/7", "127.0.0.0/8", "203.0.113.7/32"]
)
def test_what_one_site_may_have_is_none(entry: str) -> None:
    assert prove(facts_of(unchecked(entry)), ALL).is_closed


def test_c065_a_trusted_gateway_is_a_leak() -> None:
    facts = facts_of(unchecked("172.17.0.0/16"))
    proof = prove(facts, ALL, gateways=["172.17.0.1", "127.0.0.1"])
    assert proof.leaks == ("smtpd: whoever hides behind the gateway 172.17.0.1 may relay without a login",)


def test_a_wide_range_matters_only_where_somebody_listens() -> None:
    assert prove(facts_of(unchecked("0.0.0.0/0")), ("submission", "submissions")).is_closed


class TrustsEveryone(Networks):
    """A fault that this proof is to find: an unknown address is trusted."""

    def find(self, address: str) -> str | None:
        return super().find(address) if address else "10.0.0.0/8"


def test_an_unknown_address_that_is_trusted_is_a_leak() -> None:
    proof = prove(facts_of(TrustsEveryone([(ip_network("10.0.0.0/8"), "10.0.0.0/8")])), ("smtpd",))
    assert "smtpd: a client whose address is unknown may relay without a login" in proof.leaks


def test_c062_a_roundabout_way_is_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    def gullible(role: Role, client: str, login: str, recipient: str, facts: RelayFacts) -> object:
        return Allowed("hole", recipient) if "%" in recipient else decide(role, client, login, recipient, facts)

    monkeypatch.setattr(relay_proof, "decide", gullible)
    leaks = prove(facts_of(USUAL), ("smtpd",)).leaks
    assert "smtpd: a stranger may send to <someone%outside.invalid@example.org>" in leaks


def test_a_login_that_counts_on_smtpd_is_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(role: Role, client: str, login: str, recipient: str, facts: RelayFacts) -> object:
        return Allowed("login", recipient) if login else decide(role, client, login, recipient, facts)

    monkeypatch.setattr(relay_proof, "decide", generous)
    assert "smtpd: a login counts from 0.0.0.0, where none is offered" in prove(facts_of(USUAL), ALL).leaks


def test_ends_that_differ_are_a_leak() -> None:
    class Odd(Networks):
        def find(self, address: str) -> str | None:
            return "an odd one" if address == "255.255.255.255" else None

    (leak, *_) = prove(facts_of(Odd()), ("smtpd",)).leaks
    assert leak == "smtpd: 0.0.0.0/0 is not judged alike"


# One address


def test_a_stranger() -> None:
    facts = facts_of(USUAL)
    stranger = answers_for("198.51.100.9", ALL, facts)
    assert [(answer.listener, answer.login, bool(answer.hosted), bool(answer.elsewhere)) for answer in stranger] == [
        ("smtpd", False, True, False),
        ("submission", False, False, False),
        ("submission", True, True, True),
        ("submissions", False, False, False),
        ("submissions", True, True, True),
    ]
    assert stranger[0].refusal.startswith("554 5.7.1 ")
    assert stranger[1].refusal.startswith("530 5.7.0 ")


def test_a_trusted_client() -> None:
    (answer,) = answers_for("::ffff:10.9.8.7", ("smtpd",), facts_of(USUAL))
    rule = "mynetworks ::ffff:10.0.0.0/104"
    assert answer == Answer("smtpd", login=False, hosted=rule, elsewhere=rule)


# In words


def test_the_table_for_people() -> None:
    facts = facts_of(USUAL, "a.example", "b.example", "c.example", "d.example", "e.example")
    listeners: tuple[Role, ...] = ("smtpd", "submission")
    table = list(grants(prove(facts, listeners), listeners, facts))
    assert [(grant.listener, grant.clients, grant.login, grant.may_send_to) for grant in table] == [
        ("smtpd", "10.0.0.0/8", "none", "anywhere"),
        ("smtpd", "127.0.0.0/8", "none", "anywhere"),
        ("smtpd", "192.168.1.0/24 without 192.168.1.1", "none", "anywhere"),
        ("smtpd", "203.0.113.7", "none", "anywhere"),
        ("smtpd", "::1", "none", "anywhere"),
        ("smtpd", "2001:db8::/64", "none", "anywhere"),
        ("smtpd", "all others", "none", "a.example, b.example, c.example and 2 more"),
        ("submission", "all", "none", "nowhere"),
        ("submission", "all", "a user's", "anywhere"),
    ]
    assert table[0].rule == "mynetworks ::ffff:10.0.0.0/104"


def test_two_ranges_of_one_rule_and_one_that_is_no_power_of_two() -> None:
    facts = facts_of(unchecked("192.0.2.0/25", "192.0.2.64/26"))
    (first, second, *_) = grants(prove(facts, ("smtpd",)), ("smtpd",), facts)
    assert (first.clients, second.clients) == ("192.0.2.0/26", "192.0.2.64/26")
    odd = facts_of(unchecked("192.0.2.0/24", "192.0.2.64/26"))
    (first, *_) = grants(prove(odd, ("smtpd",)), ("smtpd",), odd)
    assert first.clients == "192.0.2.0/26, 192.0.2.128/25"
    three = facts_of(unchecked("192.0.2.0/25", "192.0.2.0/26"))
    assert [grant.clients for grant in grants(prove(three, ("smtpd",)), ("smtpd",), three)][:2] == [
        "192.0.2.0/26",
        "192.0.2.64/26",
    ]


def test_a_proof_is_plain_data() -> None:
    proof = prove(facts_of(USUAL), ALL)
    assert msgspec.json.decode(msgspec.json.encode(proof), type=Proof) == proof
    assert Grant("smtpd", "::1", "none", "anywhere") == Grant("smtpd", "::1", "none", "anywhere", "")
