"""The test suite of RFC 7208 that the OpenSPF project made; its licence lies beside it in tests/spf_suite."""

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from valija.dns.resolver import Answer, MxRecord, Status
from valija.dns.spf import Sender, SpfResult, check_host

SUITE = Path(__file__).parent.parent / "spf_suite" / "rfc7208-tests.yml"
Zone = dict[str, list[tuple[str, Any]]]


class ZoneResolver:
    """Answers from one scenario's zone, as its schema says: TIMEOUT ends a name's records, SPF ones are TXT too."""

    def __init__(self, zonedata: dict[str, list[Any]]) -> None:
        self._zone = {name.lower(): list(_records(records)) for name, records in zonedata.items()}

    async def lookup(self, name: str, rtype: str) -> Answer[Any]:
        for _ in range(10):
            records = self._zone.get(name.lower().removesuffix("."))
            if records is None:
                return Answer(Status.NO_DOMAIN)
            alias = [value for kind, value in records if kind == "CNAME"]
            if not alias:
                return self._answer(records, rtype)
            name = alias[0]
        return Answer(Status.FAILED, detail="a chain of CNAMEs")

    def _answer(self, records: list[tuple[str, Any]], rtype: str) -> Answer[Any]:
        found = tuple(value for kind, value in records if kind == rtype)
        if not found and ("TIMEOUT", None) in records:
            return Answer(Status.FAILED, detail="the name server is silent")
        return Answer(Status.FOUND, found) if found else Answer(Status.NO_DATA)


def _records(records: list[Any]) -> Iterator[tuple[str, Any]]:
    kinds = {kind for record in records if isinstance(record, dict) for kind in record}
    for record in records:
        if record == "TIMEOUT":
            yield "TIMEOUT", None
            continue
        for kind, value in record.items():
            text = "".join(value) if kind in ("SPF", "TXT") and isinstance(value, list) else value
            if kind == "SPF" and "TXT" not in kinds:
                yield "TXT", text
            elif kind == "MX":
                yield "MX", MxRecord(value[0], str(value[1]).lower().removesuffix("."))
            elif text != "NONE":
                yield kind, text.lower().removesuffix(".") if kind == "PTR" else text


def _cases() -> Iterator[Any]:
    for scenario in yaml.safe_load_all(SUITE.read_text("utf-8")):
        for name, case in scenario["tests"].items():
            yield pytest.param(scenario, case, id=name)


async def _check(scenario: dict[str, Any], case: dict[str, Any]) -> SpfResult:
    mail_from, helo = case["mailfrom"], case["helo"]
    address = mail_from or f"postmaster@{helo}"
    sender = Sender(address, helo, "receiver.example.net")
    resolver: Any = ZoneResolver(scenario["zonedata"])
    return await check_host(ip_address(case["host"]), address.rpartition("@")[2], sender, resolver, explains=True)


@pytest.mark.parametrize(("scenario", "case"), list(_cases()))
def test_suite(scenario: dict[str, Any], case: dict[str, Any]) -> None:
    result = asyncio.run(_check(scenario, case))
    allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert result.verdict in allowed, result.why
    expected = case.get("explanation")
    if expected is not None:
        assert result.explanation == ("" if expected == "DEFAULT" else expected)
