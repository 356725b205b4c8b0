from pathlib import Path

import pytest

from valija.dns.options import parse_nameserver
from valija.dns.system import SystemNameservers, read_nameservers
from valija.mail.endpoint import Endpoint
from valija.mail.fault import Fault


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:5353", Endpoint("127.0.0.1", 5353)),
        ("9.9.9.9", Endpoint("9.9.9.9", 53)),
        ("[::1]:53", Endpoint("::1", 53)),
        ("[2001:DB8::1]", Endpoint("2001:db8::1", 53)),
        ("2001:db8::1", Endpoint("2001:db8::1", 53)),
        ("fe80::1%eth0", Endpoint("fe80::1%eth0", 53)),
    ],
)
def test_a_name_server(text: str, endpoint: Endpoint) -> None:
    assert parse_nameserver(text) == endpoint


@pytest.mark.parametrize(
    "text", ["", "dns.example.org", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:dns", "[::1", "1.2.3", 53]
)
def test_a_name_server_s_fault(text: object) -> None:
    fault = parse_nameserver(text)
    assert isinstance(fault, Fault)
    assert fault.value == text
    assert fault.reason
    assert "127.0.0.1:5353" in fault.remedy


def test_resolv_conf() -> None:
    text = "; x\n#nameserver 192.0.2.9\n"
    text += "  nameserver\t192.0.2.1 # one\nnameserver\nnameserver bogus\nNAMESERVER 192.0.2.8\n"
    assert read_nameservers(text + "nameserver 2001:db8::1\n") == (
        Endpoint("192.0.2.1", 53),
        Endpoint("2001:db8::1", 53),
    )


def test_no_more_than_three_and_no_less_than_one() -> None:
    assert len(read_nameservers("".join(f"nameserver 192.0.2.{n}\n" for n in range(1, 9)))) == 3
    assert read_nameservers("search example\n") == (Endpoint("127.0.0.1", 53),)


def test_a_file_that_goes_away_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    system = SystemNameservers(path)
    assert system.current() == (Endpoint("127.0.0.1", 53),)
    path.write_bytes(b"nameserver 192.0.2.1\n# \xff\n")
    assert system.current() == (Endpoint("192.0.2.1", 53),)
    path.unlink()
    assert system.current() == (Endpoint("192.0.2.1", 53),)
