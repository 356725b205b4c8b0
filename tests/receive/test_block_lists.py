"""Block lists: who is listed stays out but can complain, and a list that lies is not believed."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakedns import Script
from tests.receive.examined import ALICE, OFF, examined, send, written

LIST = "bl.example"
TESTED = {f"2.0.0.127.{LIST}": ["A 127.0.0.2"]}
LISTED = {f"9.0.0.127.{LIST}": ["A 127.0.0.4", 'TXT "Seen sending spam, see https://bl.example/"']}
THERE = "127.0.0.9"
ON: dict[str, Any] = {"options": OFF, "dnsbl": (LIST,)}


def test_who_is_listed_hears_why_and_can_complain(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, TESTED | LISTED, **ON) as (r, _):
            said = await send(r, written(), source=THERE)
            why = f"{THERE} is on the block list bl.example: Seen sending spam, see https://bl.example/"
            assert said.startswith(f"550 5.7.1 {why} (session ")
            assert (await send(r, written(), to=["Postmaster@local.example"], source=THERE)).startswith("250")
            assert dict(r.queue.only.origin.findings) == {"dnsbl": "bl.example 127.0.0.4"}
            assert not r.queue.only.envelope.junk
            assert (await send(r, written())).startswith("250")
        assert "refused by a check check=dnsbl client=127.0.0.9" in r.log.replace("  ", " ")

    run(story())


def test_its_mail_may_be_put_aside_instead(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, TESTED | LISTED, dnsbl_action="junk", **ON) as (r, _):
            assert (await send(r, written(), source=THERE)).startswith("250")
            assert r.queue.only.envelope.junk

    run(story())


BROKEN = {
    "an open resolver": {f"2.0.0.127.{LIST}": ["A 127.255.255.254"], **LISTED},
    "a misspelt name": {LIST: ["A 192.0.2.1"], **LISTED},
    "a list that lists everybody": {f"*.{LIST}": ["A 127.0.0.2"]},
    "a domain that was sold": {f"*.{LIST}": ["A 203.0.113.5"]},
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_list_that_fails_its_test_is_not_believed(run: Any, tmp_path: Path, case: str) -> None:
    async def story() -> None:
        async with examined(tmp_path, BROKEN[case], **ON) as (r, _):
            assert (await send(r, written(), source=THERE)).startswith("250")
            assert "dnsbl" not in dict(r.queue.only.origin.findings)
        log = (tmp_path / "checks.log").read_text()
        assert log.count("block list ignored") == 1
        assert "use a name server of your own" in log

    run(story())


def test_a_refusal_to_answer_is_no_listing(run: Any, tmp_path: Path) -> None:
    refusing = TESTED | {f"9.0.0.127.{LIST}": ["A 127.255.255.255"]}

    async def story() -> None:
        async with examined(tmp_path, refusing, **ON) as (r, _):
            assert (await send(r, written(), source=THERE)).startswith("250")

    run(story())


@pytest.mark.parametrize("silent", [f"9.0.0.127.{LIST}", f"2.0.0.127.{LIST}"])
def test_a_list_that_does_not_answer_lists_nobody(run: Any, tmp_path: Path, silent: str) -> None:
    async def story() -> None:
        scripts = {silent: Script(silent=True)}
        async with examined(tmp_path, TESTED | LISTED, scripts=scripts, timeout=0.3, **ON) as (r, _):
            assert (await send(r, written(), source=THERE)).startswith("250")

    run(story())


def test_our_own_network_is_not_asked_about(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, TESTED | LISTED, mynetworks=["127.0.0.9/32"], **ON) as (r, dns):
            assert (await send(r, written(), source=THERE, to=[ALICE])).startswith("250")
            assert not dns.asked(f"9.0.0.127.{LIST}")

    run(story())
