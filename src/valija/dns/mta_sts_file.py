"""The policies that were fetched, kept on disk: a restart forgets none, and all workers share them.

    file = StsFile(data_dir / "mta-sts.sqlite3", log)
    await file.keep("example.net", Kept(policy, "20160831085700Z", fetched=now))
    kept = await file.find("example.net", now)       # None where there is none that is good still
    await file.due(now)                              # domains in use whose policy should be fetched again

All times are seconds since the epoch. What is kept is bounded: beyond MOST the policies that were not used for longest
leave. A policy is parsed again when it is read, so that nothing is believed that this version would not take.
"""

from pathlib import Path
from typing import Final

import apsw
import msgspec

from valija.logs import Log
from valija.policy.mta_sts import StsFault, StsPolicy, parse_policy
from valija.sidefile import SideFile

MOST: Final = 20_000  # policies
REFRESH_AFTER: Final = 72_000.0
"""Seconds after which a policy in use is fetched again: a little less than a day (RFC 8461 section 3.3)."""
LEAST_AGE: Final = 300.0
"""Seconds that a policy is good for whatever its max_age: no host is asked more often (RFC 8461 section 3.3)."""
IN_USE: Final = 30 * 86_400.0
"""Seconds after its last use for which a policy is still fetched again by itself."""

_NOTED: Final = 21_600.0  # seconds between two notes that a policy is in use
_IDENTITY: Final = 0x76616C73  # "vals"
_SCHEMA: Final = """
    CREATE TABLE policy (
        domain TEXT PRIMARY KEY, id TEXT NOT NULL, text TEXT NOT NULL,
        fetched REAL NOT NULL, ends REAL NOT NULL, again REAL NOT NULL, used REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX policy_used ON policy (used);
"""
_KEEP: Final = """
    INSERT INTO policy VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?4)
    ON CONFLICT DO UPDATE SET id = ?2, text = ?3, fetched = ?4, ends = ?5, again = ?6"""
_TRIM: Final = "DELETE FROM policy WHERE domain IN (SELECT domain FROM policy ORDER BY used DESC LIMIT -1 OFFSET ?)"
_DUE: Final = "SELECT domain FROM policy WHERE again <= ?1 AND used > ?2 AND ends > ?1 ORDER BY ends LIMIT ?3"
_FIND: Final = "SELECT id, text, fetched, used FROM policy WHERE domain = ?1 AND ends > ?2 AND fetched < ?3"


class Kept(msgspec.Struct, frozen=True):
    """A policy, the id that the DNS gave it, and when it was fetched."""

    policy: StsPolicy
    policy_id: str
    fetched: float

    @property
    def ends(self) -> float:
        """Until when it is good."""
        return self.fetched + max(self.policy.max_age, LEAST_AGE)

    @property
    def again(self) -> float:
        """When it is to be fetched again, while it is in use."""
        return self.fetched + min(REFRESH_AFTER, max(self.policy.max_age / 2, LEAST_AGE))


class StsFile:
    """The file at `path`."""

    def __init__(self, path: Path, log: Log) -> None:
        self._file = SideFile(path, identity=_IDENTITY, schema=_SCHEMA, log=log)

    async def find(self, domain: str, now: float, *, is_use: bool = True) -> Kept | None:
        """Return the policy of a domain; `is_use` notes that it is in use."""
        return await self._file.run(lambda connection: _find(connection, domain, now, is_use=is_use))

    async def keep(self, domain: str, kept: Kept) -> None:
        """Keep a policy that was fetched now, in place of what there is."""
        facts = (domain, kept.policy_id, kept.policy.text, kept.fetched, kept.ends, kept.again)

        def work(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM policy WHERE ends < ?", (kept.fetched,))
            connection.execute(_KEEP, facts)
            connection.execute(_TRIM, (MOST,))

        await self._file.run(work)

    async def due(self, now: float, limit: int = 1000) -> list[str]:
        """Return the domains in use whose policy is to be fetched again, those that end first at the head."""
        facts = (now, now - IN_USE, limit)
        return await self._file.run(lambda connection: [row[0] for row in connection.execute(_DUE, facts)]) or []

    async def put_off(self, domain: str, until: float) -> None:
        """Have a policy, which could not be fetched again, tried again at a later time."""

        def work(connection: apsw.Connection) -> None:
            connection.execute("UPDATE policy SET again = ? WHERE domain = ?", (until, domain))

        await self._file.run(work)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _find(connection: apsw.Connection, domain: str, now: float, *, is_use: bool) -> Kept | None:
    # One from the future was fetched before the clock was set back: who knows how long it is good.
    row = connection.execute(_FIND, (domain, now, now + 86_400)).fetchone()
    if row is None:
        return None
    policy_id, text, fetched, used = row
    if is_use and now - used > _NOTED:
        connection.execute("UPDATE policy SET used = ? WHERE domain = ?", (now, domain))
    try:
        return Kept(parse_policy(text.encode()), policy_id, fetched)
    except StsFault:
        return None
