"""A story: what happened when, where it stands now, the likely cause, and what to do. And how it is printed.

    lines_of(story)
    # message bmmn4132bzj2q from <alice@example.org> to bob@example.net (times are UTC)
    #
    # 2026-11-25 04:38:48  accepted  1027 octets, by the rule: login alice@example.org
    # ...
    #
    # now      delivered to bob@example.net
    # cause    ...
    # remedy   ...

All times are UTC. What a peer said came through the log, which escapes what could do harm on a terminal.
"""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

_WIDTH: Final = 110
_LABEL: Final = 8  # columns of the labels at the end
_KIND: Final = 8  # and of what a line is about
_TIME: Final = 19


class Entry(msgspec.Struct, frozen=True):
    """One thing that happened: when (epoch seconds), what it is about in a word, and what, the first line first."""

    time: float
    about: str
    said: tuple[str, ...]


class Story(msgspec.Struct, frozen=True):
    """What is told of one message or session. `state` is a word for programs; `subject` its id.

    `title` says what it is, `now` where it stands. `cause` and `remedy` are empty where all is well.
    """

    subject: str
    kind: str
    title: str
    entries: tuple[Entry, ...]
    state: str
    now: tuple[str, ...]
    cause: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()

    @property
    def begins(self) -> float:
        """When it began."""
        return self.entries[0].time if self.entries else 0.0


def moment(time: float) -> str:
    """Return a time as stories tell it."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}"


def lines_of(story: Story) -> Iterator[str]:
    """Yield a story line by line."""
    yield f"{story.title} (times are UTC)"
    yield ""
    for entry in story.entries:
        yield from _entry(entry)
    yield ""
    for label, texts in (("now", story.now), ("cause", story.cause), ("remedy", story.remedy)):
        for text in texts:
            yield from _wrapped(f"{label:{_LABEL}} ", text)


def _entry(entry: Entry) -> Iterator[str]:
    head = f"{moment(entry.time)}  {entry.about:{_KIND}}  "
    first, *more = entry.said
    yield from _wrapped(head, first)
    for text in more:
        yield from _wrapped(" " * len(head), text)


def _wrapped(head: str, text: str) -> list[str]:
    room = max(40, _WIDTH - len(head))
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{head}{lines[0]}", *(f"{' ' * len(head)}{line}" for line in lines[1:])]


def as_json(story: Story) -> dict[str, Any]:
    """Return a story for programs."""
    return {
        "subject": story.subject,
        "kind": story.kind,
        "title": story.title,
        "state": story.state,
        "timeline": [
            {"time": _rfc3339(entry.time), "about": entry.about, "said": list(entry.said)} for entry in story.entries
        ],
        "now": list(story.now),
        "cause": list(story.cause),
        "remedy": list(story.remedy),
    }


def _rfc3339(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def brief(story: Story) -> Iterator[str]:
    """Yield a story in few lines, for lists of them: its beginning, what it is, where it stands, and the cause."""
    yield from _wrapped(f"{moment(story.begins)}  ", story.title)
    for text in (*story.now, *story.cause):
        yield from _wrapped(" " * (_TIME + 4), text)


def joined(parts: Sequence[str]) -> str:
    """Return what there is of some texts, with commas."""
    return ", ".join(part for part in parts if part)
