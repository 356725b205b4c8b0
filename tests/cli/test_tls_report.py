"""valija tls-report: what would be sent is shown, without a server too."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from tests.cli.here import Here
from tests.deliver.setting import MemoryLog
from tests.fakedns import FakeDns, Script
from valija.logs import Log
from valija.policy.tls_report import TlsResult
from valija.policy.tls_report_body import DAY, Sender
from valija.policy.tls_report_record import HttpsPlace
from valija.tls_reports.ledger import Ledger

DAY_NUMBER = 19_700  # 2023-12-09
GOOD = TlsResult("example.net", "sts", ("mode: enforce",), ("mx.example.net",))
BAD = TlsResult(
    "example.net",
    "sts",
    ("mode: enforce",),
    ("mx.example.net",),
    "mx.example.net",
    "192.0.2.1",
    result="certificate-expired",
    detail="certificate has expired",
)
OTHER = TlsResult("example.com", "no-policy-found")


def filled(here: Here) -> None:
    """Count some sessions, and have a report under way."""
    here.data_dir.mkdir()

    async def fill() -> None:
        ledger = Ledger(here.data_dir / "tls-report.sqlite3", cast("Log", MemoryLog()))
        await ledger.add(DAY_NUMBER - 1, {OTHER: 1})
        place = HttpsPlace("https://reports.example.com/")
        now = float(DAY_NUMBER * DAY)
        await ledger.make_report((DAY_NUMBER - 1, "example.com"), [place], Sender("o", "p@example.org"), "u", now)
        await ledger.add(DAY_NUMBER, {GOOD: 5326, BAD: 303, OTHER: 2})
        ledger.close()

    asyncio.run(fill())


@pytest.fixture
def here(tmp_path: Path) -> Here:
    made = Here(tmp_path)
    filled(made)
    return made


def test_all_there_is(here: Here) -> None:
    shown = here.run("tls-report").stdout
    assert shown.splitlines() == [
        "2023-12-09  example.com  2 sessions, 0 failed; to be reported now",
        "    no-policy-found: 2 as it should be, 0 failed",
        "2023-12-09  example.net  5629 sessions, 303 failed; to be reported now",
        "    sts: 5326 as it should be, 303 failed",
        "        303 certificate-expired mx.example.net 192.0.2.1: certificate has expired",
        "2023-12-08  example.com  1 sessions, 0 failed; on its way to https://reports.example.com/, "
        "due 2023-12-09T00:00:00.000Z",
        "    no-policy-found: 1 as it should be, 0 failed",
    ]


def test_json_is_what_would_be_sent(here: Here) -> None:
    answer = here.json("tls-report", "--date", "2023-12-09")
    assert [(each["domain"], each["date"]) for each in answer["counted"]] == [
        ("example.com", "2023-12-09"),
        ("example.net", "2023-12-09"),
    ]
    report = answer["counted"][1]["report"]
    assert report["organization-name"] == "example.org"
    assert report["policies"][0]["failure-details"][0]["result-type"] == "certificate-expired"
    assert answer["under_way"] == []
    assert answer["places"] is None
    (waiting,) = here.json("tls-report", "--date", "2023-12-08")["under_way"]
    assert (waiting["domain"], waiting["place"], waiting["tries"]) == ("example.com", "https://reports.example.com/", 0)


def test_one_domain_and_where_it_wants_reports(tmp_path: Path) -> None:
    with FakeDns({"_smtp._tls.example.net": ['TXT "v=TLSRPTv1; rua=mailto:tls@example.net"']}) as dns:
        here = Here(tmp_path, more=f'[dns]\nnameservers = ["{dns.nameserver}"]\n')
        filled(here)
        answer = here.json("tls-report", "EXAMPLE.net.")
        assert [each["domain"] for each in answer["counted"]] == ["example.net"]
        assert answer["under_way"] == []
        assert answer["places"] == ["mailto:tls@example.net"]
        assert here.run("tls-report", "example.net").stdout.endswith("reports go to mailto:tls@example.net\n")
        assert here.run("tls-report", "example.com").stdout.endswith("the domain does not ask for reports\n")
        dns.script("_smtp._tls.example.com", Script(rcode="SERVFAIL"))
        assert here.json("tls-report", "example.com")["places"] is None


def test_where_nothing_was_counted(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.data_dir.mkdir()
    assert here.run("tls-report").stdout == "nothing is counted, and no report is under way\n"
    assert list(here.data_dir.iterdir()) == []


def test_what_is_off_is_said(tmp_path: Path) -> None:
    here = Here(tmp_path, more="[tls_report]\nenabled = false\n")
    here.data_dir.mkdir()
    assert "[tls_report] is not enabled" in here.run("tls-report").stderr


def test_what_makes_no_sense_is_refused(here: Here) -> None:
    assert "is no domain" in here.refused("tls-report", "a b")
    assert here.run("tls-report", "--date", "yesterday").exit_code == 2


def test_sending_needs_the_running_server(here: Here) -> None:
    assert "no server is running" in here.refused("tls-report", "--send")
