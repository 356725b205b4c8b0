"""The counts of sessions: added up by many, taken out once, and bounded."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw

from tests.deliver.setting import MemoryLog
from valija.logs import Log
from valija.policy.tls_report import TlsResult
from valija.policy.tls_report_body import DAY, Counted, Sender
from valija.policy.tls_report_record import HttpsPlace, MailPlace
from valija.tls_reports.ledger import GIVEN_UP_AFTER, KEPT_DAYS, MOST_LINES, Ledger
from valija.tls_reports.tally import Tally

T = TypeVar("T")

DOMAIN = "example.net"
GOOD = TlsResult(DOMAIN, "sts", ("mode: enforce",), ("mx.example.net",))
BAD = TlsResult(
    DOMAIN,
    "sts",
    ("mode: enforce",),
    ("mx.example.net",),
    "mx.example.net",
    "192.0.2.1",
    "192.0.2.2",
    "certificate-expired",
    "expired",
)
SENDER = Sender("Example", "postmaster@example.org")
PLACES = (MailPlace("tls@example.net"), HttpsPlace("https://reports.example.net/"))
TODAY = 19_700
NOW = float(TODAY * DAY + 3600)


def opened(folder: Path, log: MemoryLog | None = None) -> Ledger:
    return Ledger(folder / "tls-report.sqlite3", cast("Log", log or MemoryLog()))


def on(folder: Path, *work: Any) -> list[Any]:
    """Do some work on a ledger, each a function of it; return what came of it."""

    async def main() -> list[Any]:
        ledger = opened(folder)
        try:
            return [await done if isinstance(done := each(ledger), Coroutine) else done for each in work]
        finally:
            ledger.close()

    return asyncio.run(main())


def test_counts_add_up(tmp_path: Path) -> None:
    on(tmp_path, lambda it: it.add(TODAY, {GOOD: 2, BAD: 1}), lambda it: it.add(TODAY, {GOOD: 3}))
    (tallied,) = opened(tmp_path).look()
    assert (tallied.day, tallied.domain) == (TODAY, DOMAIN)
    assert sorted(tallied.counts, key=lambda each: each.sessions) == [Counted(BAD, 1), Counted(GOOD, 5)]
    assert (tmp_path / "tls-report.sqlite3").stat().st_mode & 0o777 == 0o600


def test_workers_count_into_one_file(tmp_path: Path) -> None:
    async def main() -> None:
        ledgers = [opened(tmp_path) for _ in range(4)]
        await asyncio.gather(*(ledger.add(TODAY, {GOOD: 1}) for ledger in ledgers for _ in range(25)))
        for ledger in ledgers:
            ledger.close()

    asyncio.run(main())
    assert opened(tmp_path).look()[0].counts == (Counted(GOOD, 100),)


def test_a_report_takes_its_counts_out(tmp_path: Path) -> None:
    _, made, again, due = on(
        tmp_path,
        lambda it: it.add(TODAY, {GOOD: 2, BAD: 1}),
        lambda it: it.make_report((TODAY, DOMAIN), PLACES, SENDER, "u", NOW),
        lambda it: it.make_report((TODAY, DOMAIN), PLACES, SENDER, "v", NOW),
        lambda it: it.due(NOW),
    )
    assert made.sessions == (3, 1)
    assert again is None
    assert {(errand.report, errand.place, errand.tries) for errand in due} == {(made, place, 0) for place in PLACES}
    assert opened(tmp_path).look() == []


def test_errands_end_one_by_one_and_survive_a_restart(tmp_path: Path) -> None:
    on(
        tmp_path,
        lambda it: it.add(TODAY, {GOOD: 1}),
        lambda it: it.make_report((TODAY, DOMAIN), PLACES, SENDER, "u", NOW),
    )
    (due,) = on(tmp_path, lambda it: it.due(NOW))
    mail, web = sorted(due, key=lambda errand: isinstance(errand.place, HttpsPlace))
    on(tmp_path, lambda it: it.done(mail), lambda it: it.put_off(web, NOW + 300))
    soon, later = on(tmp_path, lambda it: it.due(NOW + 299), lambda it: it.due(NOW + 300))
    assert soon == []
    assert [(errand.place, errand.tries, errand.made) for errand in later] == [(web.place, 1, NOW)]
    (_, brought) = on(tmp_path, lambda it: it.bring_forward(NOW), lambda it: it.due(NOW))
    assert len(brought) == 1
    on(tmp_path, lambda it: it.done(web))
    with apsw.Connection(str(tmp_path / "tls-report.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM report").get == 0


def test_days_that_have_ended(tmp_path: Path) -> None:
    other = TlsResult("example.com", "no-policy-found")
    (_, _, _, ended) = on(
        tmp_path,
        lambda it: it.add(TODAY, {GOOD: 1}),
        lambda it: it.add(TODAY - 1, {GOOD: 1, other: 1}),
        lambda it: it.forget((TODAY - 1, "example.com")),
        lambda it: it.ended(before=TODAY),
    )
    assert ended == [(TODAY - 1, DOMAIN)]


def test_what_nobody_can_be_told_is_dropped(tmp_path: Path) -> None:
    old = TODAY - KEPT_DAYS - 1
    on(
        tmp_path,
        lambda it: it.add(old, {GOOD: 1}),
        lambda it: it.add(old + 1, {GOOD: 1}),
        lambda it: it.add(TODAY, {GOOD: 1}),
        lambda it: it.make_report((TODAY, DOMAIN), PLACES, SENDER, "u", NOW - 2 * GIVEN_UP_AFTER - 1),
        lambda it: it.forget_old(TODAY, NOW),
    )
    ledger = opened(tmp_path)
    assert [tallied.day for tallied in ledger.look()] == [old + 1]
    assert ledger.under_way() == []


def test_a_domain_with_a_thousand_ways_to_fail_stays_small(tmp_path: Path) -> None:
    kinds = {
        TlsResult(DOMAIN, "sts", host=f"mx{number}.example.net", result="certificate-expired", detail=f"{number}"): 1
        for number in range(1000)
    }
    on(tmp_path, lambda it: it.add(TODAY, kinds))
    (tallied,) = opened(tmp_path).look()
    assert len(tallied.counts) == MOST_LINES + 1
    assert sum(counted.sessions for counted in tallied.counts) == 1000


def test_looking_at_one_domain_or_day(tmp_path: Path) -> None:
    other = TlsResult("example.com", "no-policy-found")
    on(tmp_path, lambda it: it.add(TODAY, {GOOD: 1, other: 1}), lambda it: it.add(TODAY - 1, {GOOD: 1}))
    ledger = opened(tmp_path)
    assert [(each.day, each.domain) for each in ledger.look()] == [
        (TODAY - 1, DOMAIN),
        (TODAY, "example.com"),
        (TODAY, DOMAIN),
    ]
    assert [(each.day, each.domain) for each in ledger.look(DOMAIN)] == [(TODAY - 1, DOMAIN), (TODAY, DOMAIN)]
    assert [(each.day, each.domain) for each in ledger.look(DOMAIN, TODAY)] == [(TODAY, DOMAIN)]


def test_a_file_that_is_damaged_or_somebody_elses_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "tls-report.sqlite3"
    for spoil in (lambda: path.write_bytes(b"rubbish" * 1000), lambda: _anothers(path)):
        spoil()
        log = MemoryLog()
        ledger = opened(tmp_path, log)
        assert ledger.look() == []
        ledger.close()
        assert len(log.of("file set aside")) == 1
        path.unlink()


def _anothers(path: Path) -> None:
    with apsw.Connection(str(path)) as connection:
        connection.execute("CREATE TABLE x (y)")


# Counting in memory


def test_the_tally_writes_what_it_counted_by_day(tmp_path: Path) -> None:
    now = NOW

    async def main() -> None:
        nonlocal now
        ledger = opened(tmp_path)
        tally = Tally(ledger, lambda: now, cast("Log", MemoryLog()))
        for _ in range(3):
            tally.note(TlsResult(DOMAIN, "sts", ("mode: enforce",), ("mx.example.net",), "mx", "::1"))
        now += DAY
        tally.note(BAD)
        await tally.flush()
        await tally.flush()
        ledger.close()

    asyncio.run(main())
    assert [(each.day, each.counts) for each in opened(tmp_path).look()] == [
        (TODAY, (Counted(GOOD, 3),)),
        (TODAY + 1, (Counted(BAD, 1),)),
    ]


def test_a_tally_that_can_not_write_says_so_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "tls-report.sqlite3").mkdir()
    log = MemoryLog()

    async def main() -> None:
        tally = Tally(opened(tmp_path, log), lambda: NOW, cast("Log", log))
        tally.note(GOOD)
        tally.note(GOOD)
        await tally.flush()
        assert log.of("TLS results not counted") == [{"sessions": 2}]
        tally.note(GOOD)

    asyncio.run(main())


def test_a_tally_is_bounded(tmp_path: Path) -> None:
    log = MemoryLog()

    async def main() -> None:
        tally = Tally(opened(tmp_path, log), lambda: NOW, cast("Log", log))
        for number in range(20_010):
            tally.note(TlsResult(f"{number}.example", "no-policy-found"))
        assert sum(map(len, tally._days.values())) == 20_000
        tally.note(TlsResult("7.example", "no-policy-found"))
        await tally.flush()

    asyncio.run(main())
    assert log.of("TLS results not counted") == [{"sessions": 10}]
