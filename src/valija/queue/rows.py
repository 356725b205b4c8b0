"""The statements on the messages of one queue file. Everything here runs inside a transaction of the caller.

    rows = Rows(connection)
    rows.insert(new_row(number, message, domain_of))
    effect = rows.settle(number, settlement.recipients, [])

The row keeps envelope and origin as one MessagePack value: it is written and read whole, and new fields need no new
schema. Used by the store's writer and, in a process of its own, by the command line.
"""

import builtins
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, TypeVar

import apsw
import msgspec

from valija.content.reported import Reported, ReportKind
from valija.faults.points import fault_point
from valija.mail.content import Content
from valija.mail.envelope import Envelope
from valija.mail.origin import Origin
from valija.mail.outcome import State
from valija.queue.identity import from_number
from valija.queue.store import (
    CRASH_LIMIT,
    Listed,
    NewMessage,
    PendingRecipient,
    Settled,
    Unreported,
    awaited_release,
)

T = TypeVar("T")

_write = fault_point("queue.write")
_settle = fault_point("settlement.write")
_report = fault_point("report.write")

LARGEST_BLOCK: Final = 64  # rows per statement

_MESSAGE: Final = "(?, ?, 0, ?, ?, ?, ?)"
_RECIPIENT: Final = "(?, ?, ?, ?, ?, 0, 0, '')"
_END_RECIPIENT: Final = "DELETE FROM recipient WHERE message = ? AND number = ?"
_DEFER_RECIPIENT: Final = """
UPDATE recipient SET next_attempt = ?, attempts = attempts + 1, warned = ?, last_reply = ?
WHERE message = ? AND number = ?"""
_END_MESSAGE: Final = """
DELETE FROM message WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM recipient WHERE message = ?1)
AND NOT EXISTS (SELECT 1 FROM news WHERE message = ?1) RETURNING body_file"""
_LEAVE: Final = "AND NOT EXISTS (SELECT 1 FROM news WHERE message = message.id)"
_RELEASE_HOLD: Final = """
UPDATE recipient SET held = 0, next_attempt = CASE attempts WHEN 0 THEN max(?1, ?3) ELSE ?1 END WHERE message = ?2"""
_LATE_AND_NEW: Final = """
SELECT DISTINCT message FROM recipient WHERE held = 0 AND next_attempt > ? AND attempts = 0"""
_BRING_FORWARD: Final = """
UPDATE recipient SET next_attempt = ?1 WHERE held = 0 AND next_attempt > ?2
AND NOT (attempts = 0 AND message IN (SELECT value FROM json_each(?3)))"""
_FORGET_NEWS: Final = "DELETE FROM news WHERE message = ? AND kind = ? AND number = ?"
_NEXT_WITH_NEWS: Final = "SELECT min(message) FROM news WHERE message > ?"
_NEWS: Final = "SELECT kind, facts FROM news WHERE message = ? ORDER BY kind, number LIMIT ?"
_ONLY_NEWS: Final = """
SELECT count(DISTINCT message) FROM news WHERE NOT EXISTS (SELECT 1 FROM recipient WHERE message = news.message)"""
_PENDING: Final = """
SELECT number, attempts, next_attempt, last_reply FROM recipient WHERE message = ? ORDER BY number"""


class _Facts(msgspec.Struct, frozen=True, gc=False):
    envelope: Envelope
    origin: Origin


_RawRows = Sequence[tuple[Any, ...]]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Facts).decode
_decode_news = msgspec.msgpack.Decoder(Reported).decode


class RawMessages(msgspec.Struct, frozen=True):
    """Messages as they lie in a file: the rows of each table that belong to them."""

    messages: _RawRows
    recipients: _RawRows
    news: _RawRows


class Row(msgspec.Struct, frozen=True, gc=False):
    """A message as it is bound to the statements: its own values, and those of each recipient."""

    message: tuple[int, bool, int, str, bytes, bytes]
    recipients: tuple[tuple[int, int, str, float, bool], ...]


