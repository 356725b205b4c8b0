"""What each account has sent and from where, in a file that all workers share: `data_dir/account-use.sqlite3`.

    ledger = Ledger(data_dir / "account-use.sqlite3", log)
    hours = await ledger.add({"alice@example.org": Tally(messages=1, recipients=3)}, now)
    over, hours = await ledger.reserve("alice@example.org", Spent(1, 1), limits, now)
    found = await ledger.foreign("alice@example.org", Arrival(now, "192.0.2.0/24", 1), now)   # None: at home
    ledger.close()

It is a SideFile: where it can't be used every answer is None, and whoever asks goes on without. What it holds of one
account is bounded: 25 hours, a month of days, 50 networks, and the foreign mail of a day (see policy/misuse).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from valija.logs import Log
from valija.policy.limits import HOUR, HOURS, AccountLimits, LimitName, Spent, first_over
from valija.policy.misuse import BOUNCE_HOURS, HOME_AFTER, WINDOW, Bouncing, Sending, facts_of
from valija.sidefile import SideFile

IDENTITY: Final = 0x76616C75  # "valu"
NETWORKS_KEPT: Final = 50  # of one account, those last used
NETWORK_FORGOTTEN: Final = 400 * 86_400.0  # seconds after its last use: an account that slept for a year is no stranger
_DAYS_KEPT: Final = 30
_LOOKED_AT: Final = 300  # messages of one account's foreign mail, the newest
_DAY: Final = 86_400

_SCHEMA: Final = """
    CREATE TABLE hour (
        login TEXT NOT NULL, hour INTEGER NOT NULL, messages INTEGER NOT NULL, recipients INTEGER NOT NULL,
        first_time INTEGER NOT NULL, ended INTEGER NOT NULL, refused INTEGER NOT NULL, PRIMARY KEY (login, hour)
    ) WITHOUT ROWID;
    CREATE TABLE day (
        login TEXT NOT NULL, day INTEGER NOT NULL, first_time INTEGER NOT NULL, PRIMARY KEY (login, day)
    ) WITHOUT ROWID;
    CREATE TABLE network (
        login TEXT NOT NULL, network TEXT NOT NULL, since REAL NOT NULL, last REAL NOT NULL, home INTEGER NOT NULL,
        PRIMARY KEY (login, network)
    ) WITHOUT ROWID;
    CREATE TABLE foreign_mail (
        login TEXT NOT NULL, at REAL NOT NULL, network TEXT NOT NULL, strangers INTEGER NOT NULL
    );
    CREATE INDEX foreign_mail_of ON foreign_mail (login, at);
    CREATE TABLE known_page (number INTEGER PRIMARY KEY, octets BLOB NOT NULL);
    CREATE TABLE secret (value BLOB NOT NULL);
    INSERT INTO secret VALUES (randomblob(32));
