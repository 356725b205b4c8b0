"""What rspamd wants changed in a header. Pure.

    changed_header(header, opinion)      # the header as it is to be; the very same where nothing changes

Removals come first, by the places that fields had before any of them, then additions, then the subject. Each addition
is one field, whatever it holds, and stands where its order says. What would make the header too large is left out.
"""

from collections.abc import Sequence
from typing import Final

from valija.content.foreign_field import foreign_field
from valija.content.header import fields
from valija.rspamd.reply import Addition, Opinion

MOST_ADDED: Final = 64 * 1024  # octets


def changed_header(header: bytes, opinion: Opinion) -> bytes:
    """Return the header less what is to go, and with what is to come."""
    if not (opinion.additions or opinion.removals or opinion.subject is not None):
        return header
    lines = [each.raw for each in fields(header)]
    gone = {number for name, place in opinion.removals for number in _places(lines, name, place)}
    lines = [raw for number, raw in enumerate(lines) if number not in gone]
    _add(lines, opinion.additions)
    if opinion.subject is not None:
        _rewrite_subject(lines, opinion.subject)
    return b"".join(lines)


def _places(lines: Sequence[bytes], name: str, place: int) -> Sequence[int]:
    start = name.lower().encode() + b":"
    found = [number for number, raw in enumerate(lines) if raw[: len(start)].lower() == start]
    if not place:
        return found
    number = place - 1 if place > 0 else len(found) + place
    return found[number : number + 1] if number >= 0 else []


def _add(lines: list[bytes], additions: Sequence[Addition]) -> None:
    room = MOST_ADDED
    for addition in additions:
        raw = foreign_field(addition.name, addition.value)
        if raw is None or (room := room - len(raw)) < 0:
            continue
        lines.insert(_index(addition.order, len(lines)), raw)


def _index(order: int, count: int) -> int:
    if order < 0:
        return max(count + order + 1, 0)
    return min(max(order - 1, 0), count)


def _rewrite_subject(lines: list[bytes], subject: str) -> None:
    raw = foreign_field("Subject", subject)
    assert raw is not None
    for number, line in enumerate(lines):
        if line[:8].lower() == b"subject:":
            lines[number] = raw
            return
    lines.insert(0, raw)
