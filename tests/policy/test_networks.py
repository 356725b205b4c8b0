import pytest

from valija.policy.networks import Gateway, Networks, parse_address

ROUTER = Gateway("192.168.1.1", "default")
BRIDGE = Gateway("172.17.0.1", "container bridge")


def _networks(*entries: str, gateways: frozenset[Gateway] = frozenset()) -> Networks:
    networks, faults = Networks.parse(entries, gateways)
    assert not faults
    return networks


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("127.0.0.0/8", "127.255.255.255", "128.0.0.0"),
        ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
        ("10.1.2.3/32", "10.1.2.3", "10.1.2.2"),
        ("192.0.2.0/25", "192.0.2.127", "192.0.2.128"),
        ("[::1]/128", "::1", "::2"),
        ("::1/128", "::1", "::"),
        ("::1", "::1", "0.0.0.1"),
        ("[2001:db8::1]", "2001:DB8:0::1", "2001:db8::2"),
        ("[2001:db8::]/64", "2001:db8::ffff:1:2:3", "2001:db8:0:1::"),
        ("2001:db8::/64", "2001:db8::1", "2001:db9::1"),
        ("::ffff:10.0.0.0/104", "10.255.0.1", "11.0.0.1"),
        ("[::ffff:10.0.0.0]/104", "::ffff:10.255.0.1", "::ffff:11.0.0.1"),
        ("[::ffff:192.0.2.1]", "192.0.2.1", "::192.0.2.1"),
        ("198.51.0.0/16", "198.51.100.1", "198.52.0.0"),
        ("2a00::/32", "2a00:0:ffff::1", "2a00:1::1"),
        ("[fe80::]/64", "fe80::1%eth0", "fe80:0:0:1::1"),
    ],
)
def test_an_entry_covers_its_range_and_nothing_else(entry: str, inside: str, outside: str) -> None:
    networks = _networks(entry)
    assert networks.find(inside) == entry
    assert networks.find(outside) is None


@pytest.mark.parametrize("written", ["127.0.0.1", "::ffff:127.0.0.1", "::FFFF:7f00:1", "::ffff:127.0.0.1%lo"])
def test_mapped_addresses_are_the_ipv4_ones(written: str) -> None:
    assert _networks("127.0.0.0/8").find(written) == "127.0.0.0/8"


@pytest.mark.parametrize(
    "address",
    ["", "unknown", "localhost", "127.0.0.1 ", " 127.0.0.1", "127.1", "0x7f000001", "2130706433", "127.000.000.001",
     "127.0.0.1\n", "127.0.0.1%lo", "127.0.0.1:25", "[127.0.0.1]", "[::1]", "::1/128", "::ffff:0:127.0.0.1", "%",
     "unix:/run/x", "\x00", "１２７.0.0.1"],
)  # fmt: skip
def test_what_is_no_address_is_a_stranger(address: str) -> None:
    assert _networks("127.0.0.0/8", "[::1]/128").find(address) is None


def test_nobody_is_trusted_by_default() -> None:
    assert Networks().find("127.0.0.1") is None


def test_the_narrowest_entry_is_named() -> None:
    networks = _networks("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3")
    assert networks.find("10.1.2.3") == "10.1.2.3"
    assert networks.find("10.1.2.4") == "10.1.0.0/16"
    assert networks.find("10.2.0.0") == "10.0.0.0/8"


HOST_BITS = "the address has host bits set"
WIDE = "it is a public range wider than one site"
INTERNET = "it is the whole internet: anybody could relay"


