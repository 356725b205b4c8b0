"""The file of counts and of reports under way: a restart loses none of them, and sends none twice.

    ledger = Ledger(data_dir / "tls-report.sqlite3", log)
    await ledger.add(day, {result: sessions})                       # from each worker, now and then
    await ledger.ended(before=today)                                # [(19700, "example.net")]
    made = await ledger.make_report(19700, "example.net", places, sender, unique, now)
    for errand in await ledger.due(now): ...                        # one for each place of each report
    await ledger.done(errand)

Making a report takes the counts out and puts the report in, in one transaction: each session is told once. What is
counted is bounded: beyond MOST_LINES kinds of failure of a domain's day the hosts are no longer told apart, and the
file's own size has an end (see valija/sidefile).

Days are whole days since the epoch, all other times seconds since it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from valija.logs import Log
from valija.policy.tls_report import SUCCESS, TlsResult
from valija.policy.tls_report_body import Counted, Report, Sender, build_report, parse_report, report_json
from valija.policy.tls_report_record import Place
from valija.sidefile import SideFile

KEPT_DAYS: Final = 3
"""Days for which counts are kept that could not be reported, as the DNS did not say to whom."""
GIVEN_UP_AFTER: Final = 86_400.0
"""Seconds for which a report is tried (RFC 8460 section 5.5)."""
MOST_LINES: Final = 200
"""Kinds of outcome that are told apart in a domain's day."""

_IDENTITY: Final = 0x76616C74  # "valt"
_SCHEMA: Final = """
    CREATE TABLE counted (
        day INTEGER NOT NULL, domain TEXT NOT NULL, result BLOB NOT NULL, sessions INTEGER NOT NULL,
        PRIMARY KEY (day, domain, result)
    ) WITHOUT ROWID;
    CREATE TABLE report (id TEXT PRIMARY KEY, day INTEGER NOT NULL, document BLOB NOT NULL, made REAL NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE errand (
        report TEXT NOT NULL, place BLOB NOT NULL, tries INTEGER NOT NULL, due REAL NOT NULL,
        PRIMARY KEY (report, place)
    ) WITHOUT ROWID;
    CREATE INDEX errand_due ON errand (due);
"""
_ADD: Final = "INSERT INTO counted VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET sessions = sessions + ?4"
_MORE: Final = "UPDATE counted SET sessions = sessions + ?4 WHERE day = ?1 AND domain = ?2 AND result = ?3"
_COUNT: Final = "SELECT count(*) FROM counted WHERE day = ? AND domain = ?"
_ERRANDS: Final = """
    SELECT errand.report, errand.place, errand.tries, errand.due, report.document, report.made
    FROM errand JOIN report ON report.id = errand.report WHERE errand.due <= ? ORDER BY errand.due LIMIT ?"""
_WITHOUT_ERRAND: Final = "DELETE FROM report WHERE id NOT IN (SELECT report FROM errand)"

_encode = msgspec.json.Encoder().encode
_result_of = msgspec.json.Decoder(TlsResult).decode
_place_of = msgspec.json.Decoder(Place).decode


class Errand(msgspec.Struct, frozen=True):
    """A report on its way to one place. `tries` have failed so far."""

    report: Report
    place: Place
    tries: int
    due: float
    made: float


class Tallied(msgspec.Struct, frozen=True):
    """A domain's day: what was counted."""

    day: int
    domain: str
    counts: tuple[Counted, ...]


