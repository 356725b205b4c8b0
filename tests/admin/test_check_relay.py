"""Who may relay, as the check tells it, and gateways that strangers hide behind (C065)."""

from pathlib import Path

from tests.admin.lab import bad, config
from valija import machine
from valija.admin.check_relay import Neighbours, check_relay, listeners_on, prove_relay, relay_table

BRIDGES = {"docker0": frozenset({"172.17.0.1"}), "lxdbr0": frozenset({"10.9.0.1", "fd00:9::1"})}
NEIGHBOURS = Neighbours(("192.0.2.1",), BRIDGES, ("192.0.2.7",))


def test_a_closed_relay() -> None:
    found = list(check_relay(config(), NEIGHBOURS))
    assert bad(found) == []
    assert found[0].text == "nobody outside can relay without a login, whatever the address"
    assert found[1].text.startswith("no gateway or bridge is trusted: 192.0.2.1, ")


def test_nothing_is_said_of_gateways_where_there_are_none() -> None:
    (only,) = check_relay(config(), Neighbours())
    assert only.grade == "ok"


def test_c065_a_bridge_of_any_name_in_a_trusted_range() -> None:
    found = bad(list(check_relay(config('mynetworks = ["10.9.0.0/24"]'), NEIGHBOURS)))
    assert [finding.grade for finding in found] == ["warning"]
    text = "10.9.0.1, a bridge of virtual machines or containers (lxdbr0), lies in mynetworks 10.9.0.0/24"
    assert found[0].text == text


def test_c065_a_gateway_that_came_later_is_a_failure() -> None:
    """The configuration was read when the gateway was not there: the proof asks for each gateway there is now."""
    now = Neighbours(("10.9.0.254",))
    (only,) = bad(list(check_relay(config('mynetworks = ["10.9.0.0/24"]'), now)))
    assert only.grade == "failure"
    assert only.text == "smtpd: whoever hides behind the gateway 10.9.0.254 may relay without a login"


def test_all_listeners_off() -> None:
    off = config("[smtpd]\nlisten = []\n[submission]\nlisten = []\n[submissions]\nlisten = []")
    (only,) = check_relay(off, NEIGHBOURS)
    assert (only.grade, only.topic) == ("warning", "relay")
    assert relay_table(off) == []


def test_the_table_is_of_the_listeners_that_are_on() -> None:
    text = 'domains = ["a.example", "b.example"]\nmynetworks = ["10.9.0.0/16"]\n[submissions]\nlisten = []'
    assert listeners_on(config(text)) == ("smtpd", "submission")
    assert [(row.listener, row.clients, row.login, row.may_send_to) for row in relay_table(config(text))] == [
        ("smtpd", "10.9.0.0/16", "none", "anywhere"),
        ("smtpd", "all others", "none", "a.example, b.example"),
        ("submission", "all", "none", "nowhere"),
        ("submission", "all", "a user's", "anywhere"),
    ]
    assert [row.clients for row in relay_table(config("mynetworks = []"))][0] == "all"  # noqa: RUF015 - reads best


def test_this_machine() -> None:
    proof = prove_relay(config(), Neighbours.of_this_machine())
    assert proof.is_closed
    assert all(machine.is_local_address(address) for address in machine.source_addresses())


def test_bridges_are_told_by_what_they_are(tmp_path: Path) -> None:
    devices = tmp_path / "sys/class/net"
    for folder in (
        "eth0/device", "docker0/bridge", "br-lan/bridge", "br-lan/brif/eth0", "lxdbr0/bridge", "lxdbr0/brif/veth1",
        "veth1", "lo",
    ):  # fmt: skip
        (devices / folder).mkdir(parents=True)
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/if_inet6").write_text("fd000009000000000000000000000001 05 40 00 80   lxdbr0\n")
    found = machine.bridges(tmp_path)
    assert set(found) == {"docker0", "lxdbr0", "veth1"}  # br-lan leads to the network outside
    assert "fd00:9::1" in found["lxdbr0"]