@pytest.mark.parametrize(
    ("entry", "reason", "remedy"),
    [
        ("10.0.0.1/8", HOST_BITS, "write 10.0.0.0/8 for the range, or 10.0.0.1 for the one host"),
        ("[2001:db8::1]/64", HOST_BITS, "write [2001:db8::]/64 for the range, or [2001:db8::1] for the one host"),
        ("::ffff:10.0.0.1/104", HOST_BITS, "write 10.0.0.0/8 for the range, or 10.0.0.1 for"),
        ("127.0.0.1/8", HOST_BITS, "write 127.0.0.0/8"),
        ("10.0.0.0/33", "the length is no number from 0 to 32", "write an address range"),
        ("::1/129", "the length is no number from 0 to 128", "write an address range"),
        ("10.0.0.0/-1", "the length is no number", ""),
        ("10.0.0.0/", "the length is no number", ""),
        ("10.0.0.0/8/8", "the length is no number", ""),
        ("10.0.0.0/ 8", "more than one range", ""),
        ("10.0.0.0/255.0.0.0", "the length is no number from 0 to 32", "write 10.0.0.0/8"),
        ("10.0.0.0/٨", "the length is no number", ""),
        ("localhost", "it is a host name, and names can be forged", "write an address range such as"),
        ("mail.example.org/24", "it is a host name", ""),
        ("", "it is empty", "remove it, or write"),
        ("  ", "it is empty", ""),
        (" 10.0.0.1", "it has blanks around it", "write '10.0.0.1'"),
        ("127.0.0.0/8, 10.0.0.0/8", "it holds more than one range", "give each range a string of its own"),
        ("127.0.0.0/8 [::1]/128", "it holds more than one range", ""),
        ("!10.0.0.1", "it is a pattern or a table", ""),
        ("/etc/postfix/networks", "it is a pattern or a table", ""),
        ("hash:/etc/postfix/networks", "it is a pattern or a table", ""),
        ("[::1/128]", "the length stands outside of the brackets", ""),
        ("[10.0.0.1]", "it is no IP address", ""),
        ("fe80::1%eth0", "it names an interface", ""),
        ("010.0.0.1", "it is no IP address", ""),
        ("10.0.0", "it is no IP address", ""),
        ("0.0.0.0", "no client has this address", ""),
        ("::", "no client has this address", ""),
        (10, "it is not a string", "put it in quotes"),
        (None, "it is not a string", ""),
        (["10.0.0.0/8"], "it is not a string", ""),
        ("0.0.0.0/0", INTERNET, "name only the ranges that are yours"),
        ("[::]/0", INTERNET, ""),
        ("::/0", INTERNET, ""),
        ("::ffff:0.0.0.0/96", INTERNET, ""),
        ("::fffe:0:0/95", "it covers the IPv4-mapped addresses", ""),
        ("::/64", "it covers the IPv4-mapped addresses", ""),
        ("0.0.0.0/1", WIDE, ""),
        ("128.0.0.0/1", WIDE, ""),
        ("198.0.0.0/8", WIDE + " (/16)", ""),
        ("198.50.0.0/15", WIDE, ""),
        ("0.0.0.0/8", WIDE, ""),
        ("8.0.0.0/6", WIDE, ""),
        ("2000::/3", WIDE + " (/32)", ""),
        ("2a00::/31", WIDE, ""),
        ("2002::/16", WIDE, ""),
        ("64:ff9b::/96", "that is wider than one site (NAT64)", ""),
        ("64:ff9b::/64", "that is wider than one site (NAT64)", ""),
        ("64:ff9b::808:0/111", "that is wider than one site (NAT64)", ""),
        ("2001::/32", "tunnels that anybody can open (Teredo)", ""),
        ("2001:0:1::/48", "tunnels that anybody can open (Teredo)", ""),
    ],
)
def test_a_fault_names_the_value_the_reason_and_the_remedy(entry: object, reason: str, remedy: str) -> None:
    networks, faults = Networks.parse(["127.0.0.0/8", entry])
    assert len(faults) == 1
    assert faults[0].value == entry
    assert reason in faults[0].reason
    assert remedy in faults[0].remedy
    assert faults[0].remedy
    assert str(faults[0]).startswith(repr(entry))
    assert networks.find("127.0.0.1") == "127.0.0.0/8"  # the good entries stand


def test_a_range_that_is_refused_trusts_nobody() -> None:
    networks, faults = Networks.parse(["0.0.0.0/0", "10.0.0.1/8", "::/0"])
    assert len(faults) == 3
    assert [networks.find(address) for address in ("10.0.0.1", "8.8.8.8", "::1")] == [None] * 3