class Ledger:
    """The file at `path`."""

    def __init__(self, path: Path, log: Log) -> None:
        self._file = SideFile(path, identity=_IDENTITY, schema=_SCHEMA, log=log)

    async def add(self, day: int, counts: Mapping[TlsResult, int]) -> bool:
        """Add to the counts of a day; False where the file can't be written."""

        def work(connection: apsw.Connection) -> bool:
            for result, sessions in counts.items():
                _add(connection, day, result, sessions)
            return True

        return bool(await self._file.run(work))

    async def ended(self, before: int) -> list[tuple[int, str]]:
        """Return the days before `before`, and their domains, of which there is something to tell."""
        query = "SELECT DISTINCT day, domain FROM counted WHERE day < ?"
        rows: list[Any] | None = await self._file.run(
            lambda connection: connection.execute(query, (before,)).fetchall()
        )
        return rows or []

    async def make_report(
        self, tallied: tuple[int, str], places: Sequence[Place], sender: Sender, unique: str, now: float
    ) -> Report | None:
        """Take the counts of a domain's day out and make a report of them, due at each of `places` now."""
        day, domain = tallied

        def work(connection: apsw.Connection) -> Report | None:
            counts = _counts(connection, day, domain)
            if not counts:
                return None
            report = build_report(domain, day, counts, sender, unique)
            values = (report.report_id, day, report_json(report), now)
            connection.execute("INSERT INTO report VALUES (?, ?, ?, ?)", values)
            errands = [(report.report_id, _encode(place), 0, now) for place in places]
            connection.executemany("INSERT INTO errand VALUES (?, ?, ?, ?)", errands)
            _forget(connection, day, domain)
            return report

        return await self._file.run(work)

    async def forget(self, tallied: tuple[int, str]) -> None:
        """Drop the counts of a domain's day: it does not want to know."""
        await self._file.run(lambda connection: _forget(connection, *tallied))

    async def forget_old(self, today: int, now: float) -> None:
        """Drop what nobody can be told any more."""

        def work(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM counted WHERE day < ?", (today - KEPT_DAYS,))
            old = (now - 2 * GIVEN_UP_AFTER,)
            connection.execute("DELETE FROM errand WHERE report IN (SELECT id FROM report WHERE made < ?)", old)
            connection.execute(_WITHOUT_ERRAND)

        await self._file.run(work)

    # Reports under way

    async def due(self, now: float, limit: int = 100) -> list[Errand]:
        """Return errands that are due, those that wait longest first."""
        return await self._file.run(lambda connection: _errands(connection, now, limit)) or []

    async def done(self, errand: Errand) -> bool:
        """Record that a report has arrived, or is given up; False where the file can't be written."""

        def work(connection: apsw.Connection) -> bool:
            connection.execute("DELETE FROM errand WHERE report = ? AND place = ?", _key(errand))
            connection.execute(_WITHOUT_ERRAND)
            return True

        return bool(await self._file.run(work))

    async def put_off(self, errand: Errand, until: float) -> None:
        """Record that a report did not arrive, and is to be tried again."""

        def work(connection: apsw.Connection) -> None:
            query = "UPDATE errand SET tries = tries + 1, due = ? WHERE report = ? AND place = ?"
            connection.execute(query, (until, *_key(errand)))

        await self._file.run(work)

    async def bring_forward(self, now: float) -> None:
        """Have all reports under way due now."""

        def work(connection: apsw.Connection) -> None:
            connection.execute("UPDATE errand SET due = ?1 WHERE due > ?1", (now,))

        await self._file.run(work)

    # For those who look

    def look(self, domain: str = "", day: int | None = None) -> list[Tallied]:
        """Return what is counted, of one domain or day or of all, in order. For commands: it waits for the disk."""
        return self._file.run_here(lambda connection: list(_tallied(connection, domain, day))) or []

    def under_way(self) -> list[Errand]:
        """Return all reports under way. For commands."""
        return self._file.run_here(lambda connection: _errands(connection, float("inf"), -1)) or []

    def close(self) -> None:
        """Do what waits, and let go of the file."""
        self._file.close()


def _add(connection: apsw.Connection, day: int, result: TlsResult, sessions: int) -> None:
    row = (day, result.domain, _encode(result), sessions)
    connection.execute(_MORE, row)
    if connection.changes():
        return
    lines = connection.execute(_COUNT, (day, result.domain)).get
    if lines < MOST_LINES:
        connection.execute(_ADD, row)
    elif lines < 2 * MOST_LINES:
        connection.execute(_ADD, (day, result.domain, _encode(_blurred(result)), sessions))


def _blurred(result: TlsResult) -> TlsResult:
    """Return a result without what tells hosts apart."""
    if result.result == SUCCESS:
        return result
    return TlsResult(result.domain, result.policy_type, result.policy, result.mx_patterns, result=result.result)


def _counts(connection: apsw.Connection, day: int, domain: str) -> list[Counted]:
    rows = connection.execute("SELECT result, sessions FROM counted WHERE day = ? AND domain = ?", (day, domain))
    return [Counted(_result_of(result), sessions) for result, sessions in rows]


def _forget(connection: apsw.Connection, day: int, domain: str) -> None:
    connection.execute("DELETE FROM counted WHERE day = ? AND domain = ?", (day, domain))


def _tallied(connection: apsw.Connection, domain: str, day: int | None) -> Iterable[Tallied]:
    query = "SELECT DISTINCT day, domain FROM counted WHERE (?1 = '' OR domain = ?1) AND (?2 IS NULL OR day = ?2)"
    rows: list[Any] = connection.execute(query, (domain, day)).fetchall()
    for that_day, name in rows:
        yield Tallied(that_day, name, tuple(_counts(connection, that_day, name)))


def _errands(connection: apsw.Connection, now: float, limit: int) -> list[Errand]:
    return [
        Errand(parse_report(document), _place_of(place), tries, due, made)
        for _, place, tries, due, document, made in connection.execute(_ERRANDS, (now, limit))
    ]


def _key(errand: Errand) -> tuple[str, bytes]:
    return errand.report.report_id, _encode(errand.place)
