import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from valija import machine
from valija.machine import full_host_name, gateways, is_local_address
from valija.mail.address import normalise_domain
from valija.policy.networks import Gateway

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
"""
ROUTES_V6 = """\
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
"""  # noqa: E501 - as the kernel writes it
ADDRESSES_V6 = """\
fd000000000000000000000000000001 04 40 20 80  docker0
20010db8000000000000000000000007 03 40 00 80     eth0
"""


def _machine(root: Path, *interfaces: str) -> Path:
    net = root / "proc/net"
    net.mkdir(parents=True)
    (net / "route").write_text(ROUTES if sys.byteorder == "little" else ROUTES.replace("010200C0", "C0000201"))
    (net / "ipv6_route").write_text(ROUTES_V6)
    (net / "if_inet6").write_text(ADDRESSES_V6)
    for interface in interfaces:
        (root / "sys/class/net" / interface).mkdir(parents=True)
    return root


def test_default_gateways_and_bridges_are_read(tmp_path: Path) -> None:
    assert gateways(_machine(tmp_path, "eth0", "docker0")) == {
        Gateway("192.0.2.1", "default"),
        Gateway("fe80::1", "default"),
        Gateway("fd00::1", "container bridge"),
    }


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv", "var/run/secrets/kubernetes.io"])
def test_c065_in_a_container_the_gateway_is_the_bridge_s(tmp_path: Path, mark: str) -> None:
    root = _machine(tmp_path, "eth0")
    (root / mark).mkdir(parents=True)
    assert {gateway.kind for gateway in gateways(root)} == {"container bridge"}


def test_a_container_on_the_host_s_network_has_the_host_s_gateway(tmp_path: Path) -> None:
    root = _machine(tmp_path, "eth0")
    (root / ".dockerenv").touch()
    (root / "sys/class/net/eth0/device").mkdir()
    assert {gateway.kind for gateway in gateways(root)} == {"default"}


def test_a_machine_without_these_tables_has_no_gateways(tmp_path: Path) -> None:
    assert gateways(tmp_path) == frozenset()


def _in_a_network_of_its_own(set_up: str, python: str) -> list[str]:
    """Run a Python program in a network that a shell script has set up; return the lines it prints."""
    script = f'ip link set lo up\n{set_up}\nexec "$0" -c "$1"'
    command = ["unshare", "--net", "--mount", "sh", "-ec", script, sys.executable, python]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.splitlines()


needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and Debian's iproute2")


@needs_root
def test_a_real_bridge_and_a_real_route() -> None:
    # Not each kernel has bridges: what counts is the interface's name.
    set_up = """
mount -t sysfs sysfs /sys
ip link add br-0123456789ab type veth peer name lan0
ip addr add 172.31.0.1/24 dev br-0123456789ab && ip link set br-0123456789ab up
ip addr add 192.0.2.7/24 dev lan0 && ip link set lan0 up
ip route add default via 192.0.2.1
"""
    lines = _in_a_network_of_its_own(
        set_up, "from valija.machine import gateways\nfor g in sorted(gateways()): print(g.address, g.kind)"
    )
    assert lines[0] == "172.31.0.1 container bridge"
    assert lines[1].startswith("192.0.2.1 ")


@needs_root
def test_local_addresses_are_those_of_the_machine_even_where_all_can_be_bound() -> None:
    set_up = """
ip link add lan0 type veth peer name lan1
ip addr add 192.0.2.7/24 dev lan0 && ip addr add 192.0.2.8/24 dev lan0 && ip link set lan0 up
ip addr add 2001:db8::7/64 dev lan0 nodad
ip route add default via 192.0.2.1
echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind
echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
"""
    asked = ["192.0.2.7", "192.0.2.8", "::ffff:192.0.2.7", "127.0.0.1", "127.9.9.9", "::1", "2001:db8::7"]
    asked += ["192.0.2.9", "198.51.100.1", "2001:db8::8", "2001:db9::1", "255.255.255.255", "192.0.2.255"]
    lines = _in_a_network_of_its_own(
        set_up, f"from valija.machine import is_local_address\nfor a in {asked}: print(is_local_address(a))"
    )
    assert lines == ["True"] * 7 + ["False"] * 6


def test_where_the_kernel_cannot_be_asked_an_address_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(machine, "_route_type", refuse)
    assert is_local_address("127.0.0.1")
    assert not is_local_address("192.0.2.254")


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("192.0.2.254", False),
        ("2001:db8::ffff", False),
        ("no address", False),
        ("localhost", False),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("", False),
    ],
)
def test_local_addresses(address: str, is_local: bool) -> None:
    assert is_local_address(address) is is_local


@pytest.mark.parametrize(
    ("own", "canonical", "full"),
    [
        ("mail.example.org", "never asked", "mail.example.org"),
        ("MAIL.Example.org", "never asked", "mail.example.org"),
        ("mail", "mail.example.org", "mail.example.org"),
        ("mail", "mail", "mail"),
        ("mail", "", "mail"),
        ("mail", "localhost.localdomain", "mail"),
        ("not a name", "", "localhost"),
    ],
)
def test_the_full_host_name(monkeypatch: pytest.MonkeyPatch, own: str, canonical: str, full: str) -> None:
    def getaddrinfo(name: str, *_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        assert "." not in name
        if not canonical:
            raise socket.gaierror
        return [(0, 0, 0, canonical, ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "gethostname", lambda: own)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert full_host_name() == full


def test_this_machine_has_a_name() -> None:
    assert normalise_domain(full_host_name()) == full_host_name()
