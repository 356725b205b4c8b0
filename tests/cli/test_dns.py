"""valija dns: the records on the terminal, in a zone file, as JSON, and whether they are there."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.here import Here
from tests.name_servers import NameServers
from valija.dns import authorities

HOST = "mail.example.org"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServers]:
    with NameServers("example.org") as servers:
        monkeypatch.setattr(authorities, "Authorities", partial(authorities.Authorities, patience=1, port=servers.port))
        monkeypatch.setattr("valija.machine.source_addresses", lambda: ["203.0.113.7"])
        monkeypatch.setattr("valija.machine.is_local_address", lambda address: address == "203.0.113.7")
        servers.resolver.publish("ietf.org", ["A 198.51.100.1"])
        yield servers


@pytest.fixture
def here(tmp_path: Path, world: NameServers) -> Here:
    made = Here(tmp_path, more=f'[dns]\nnameservers = ["{world.resolver.nameserver}"]\n')
    made.json("dkim", "create", "example.org", "--selector", "s1")
    return made


def publish(world: NameServers, answer: Any) -> None:
    """Do what the command says, as a person would."""
    for row in answer["records"]:
        text = " ".join(f'"{string}"' for string in row["strings"])
        record = f"{row['type']} {text or row['value']}"
        for server in (world.first, world.second, world.resolver):
            server.publish(row["name"], [*server.zone.get(row["name"], []), record])


def test_what_is_printed_and_published_is_found(here: Here, world: NameServers) -> None:
    answer = here.json("dns")
    assert {row["type"] for row in answer["records"]} == {"A", "PTR", "TXT", "MX", "SRV"}
    missing = here.run("dns", "--check")
    assert missing.exit_code == 1
    assert "host\n  FAILURE  mail.example.org has no address\n           -> publish an A or AAAA" in missing.stdout
    publish(world, answer)
    found = here.run("dns", "--check")
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.splitlines()[-1].endswith(" ok")
    assert "dkim\n  ok       s1._domainkey.example.org is published" in found.stdout


def test_check_and_dns_say_the_same_of_the_same(here: Here, world: NameServers) -> None:
    publish(world, here.json("dns"))
    world.publish("example.org", ["MX 0 ."])
    world.resolver.publish("example.org", ["NS ns1.example.org.", "NS ns2.example.org.", "MX 0 ."])
    told = [msgspec.json.decode(here.run(*words, "--json").stdout) for words in (["dns", "--check"], ["check"])]
    first, second = ([each for each in answer["findings"] if each["topic"] == "mx"] for answer in told)
    assert first == second
    assert [each["grade"] for each in first] == ["failure"]


def test_a_zone_file_has_a_line_for_each_record(here: Here) -> None:
    told = here.run("dns", "--zone").stdout
    assert f"example.org.                   IN MX    10 {HOST}.\n" in told
    assert "; 7.113.0.203.in-addr.arpa. IN PTR" in told
    key = next(line for line in told.splitlines() if line.startswith("s1._domainkey.example.org."))
    assert key.count('" "') == 1


def test_one_domain_alone(here: Here) -> None:
    assert {row["domain"] for row in here.json("dns", "example.org")["records"]} == {"example.org"}
    assert "elsewhere.example is not hosted here; hosted are example.org" in here.refused("dns", "elsewhere.example")
    assert "is no domain" in here.refused("dns", "no domain")


def test_retired_keys_stay_as_long_as_they_are_needed(here: Here) -> None:
    here.json("dkim", "create", "example.org", "--selector", "s2")  # waits: its record has to be seen first
    names = {row["name"] for row in here.json("dns")["records"]}
    assert {"s1._domainkey.example.org", "s2._domainkey.example.org"} <= names


def test_json_is_the_same_each_time(here: Here) -> None:
    first, second = here.run("dns", "--json"), here.run("dns", "--json")
    assert first.stdout == second.stdout
    row = msgspec.json.decode(first.stdout)["records"][0]
    assert set(row) == {"domain", "name", "type", "value", "strings", "purpose", "needed"}


def test_where_the_dns_is_out_of_reach_the_records_are_printed_all_the_same(here: Here, world: NameServers) -> None:
    text = here.configuration.read_text().replace(world.resolver.nameserver, "127.0.0.1:9")
    here.configuration.write_text(text)
    assert any(row["value"] == "203.0.113.7" for row in here.json("dns")["records"])
    assert here.run("dns", "--check").exit_code == 1
