"""Where TLSA records are looked for, and where not (RFC 7672 sections 2.2.2 and 2.2.3)."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from valija.dns.mx import Addresses
from valija.dns.resolver import Answer, Resolver, Status
from valija.dns.tlsa import find_tlsa
from valija.policy.tlsa import MAX_RECORDS, NO_TLSA, TlsaAnswer, read_tlsa

HOST, REAL = "mx.example", "real.example"
RECORD = f"3 1 1 {'6a' * 32}"
SIGNED = Addresses(("192.0.2.1",), authentic=True)
SIGNED_ALIAS = Addresses(("192.0.2.1",), authentic=True, alias_of=REAL)
UNSIGNED_ALIAS = Addresses(("192.0.2.1",), alias_of=REAL)

FOUND = Answer(Status.FOUND, (RECORD,), authentic=True)
UNSIGNED = Answer(Status.FOUND, (RECORD,))
FAILED: Answer[str] = Answer(Status.FAILED, detail="SERVFAIL")
NONE: Answer[str] = Answer(Status.NO_DOMAIN, authentic=True)


class Scripted:
    def __init__(self, answers: Mapping[str, Answer[str]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def lookup(self, name: str, rtype: str) -> Answer[Any]:
        self.asked.append(f"{name} {rtype}")
        return self.answers.get(f"{name} {rtype}", NONE)


def find(found: Addresses, answers: Mapping[str, Answer[str]]) -> tuple[TlsaAnswer, list[str]]:
    resolver = Scripted(answers)
    return asyncio.run(find_tlsa(cast("Resolver", resolver), HOST, 25, found)), resolver.asked


OWN, TARGET = f"_25._tcp.{HOST} TLSA", f"_25._tcp.{REAL} TLSA"


def test_nothing_is_asked_of_an_unsigned_host() -> None:
    assert find(Addresses(("192.0.2.1",)), {OWN: FOUND}) == (NO_TLSA, [])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (FOUND, TlsaAnswer(HOST, (read_tlsa(RECORD),))),
        (UNSIGNED, NO_TLSA),
        (NONE, NO_TLSA),
        (Answer(Status.NO_DATA, authentic=True), NO_TLSA),
        (FAILED, TlsaAnswer(HOST, failed="SERVFAIL")),
    ],
)
def test_a_signed_host(answer: Answer[str], expected: TlsaAnswer) -> None:
    assert find(SIGNED, {OWN: answer}) == (expected, [OWN])


def test_an_alias_has_them_at_what_it_stands_for_before_its_own() -> None:
    assert find(SIGNED_ALIAS, {TARGET: FOUND, OWN: FOUND})[0].base_domain == REAL
    answer, asked = find(SIGNED_ALIAS, {OWN: FOUND})
    assert answer.base_domain == HOST
    assert asked == [TARGET, OWN]


def test_a_look_up_that_fails_is_not_followed_by_another() -> None:
    answer, asked = find(SIGNED_ALIAS, {TARGET: FAILED, OWN: FOUND})
    assert answer.failed
    assert asked == [TARGET]


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        (Answer(Status.FOUND, (REAL,), authentic=True), TlsaAnswer(HOST, (read_tlsa(RECORD),))),
        (Answer(Status.FOUND, (REAL,)), NO_TLSA),
        (FAILED, TlsaAnswer(HOST, failed="SERVFAIL")),
    ],
)
def test_a_signed_alias_out_of_the_signed_zones(alias: Answer[str], expected: TlsaAnswer) -> None:
    answer, asked = find(UNSIGNED_ALIAS, {f"{HOST} CNAME": alias, OWN: FOUND, TARGET: FOUND})
    assert answer == expected
    assert TARGET not in asked


def test_records_that_are_garbage_or_too_many() -> None:
    answer, _ = find(SIGNED, {OWN: Answer(Status.FOUND, ("x",), authentic=True)})
    assert answer.records
    assert not answer.records[0].is_usable
    answer, _ = find(SIGNED, {OWN: Answer(Status.FOUND, (RECORD,) * 1000, authentic=True)})
    assert len(answer.records) == MAX_RECORDS
