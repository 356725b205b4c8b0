"""The changes that a filter wishes for with its last word: gathered, bounded, and made only once that word is there.

    wishes = Wishes(message, terms)
    wishes.add(AddField(b"X-Spam", b"yes"))
    wishes.outcome(Continue())                # Outcome(answer=Continue(), header=b"...X-Spam: yes\\r\\n")

Both methods raise Nonsense: for what the filter never said that it would do, for too much of it, and for what makes no
message.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from valija.mail.envelope import Recipient
from valija.milter.answers import (
    AddField,
    AddRecipient,
    Answer,
    Change,
    ChangeField,
    ChangeFrom,
    DeleteRecipient,
    Discard,
    InsertField,
    Quarantine,
    Refuse,
    ReplaceBody,
)
from valija.milter.edits import Lines, header_after, recipients_after, reverse_path_after
from valija.milter.packets import Nonsense
from valija.milter.terms import Action, Terms

MOST_CHANGES: Final = 5000
MOST_OCTETS: Final = 1024 * 1024  # of all changes but the body

_OF_HEADER: Final = AddField | InsertField | ChangeField
_OF_RECIPIENTS: Final = AddRecipient | DeleteRecipient

_ASKED_FOR: Final[dict[type, Action]] = {
    AddField: Action.ADD_HEADER,
    InsertField: Action.ADD_HEADER,
    ChangeField: Action.CHANGE_HEADER,
    AddRecipient: Action.ADD_RECIPIENT | Action.ADD_RECIPIENT_WITH_PARAMETERS,
    DeleteRecipient: Action.DELETE_RECIPIENT,
    ChangeFrom: Action.CHANGE_FROM,
    ReplaceBody: Action.CHANGE_BODY,
    Quarantine: Action.QUARANTINE,
}


class BodyWriter(Protocol):
    """Takes a body's octets in order."""

    def add(self, data: bytes) -> None:
        """Take the next octets."""


class Message(msgspec.Struct, frozen=True):
    """A message as the filter is shown it. `largest_body` in octets, 0 for no limit; `new_body` begins another body."""

    header: bytes
    body: Callable[[], Iterator[bytes]]
    reverse_path: str
    recipients: Sequence[Recipient]
    new_body: Callable[[], BodyWriter]
    largest_body: int = 0
    smtputf8: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What became of a message: the last word, and what is to be instead of what was, None where nothing changed.

    `has_other_body`: what was written to `new_body` takes the body's place. `hold` is why it is kept for a human.
    """

    answer: Answer
    header: bytes | None = None
    reverse_path: str | None = None
    recipients: tuple[Recipient, ...] | None = None
    has_other_body: bool = False
    hold: str = ""


class Wishes:
    """What a filter wishes for one message."""

    def __init__(self, message: Message, terms: Terms) -> None:
        self._message = message
        self._terms = terms
        self._changes: list[Change] = []
        self._octets = 0
        self._hold = ""
        self._lines = Lines()
        self._body: BodyWriter | None = None
        self._body_size = 0

    def add(self, change: Change) -> None:
        """Take a change."""
        if not self._terms.allows(_ASKED_FOR[type(change)]):
            raise Nonsense(f"a change that it never said it would make: {type(change).__name__}")
        if isinstance(change, ReplaceBody):
            self._write(self._lines.update(change.data))
            return
        self._octets += _size(change)
        if len(self._changes) >= MOST_CHANGES or self._octets > MOST_OCTETS:
            raise Nonsense(f"more than {MOST_CHANGES} changes, or {MOST_OCTETS} octets of them")
        self._changes.append(change)
        if isinstance(change, Quarantine):
            self._hold = change.reason or "by its filter"

    def outcome(self, answer: Answer) -> Outcome:
        """Return what all of it comes to, with the last word; what is not taken has no changes."""
        if isinstance(answer, Refuse | Discard):
            return Outcome(answer)
        if self._body is not None:
            self._write(self._lines.finish())
        message, changes = self._message, self._changes
        header = recipients = reverse_path = None
        if any(isinstance(change, _OF_HEADER) for change in changes):
            header = header_after(message.header, changes, leading_blanks=self._terms.has_leading_blanks)
        if any(isinstance(change, _OF_RECIPIENTS) for change in changes):
            recipients = recipients_after(message.recipients, changes, smtputf8=message.smtputf8)
        if any(isinstance(change, ChangeFrom) for change in changes):
            reverse_path = reverse_path_after(message.reverse_path, changes, smtputf8=message.smtputf8)
        return Outcome(answer, header, reverse_path, recipients, self._body is not None, self._hold)

    def _write(self, data: bytes) -> None:
        if self._body is None:
            self._body = self._message.new_body()
        self._body_size += len(data)
        if 0 < self._message.largest_body < self._body_size:
            raise Nonsense(f"a body of more than {self._message.largest_body} octets, the limit for messages")
        self._body.add(data)


def _size(change: Change) -> int:
    return sum(len(part) for part in msgspec.structs.astuple(change) if isinstance(part, bytes | str))