class Effect(msgspec.Struct, frozen=True, gc=False):
    """What a settlement did: was the message still there, has it left, and which file may go with it."""

    found: bool
    removed: bool = False
    body_file: str = ""


REMOVED: Final = Effect(found=True, removed=True)


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A message as it was read."""

    message: NewMessage
    hold: bool
    crashes: int


def new_row(number: int, message: NewMessage, next_hop: Callable[[Envelope, str], str]) -> Row:
    """Return a message with the id `number` as a row, all recipients due since its arrival or release."""
    envelope, content = message.envelope, message.content
    due = max(message.origin.received_at, envelope.hold_until)
    facts = _encode(_Facts(envelope, message.origin))
    recipients = tuple(
        [
            (number, place, next_hop(envelope, recipient.address), due, message.on_hold)
            for place, recipient in enumerate(envelope.recipients)
        ]
    )
    return Row((number, message.on_hold, content.size, content.body_file, facts, content.head), recipients)


class Gone(Exception):
    """A message that was to be removed with others is not there, or has news to be told."""


class Rows:
    """The messages of one file. Ids are numbers here (see queue/identity)."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.execute = connection.execute

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do what stands inside in one transaction, durable when it ends; all of it or nothing."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self.execute("ROLLBACK")
            raise

    def select(self, statement: str, *values: Any) -> builtins.list[tuple[Any, ...]]:
        """Return the rows that a statement finds."""
        return self.execute(statement, values).fetchall()

    def insert(self, *rows: Row) -> None:
        """Add messages."""
        self._many("INSERT INTO message VALUES ", _MESSAGE, [row.message for row in rows])
        self._many("INSERT INTO recipient VALUES ", _RECIPIENT, [each for row in rows for each in row.recipients])
        if rows:
            _write()

    def settle_all(self, number: int) -> Effect:
        """Record that an attempt ended for all recipients of a message, none of them deferred."""
        self.execute("DELETE FROM recipient WHERE message = ?", (number,))
        ended = self.execute(_END_MESSAGE, (number,)).get
        _settle()
        return Effect(ended is not None, removed=ended is not None, body_file=ended or "")

    def remove(self, numbers: Sequence[int]) -> None:
        """Remove messages with all their recipients. Raises Gone if one of them can't be removed."""
        for block in _blocks(numbers):
            places = ", ".join("?" * len(block))  # nothing else is written into the statements
            self.execute(f"DELETE FROM recipient WHERE message IN ({places})", block)  # noqa: S608
            self.execute(f"DELETE FROM message WHERE id IN ({places}) {_LEAVE}", block)  # noqa: S608
            if self._connection.changes() != len(block):
                raise Gone
            _settle()

    def _many(self, statement: str, values: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows by as few statements as may be: between two of them the interpreter's lock is fought for."""
        for block in _blocks(rows):
            self.execute(statement + ", ".join([values] * len(block)), tuple(chain.from_iterable(block)))

    def settle(
        self,
        number: int,
        settled: Sequence[Settled],
        reports: Sequence[Row],
        news: Sequence[Unreported] = (),
        told: Sequence[Unreported] = (),
    ) -> Effect:
        """Record an attempt's effect on recipients, and add the reports; nothing where the message is gone."""
        deferred = False
        for recipient in settled:
            deferred |= self._settle_one(number, recipient)
        if news and self._is_there(number):
            self._keep_news(number, news)
        if told:
            self._connection.executemany(_FORGET_NEWS, [(number, *each.key) for each in told])
        ended = None if deferred or news else self.execute(_END_MESSAGE, (number,)).get
        if ended is None and not self._survives(number):
            return Effect(found=False)
        for report in reports:
            self.insert(report)
            _report()
        _settle()
        return Effect(True, removed=ended is not None, body_file=ended or "")

    def _settle_one(self, number: int, settled: Settled) -> bool:
        """Settle a recipient; return whether it is still pending."""
        if settled.state is not State.DEFERRED:
            self.execute(_END_RECIPIENT, (number, settled.number))
            return False
        warned = settled.warned | settled.overdue << 1
        self.execute(_DEFER_RECIPIENT, (settled.next_attempt, warned, settled.last_reply, number, settled.number))
        return self._connection.changes() > 0

    def _keep_news(self, number: int, news: Sequence[Unreported]) -> None:
        values = [(number, *each.key, _encode(each.reported)) for each in news]
        self._connection.executemany("INSERT OR REPLACE INTO news VALUES (?, ?, ?, ?)", values)

    def unreported(self) -> builtins.list[int]:
        """Return the messages that have news, without a look at each of their news."""
        found: builtins.list[int] = []
        while following := self.execute(_NEXT_WITH_NEWS, (found[-1] if found else 0,)).get:
            found.append(following)
        return found

    def news(self, number: int, limit: int) -> builtins.list[Unreported]:
        """Return up to `limit` news of a message, in the order of kind and place."""
        return [Unreported(ReportKind(kind), _decode_news(facts)) for kind, facts in self.select(_NEWS, number, limit)]

    def _is_there(self, number: int) -> bool:
        return self.execute("SELECT 1 FROM message WHERE id = ?", (number,)).get is not None

    def _survives(self, number: int) -> bool:
        """Whether a message is there after an attempt, which it has then outlived: crashes before do not count on."""
        crashes = self.execute("SELECT crashes FROM message WHERE id = ?", (number,)).get
        if crashes:
            self.execute("UPDATE message SET crashes = 0 WHERE id = ?", (number,))
        return crashes is not None

    def load(self, number: int) -> Stored | None:
        """Return a message, None if it is not there."""
        row = self.execute(
            "SELECT facts, head, size, body_file, hold, crashes FROM message WHERE id = ?", (number,)
        ).fetchone()
        if row is None:
            return None
        facts, head, size, body_file, hold, crashes = row
        read = _decode(facts)
        return Stored(NewMessage(read.envelope, Content(head, size, body_file), read.origin), bool(hold), crashes)

    def list(self, limit: int, after: int) -> Sequence[Listed]:
        """Return messages in the order of their ids, those after `after`."""
        rows: builtins.list[tuple[Any, ...]] = self.execute(
            "SELECT id, facts, size, hold FROM message WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        ).fetchall()
        return [self._listed(*row) for row in rows]

    def show(self, number: int) -> tuple[Listed, NewMessage] | None:
        """Return one message, and how it is listed."""
        stored = self.load(number)
        listed = self.list(1, number - 1)
        return (listed[0], stored.message) if stored else None

    def _listed(self, number: int, facts: bytes, size: int, hold: int) -> Listed:
        read = _decode(facts)
        recipients = tuple(
            PendingRecipient(
                read.envelope.recipients[place].address,
                "deferred" if attempts else "pending",
                attempts,
                next_attempt,
                last_reply,
            )
            for place, attempts, next_attempt, last_reply in self.select(_PENDING, number)
        )
        return Listed(
            from_number(number),
            read.envelope.reverse_path,
            size,
            read.origin.received_at,
            bool(hold),
            recipients,
            awaited_release(read.envelope, recipients),
            read.origin.login,
        )

    def hold(self, number: int) -> bool:
        """Keep a message for a human; False if it is not there."""
        self.execute("UPDATE recipient SET held = 1 WHERE message = ?", (number,))
        return self._changes("UPDATE message SET hold = 1 WHERE id = ?", number)

    def is_held(self, number: int) -> bool:
        """Whether a message is there and on hold."""
        return bool(self.execute("SELECT hold FROM message WHERE id = ?", (number,)).get)

    def release_hold(self, number: int, now: float) -> bool:
        """End a hold, recipients due at `now`, old crashes forgiven; False if the message is not there."""
        self.execute(_RELEASE_HOLD, (now, number, self._hold_until(number)))
        return self._changes("UPDATE message SET hold = 0, crashes = 0 WHERE id = ?", number)

    def retry(self, number: int, now: float) -> bool:
        """Make the recipients due at `now`; False if the message is not there."""
        self.execute("UPDATE recipient SET next_attempt = ? WHERE message = ?", (now, number))
        return self._is_there(number)

    def _hold_until(self, number: int) -> float:
        facts = self.execute("SELECT facts FROM message WHERE id = ?", (number,)).get
        return _decode(facts).envelope.hold_until if facts else 0.0

    def delete(self, number: int) -> str | None:
        """Remove a message; return the name of its file or "", None if it is not there."""
        for table in ("recipient", "news"):
            self.execute(f"DELETE FROM {table} WHERE message = ?", (number,))  # noqa: S608
        body_file: str | None = self.execute("DELETE FROM message WHERE id = ? RETURNING body_file", (number,)).get
        return body_file

    def count_crash(self, number: int) -> bool:
        """Note that a crash happened in an attempt at a message; return whether it went on hold for that."""
        self.execute("UPDATE message SET crashes = crashes + 1 WHERE id = ?", (number,))
        crashes: int | None = self.execute("SELECT crashes FROM message WHERE id = ?", (number,)).get
        return crashes is not None and crashes >= CRASH_LIMIT and self.hold(number)

    def bring_forward(self, beyond: float, to: float) -> int:
        """Have recipients that are due later than `beyond` due at `to`; return how many."""
        released_later = [number for (number,) in self.select(_LATE_AND_NEW, beyond) if self._hold_until(number)]
        self.execute(_BRING_FORWARD, (to, beyond, msgspec.json.encode(released_later).decode()))
        return self._connection.changes()

    def largest(self) -> int:
        """Return the largest id, 0 in an empty file."""
        return int(self.execute("SELECT coalesce(max(id), 0) FROM message").get)

    def foreign_version(self) -> int:
        """Return a number that is another one once another connection has changed the file."""
        return int(self.execute("PRAGMA data_version").get)

    def pending(self) -> int:
        """Return the number of pending recipients that are not on hold."""
        return int(self.execute("SELECT count(*) FROM recipient WHERE held = 0").get)

    def count(self) -> int:
        """Return the number of messages: of those with pending recipients, and of those with nothing but news."""
        waiting = self.execute("SELECT count(DISTINCT message) FROM recipient").get
        return int(waiting) + int(self.execute(_ONLY_NEWS).get)

    def files(self) -> builtins.list[tuple[int, str]]:
        """Return the messages that have a file, and its name."""
        return self.select("SELECT id, body_file FROM message WHERE body_file <> ''")

    def names_file(self, name: str) -> bool:
        """Whether a message has this file as its body."""
        return self.execute("SELECT 1 FROM message WHERE body_file <> '' AND body_file = ?", (name,)).get is not None

    def raw(self, limit: int) -> RawMessages:
        """Return the first `limit` messages as they lie in the tables."""
        messages = self.execute("SELECT * FROM message ORDER BY id LIMIT ?", (limit,)).fetchall()
        last = messages[-1][0] if messages else 0
        recipients = self.execute("SELECT * FROM recipient WHERE message <= ?", (last,)).fetchall()
        news = self.execute("SELECT * FROM news WHERE message <= ?", (last,)).fetchall()
        return RawMessages(messages, recipients, news)

    def insert_raw(self, raw: RawMessages) -> None:
        """Add what `raw` returned; what is there already stays as it is."""
        insert = self._connection.executemany
        insert("INSERT OR IGNORE INTO message VALUES (?, ?, ?, ?, ?, ?, ?)", raw.messages)
        insert("INSERT OR IGNORE INTO recipient VALUES (?, ?, ?, ?, ?, ?, ?, ?)", raw.recipients)
        insert("INSERT OR IGNORE INTO news VALUES (?, ?, ?, ?)", raw.news)

    def _changes(self, statement: str, number: int) -> bool:
        self.execute(statement, (number,))
        return self._connection.changes() > 0


def _blocks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a sequence into pieces of 1, 2, 4 ... LARGEST_BLOCK items, so that few different statements are needed."""
    start = 0
    while left := len(items) - start:
        size = min(LARGEST_BLOCK, 1 << left.bit_length() - 1)
        yield items[start : start + size]
        start += size