@pytest.mark.parametrize(
    "pieces",
    [
        ["198.50.0.0/16", "198.51.0.0/16"],
        ["198.50.0.0/17", "198.50.128.0/17", "198.51.0.0/16"],
        ["2a00::/32", "2a00:1::/32"],
        [f"198.{number}.0.0/16" for number in range(256)],
    ],
)
def test_pieces_that_are_too_wide_together_are_refused(pieces: list[str]) -> None:
    networks, faults = Networks.parse([*pieces, "10.0.0.0/8"])
    assert [fault.value for fault in faults] == pieces
    assert all("together with its neighbours" in fault.reason for fault in faults)
    assert networks.find("198.50.0.1") is None
    assert networks.find("10.0.0.1") == "10.0.0.0/8"


def test_the_internet_in_two_halves_is_refused() -> None:
    networks, faults = Networks.parse(["0.0.0.0/1", "128.0.0.0/1"])
    assert [fault.value for fault in faults] == ["0.0.0.0/1", "128.0.0.0/1"]
    assert networks.find("8.8.8.8") is None


def test_ranges_apart_and_repeated_ones_are_fine() -> None:
    _networks("198.50.0.0/16", "198.50.0.0/16", "198.50.1.0/24", "198.52.0.0/16", "10.0.0.0/9", "10.128.0.0/9")


# Gateways (C065)


@pytest.mark.parametrize("gateway", [ROUTER, BRIDGE, Gateway("fd00::1", "container bridge")])
def test_c065_a_gateway_s_own_address_is_refused(gateway: Gateway) -> None:
    networks, faults = Networks.parse([gateway.address], {gateway})
    assert f"it is the address of a gateway ({gateway.kind})" in faults[0].reason
    assert networks.find(gateway.address) is None


@pytest.mark.parametrize(
    ("entry", "gateway"),
    [
        ("172.17.0.0/16", BRIDGE),
        ("172.16.0.0/12", BRIDGE),
        ("::ffff:172.16.0.0/108", BRIDGE),
        ("fd00::/8", Gateway("fd00::1", "container bridge")),
    ],
)
def test_c065_a_range_with_a_container_bridge_s_gateway_is_refused(entry: str, gateway: Gateway) -> None:
    networks, faults = Networks.parse([entry], {gateway})
    assert f"it covers {gateway.address}, the gateway of a container bridge" in faults[0].reason
    assert networks.find(gateway.address) is None


def test_an_office_s_range_stands_without_its_router() -> None:
    networks = _networks("192.168.1.0/24", gateways=frozenset({ROUTER, BRIDGE}))
    assert networks.find("192.168.1.7") == "192.168.1.0/24"
    assert networks.find("192.168.1.1") is None
    assert networks.find("::ffff:192.168.1.1") is None
    assert networks.exceptions == ("192.168.1.1",)


def test_a_link_local_router_is_known_with_its_scope() -> None:
    networks = _networks("[fe80::]/64", gateways=frozenset({Gateway("fe80::1", "default")}))
    assert networks.find("fe80::2%eth0") == "[fe80::]/64"
    assert networks.find("fe80::1%eth0") is None


def test_loopback_is_fine_whatever_the_gateways() -> None:
    networks = _networks("127.0.0.0/8", "::1", gateways=frozenset({Gateway("127.0.0.1", "container bridge"), BRIDGE}))
    assert networks.find("127.0.0.1") == "127.0.0.0/8"
    assert networks.exceptions == ()


def test_private_ranges_beyond_loopback_are_worth_a_warning() -> None:
    networks = _networks("127.0.0.0/8", "::1", "10.0.0.0/8", "198.50.0.0/24", "fd00::/64")
    assert networks.private_entries == ("10.0.0.0/8", "fd00::/64")


def test_an_address_is_read_as_clients_show_it() -> None:
    assert str(parse_address("::ffff:192.0.2.1")) == "192.0.2.1"
    assert str(parse_address("fe80::1%eth0")) == "fe80::1"
    assert parse_address("192.0.2.1%eth0") is None
