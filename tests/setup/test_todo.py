"""What is left for people to do: records, ports, whoever is in the way, commands."""

from pathlib import Path

import pytest

from tests.setup.samples import ADDRESS, HOST, MACHINE, chosen, configuration, machine
from valija.admin.check_ports import Holder
from valija.setup.facts import Machine, Names
from valija.setup.todo import (
    Record,
    firewall_command,
    next_commands,
    obstacles,
    open_ports,
    records,
    zone_line,
)

CONFIG = configuration(chosen())
PATH = Path("/etc/valija/valija.toml")


def lines(facts: Machine = MACHINE) -> list[str]:
    return [zone_line(record) for record in records(CONFIG, facts, ())]


def test_all_records_that_others_look_for() -> None:
    assert lines() == [
        f"{HOST}. IN A {ADDRESS}",
        f"7.113.0.203.in-addr.arpa. IN PTR {HOST}.",
        f"example.org. IN MX 10 {HOST}.",
        f'example.org. IN TXT "v=spf1 mx ip4:{ADDRESS} -all"',
        '_dmarc.example.org. IN TXT "v=DMARC1; p=none; rua=mailto:postmaster@example.org"',
    ]


def test_records_of_ipv6() -> None:
    both = lines(machine(sources=(ADDRESS, "2a01:db8::7")))
    assert f"{HOST}. IN AAAA 2a01:db8::7" in both
    assert f'example.org. IN TXT "v=spf1 mx ip4:{ADDRESS} ip6:2a01:db8::7 -all"' in both
    assert any(line.endswith(f".ip6.arpa. IN PTR {HOST}.") for line in both)


def test_an_address_that_is_not_known_has_a_place_to_fill_in() -> None:
    unknown = lines(machine(sources=("10.0.0.5",), names=None))
    assert unknown[0] == f"{HOST}. IN A ADDRESS"
    assert not any("PTR" in line or "10.0.0.5" in line for line in unknown)


def test_behind_a_router_the_published_address_is_the_one() -> None:
    assert lines(machine(sources=("10.0.0.5",)))[0] == f"{HOST}. IN A {ADDRESS}"


def test_what_is_published_already_is_told() -> None:
    there = {record.type for record in records(CONFIG, machine(), ()) if record.is_there}
    assert there == {"A", "MX"}
    assert not any(record.is_there for record in records(CONFIG, machine(names=Names()), ()))


def test_a_long_text_is_cut_into_strings() -> None:
    assert zone_line(Record("x", "TXT", "a" * 300)) == f'x. IN TXT "{"a" * 255}" "{"a" * 45}"'


def test_ports_are_those_of_the_configuration() -> None:
    assert [each.port for each in open_ports(CONFIG)] == [25, 587, 465, 80]
    assert [each.port for each in open_ports(configuration(chosen(machine(names=None))))] == [25, 587, 465]


@pytest.mark.parametrize(
    ("firewall", "words"),
    [
        ("ufw", "ufw allow 25,587,465,80/tcp"),
        (
            "firewall-cmd",
            "firewall-cmd --permanent --add-port=25/tcp --add-port=587/tcp --add-port=465/tcp --add-port=80/tcp"
            " && firewall-cmd --reload",
        ),
        ("", ""),
    ],
)
def test_the_firewalls_own_command(firewall: str, words: str) -> None:
    assert firewall_command(firewall, open_ports(CONFIG)) == words


@pytest.mark.parametrize(
    ("holders", "has_systemd", "told"),
    [
        ({25: (Holder(7, "master"),), 587: (Holder(7, "master"),)}, True,
         [("Postfix (process 7) has ports 25, 587", "systemctl disable --now postfix")]),
        ({25: (Holder(7, "exim4"),)}, False, [("Exim (process 7) has port 25", "service exim4 stop")]),
        ({25: (Holder(7, "odd"),)}, True, [("odd (process 7) has port 25", "stop it, or give valija other ports")]),
        ({25: (Holder(),)}, True, [("a program has port 25; as root, this command tells which", "stop it")]),
        ({25: (Holder(99, "valija"),)}, True, []),
        ({25: (Holder(1, "systemd"),)}, True, []),
        ({8080: (Holder(7, "nginx"),)}, True, []),
    ],
)  # fmt: skip
def test_who_is_in_the_way(
    holders: dict[int, tuple[Holder, ...]], has_systemd: bool, told: list[tuple[str, str]]
) -> None:
    found = obstacles(CONFIG, machine(holders=holders, has_systemd=has_systemd), running=(99, 100))
    assert [(each.text, each.remedy) for each in found] == told


def test_the_next_commands() -> None:
    assert list(next_commands(CONFIG, machine(has_systemd=True), PATH, ())) == [
        "valija dkim create example.org",
        "valija user add YOU@example.org",
        "valija check",
        "valija systemd install",
        "systemctl daemon-reload && systemctl enable --now valija.service",
    ]


def test_the_next_commands_where_there_is_dovecot_a_key_and_no_systemd() -> None:
    config = configuration(chosen(machine(has_dovecot=True)))
    assert list(next_commands(config, machine(), Path("/srv/my mail.toml"), ("example.org",))) == [
        "valija dovecot-config -c '/srv/my mail.toml' >/etc/dovecot/conf.d/99-valija.conf && doveadm reload",
        "valija check -c '/srv/my mail.toml'",
        "valija serve -c '/srv/my mail.toml'",
    ]


def test_who_is_not_root_is_told_what_root_has_to_do() -> None:
    first = next(next_commands(CONFIG, machine(is_root=False), PATH, ()))
    assert first.startswith("as root: ")
    assert first.endswith(" valija")