"""
_ADD: Final = """
    INSERT INTO hour VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET
        messages = messages + ?3, recipients = recipients + ?4, first_time = first_time + ?5, ended = ended + ?6,
        refused = refused + ?7"""
_ADD_DAY: Final = "INSERT INTO day VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET first_time = first_time + ?3"
_SPENT: Final = """
    SELECT hour, messages, recipients, first_time FROM hour WHERE login = ? AND hour > ? AND hour <= ?"""
_NOTE_NETWORK: Final = "INSERT INTO network VALUES (?1, ?2, ?3, ?3, ?4) ON CONFLICT DO UPDATE SET last = ?3"
_TRIM_NETWORKS: Final = """
    DELETE FROM network WHERE login = ?1 AND network NOT IN
        (SELECT network FROM network WHERE login = ?1 ORDER BY last DESC LIMIT ?2)"""
_IS_HOME: Final = "SELECT 1 FROM network WHERE login = ? AND network = ? AND (home OR since <= ?)"
_FOREIGN: Final = """
    SELECT at, network, strangers FROM foreign_mail WHERE login = ? AND at > ? AND at <= ?
    ORDER BY at DESC LIMIT ?"""
_BEGAN: Final = "SELECT min(at) FROM foreign_mail WHERE login = ? AND network IN (SELECT value FROM json_each(?))"
_BUSIEST: Final = "SELECT coalesce(max(first_time), 0) FROM day WHERE login = ? AND day < ?"
_ENDS: Final = "SELECT coalesce(sum(refused), 0), coalesce(sum(ended), 0) FROM hour WHERE login = ? AND hour > ?"

Hours = Sequence[tuple[int, Spent]]
"""What was spent by hour since the epoch, those that still count."""


class Tally(msgspec.Struct):
    """What one worker has counted of an account and not told yet; `ended` and `refused` count recipients."""

    messages: int = 0
    recipients: int = 0
    first_time: int = 0
    ended: int = 0
    refused: int = 0


class Arrival(msgspec.Struct, frozen=True):
    """A message that came: when, from which network, with how many recipients its account never wrote to before."""

    at: float
    network: str
    strangers: int


class Foreign(msgspec.Struct, frozen=True):
    """What the foreign mail of an account comes to, and when that began (epoch seconds)."""

    facts: Sending
    began: float


class Ledger:
    """The file, as one process uses it. All times are epoch seconds."""

    def __init__(self, path: Path, log: Log) -> None:
        self._file = SideFile(path, identity=IDENTITY, schema=_SCHEMA, log=log)

    def close(self) -> None:
        """Leave the file."""
        self._file.close()

    async def add(self, tallies: Mapping[str, Tally], now: float) -> Mapping[str, Hours] | None:
        """Add what was counted to what all have; return what the accounts have spent."""

        def work(connection: apsw.Connection) -> Mapping[str, Hours]:
            for login, tally in tallies.items():
                _add(connection, login, tally, now)
            return {login: _hours(connection, login, now) for login in tallies}

        return await self._file.run(work)

    async def reserve(
        self, login: str, counted: Tally, more: Spent, limits: AccountLimits, now: float
    ) -> tuple[LimitName | None, Hours] | None:
        """Add what was counted, and `more` where it passes no limit; return the limit that it passes, and the hours."""

        def work(connection: apsw.Connection) -> tuple[LimitName | None, Hours]:
            _add(connection, login, counted, now)
            over = first_over(total(_hours(connection, login, now)), more, limits)
            if over is None:
                _add(connection, login, Tally(more.messages, more.recipients, more.first_time), now)
            return over, _hours(connection, login, now)

        return await self._file.run(work)

    async def foreign(self, login: str, message: Arrival, now: float) -> Foreign | None:
        """Note a message; None where it comes from a home of the account, else what its foreign mail comes to."""
        return await self._file.run(lambda connection: _arrive(connection, login, message, now))

    async def bouncing(self, login: str, now: float) -> Bouncing | None:
        """Return what became of an account's mail lately."""

        def work(connection: apsw.Connection) -> Bouncing:
            refused, ended = _rows(connection, _ENDS, login, int(now) // HOUR - BOUNCE_HOURS)[0]
            return Bouncing(refused, ended, _first_time_today(connection, login, now), _busiest(connection, login, now))

        return await self._file.run(work)

    async def forget_old(self, now: float) -> None:
        """Delete what counts no more."""
        await self._file.run(lambda connection: _forget_old(connection, now))

    def foreign_networks(self, login: str, since: float) -> frozenset[str]:
        """Return where an account's foreign mail came from; for commands, which wait for it."""
        asked = "SELECT DISTINCT network FROM foreign_mail WHERE login = ? AND at >= ?"
        found = self._file.run_here(lambda connection: _rows(connection, asked, login, since))
        return frozenset(network for (network,) in found or ())

    def pardon(self, login: str, *, is_at_home: bool) -> None:
        """Judge an account anew from now on: the networks of its foreign mail are homes of its, or never were.

        For commands, which wait for it.
        """
        self._file.run_here(lambda connection: _pardon(connection, login, is_at_home=is_at_home))

    # What is known of recipients

    def read_known(self) -> tuple[bytes, Sequence[tuple[int, bytes]]] | None:
        """Return the secret and the pages, for the start, which waits for it."""

        def work(connection: apsw.Connection) -> tuple[bytes, Sequence[tuple[int, bytes]]]:
            pages = [(number, octets) for number, octets in _rows(connection, "SELECT number, octets FROM known_page")]
            return _rows(connection, "SELECT value FROM secret")[0][0], pages

        return self._file.run_here(work)

    async def save_known(self, pages: Sequence[tuple[int, bytes]]) -> bool:
        """Save pages; False where that can't be."""

        def work(connection: apsw.Connection) -> bool:
            connection.executemany("INSERT OR REPLACE INTO known_page VALUES (?, ?)", pages)
            return True

        return bool(await self._file.run(work))


def _rows(connection: apsw.Connection, question: str, *values: str | float) -> list[tuple[Any, ...]]:
    return connection.execute(question, values).fetchall()


def total(hours: Hours) -> Spent:
    """Return what was spent in all hours."""
    spent = Spent()
    for _, each in hours:
        spent += each
    return spent


def _add(connection: apsw.Connection, login: str, tally: Tally, now: float) -> None:
    if tally == Tally():
        return
    counted = tally.messages, tally.recipients, tally.first_time, tally.ended, tally.refused
    connection.execute(_ADD, (login, int(now) // HOUR, *counted))
    if tally.first_time:
        connection.execute(_ADD_DAY, (login, int(now) // _DAY, tally.first_time))


def _hours(connection: apsw.Connection, login: str, now: float) -> Hours:
    hour = int(now) // HOUR
    return [(each, Spent(*counts)) for each, *counts in _rows(connection, _SPENT, login, hour - HOURS, hour)]


def _arrive(connection: apsw.Connection, login: str, message: Arrival, now: float) -> Foreign | None:
    first_use: float | None = _rows(connection, "SELECT min(since) FROM network WHERE login = ?", login)[0][0]
    connection.execute(_NOTE_NETWORK, (login, message.network, now, first_use is None))
    connection.execute(_TRIM_NETWORKS, (login, NETWORKS_KEPT))
    if _rows(connection, _IS_HOME, login, message.network, now - HOME_AFTER):
        return None
    noted = login, message.at, message.network, message.strangers
    connection.execute("INSERT INTO foreign_mail VALUES (?, ?, ?, ?)", noted)
    rows = [(at, each, count) for at, each, count in _rows(connection, _FOREIGN, login, now - WINDOW, now, _LOOKED_AT)]
    networks = msgspec.json.encode(list({each for _, each, _ in rows})).decode()
    is_new = first_use is None or first_use > now - HOME_AFTER
    facts = facts_of(rows, now, busiest=_busiest(connection, login, now), is_new=is_new)
    return Foreign(facts, began=_rows(connection, _BEGAN, login, networks)[0][0])


def _busiest(connection: apsw.Connection, login: str, now: float) -> int:
    return int(_rows(connection, _BUSIEST, login, int(now) // _DAY)[0][0])


def _first_time_today(connection: apsw.Connection, login: str, now: float) -> int:
    found = _rows(connection, "SELECT first_time FROM day WHERE login = ? AND day = ?", login, int(now) // _DAY)
    return int(found[0][0]) if found else 0


def _forget_old(connection: apsw.Connection, now: float) -> None:
    connection.execute("DELETE FROM hour WHERE hour <= ?", (int(now) // HOUR - HOURS,))
    connection.execute("DELETE FROM day WHERE day < ?", (int(now) // _DAY - _DAYS_KEPT,))
    connection.execute("DELETE FROM foreign_mail WHERE at < ?", (now - _DAY,))
    connection.execute("DELETE FROM network WHERE last < ?", (now - NETWORK_FORGOTTEN,))


def _pardon(connection: apsw.Connection, login: str, *, is_at_home: bool) -> None:
    foreign = "network IN (SELECT network FROM foreign_mail WHERE login = ?1)"
    change = "UPDATE network SET home = 1" if is_at_home else "DELETE FROM network"
    connection.execute(f"{change} WHERE login = ?1 AND NOT home AND {foreign}", (login,))
    connection.execute("DELETE FROM foreign_mail WHERE login = ?", (login,))
    connection.execute("UPDATE hour SET ended = 0, refused = 0 WHERE login = ?", (login,))
