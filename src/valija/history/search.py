"""Finds lines in the history, while it is written to and when it is not.

    archive = Archive(folder)
    archive.begins                                     # epoch seconds of the oldest line, None where there is none
    archive.find(["bmmm9v73d3tbp"], since=moment)      # events, oldest first
    for events in archive.newest_first(["bob@example.net"]): ...

What is asked for is text that the line has, in any case of ASCII letters: an address, an id or an IP address whole,
anything else (`host not usable`) as it stands. Whoever asks looks at the event to see where it is. Files whose index
knows none of the words are not unpacked.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from valija.history.lines import Event, parse
from valija.history.segments import (
    HEADER_SIZE,
    Damaged,
    Header,
    Segment,
    lines_in,
    segments_in,
    span,
    whole_lines,
)
from valija.history.words import fold, may_have, unpack

_FOREVER: Final = float("inf")
_UNPACKED: Final = 6  # files whose lines are kept at hand
_SLACK: Final = 1.0  # seconds that lines may be out of order by


class Archive:
    """What there is to be found in a folder now. `problems` names the files that can't be read."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[str] = []
        self._unpacked: OrderedDict[Path, _Text] = OrderedDict()
        self._parts: list[_Part] = []
        self._open(folder)

    @property
    def begins(self) -> float | None:
        """When the oldest line was written, None where there is none."""
        return min((part.begins for part in self._parts), default=None)

    def find(
        self, words: Collection[str], since: float = 0.0, until: float = _FOREVER, source: str = ""
    ) -> list[Event]:
        """Return the lines that have one of the words, oldest first. With `source`, of that process alone."""
        found: list[Event] = []
        for part in self._parts:
            if part.ends >= since and part.begins <= until and source in ("", part.source):
                found += self._found_in(part, words, since, until)
        return sorted(found, key=lambda event: event.time)

    def newest_first(
        self, words: Collection[str], since: float = 0.0, most: int = 10_000
    ) -> Iterator[tuple[list[Event], float]]:
        """Yield lines file by file, at most so many of each, the last files first.

        With each: up to when there may be more, so that who has seen enough later ones may stop.
        """
        parts = sorted((part for part in self._parts if part.ends >= since), key=lambda part: part.ends, reverse=True)
        for place, part in enumerate(parts):
            left_until = parts[place + 1].ends if place + 1 < len(parts) else 0.0
            yield self._found_in(part, words, since, _FOREVER, most), left_until

    def _found_in(
        self, part: "_Part", words: Collection[str], since: float, until: float, most: int = 0
    ) -> list[Event]:
        try:
            if not part.may_have(words):
                return []
            text = self._text(part)
        except (OSError, Damaged) as error:
            self._complain(part.segment, error)
            return []
        lines = text.lines_with([fold(word) for word in words], most)
        events = (parse(line, part.source) for line in lines)
        return [event for event in events if event is not None and since <= event.time <= until]

    def _text(self, part: "_Part") -> "_Text":
        path = part.segment.path
        if path not in self._unpacked:
            while len(self._unpacked) >= _UNPACKED:
                self._unpacked.popitem(last=False)
            self._unpacked[path] = _Text(part.lines())
        self._unpacked.move_to_end(path)
        return self._unpacked[path]

    def _open(self, folder: Path) -> None:
        """Read what is written to now first: what is left for a new file meanwhile is then met twice, not never."""
        seen: set[int] = set()
        for is_open in (True, False):
            for segment in segments_in(folder):
                if (segment.kind == "open") is is_open:
                    try:
                        self._add(segment, seen)
                    except FileNotFoundError:
                        continue  # it is sealed or gone by now
                    except (OSError, Damaged) as error:
                        self._complain(segment, error)

    def _add(self, segment: Segment, seen: set[int]) -> None:
        if segment.kind == "sealed":
            self._parts.append(_Sealed(segment))
            return
        inode = segment.path.stat().st_ino
        if inode not in seen:
            seen.add(inode)
            lines = whole_lines(segment.path.read_bytes())
            if lines:
                self._parts.append(_Plain(segment, lines))

    def _complain(self, segment: Segment, error: Exception) -> None:
        problem = f"{segment.path}: {error.strerror if isinstance(error, OSError) else error}"
        if problem not in self.problems:
            self.problems.append(problem)


class _Part:
    """One file. `begins` and `ends` may be off by the little that lines are out of order."""

    def __init__(self, segment: Segment, begins: float, ends: float) -> None:
        self.segment = segment
        self.source = segment.source
        self.begins = begins - _SLACK
        self.ends = ends + _SLACK

    def may_have(self, words: Collection[str]) -> bool:
        """Whether it may have one of the words."""
        raise NotImplementedError

    def lines(self) -> bytes:
        """Return its lines."""
        raise NotImplementedError


class _Plain(_Part):
    """A file that is not sealed, in memory."""

    def __init__(self, segment: Segment, lines: bytes) -> None:
        super().__init__(segment, *span(lines))
        self._lines = lines

    def may_have(self, words: Collection[str]) -> bool:
        return True

    def lines(self) -> bytes:
        return self._lines


class _Sealed(_Part):
    """A sealed file, of which only the header was read. Raises Damaged, OSError."""

    def __init__(self, segment: Segment) -> None:
        with segment.path.open("rb") as file:
            header = Header.read(file.read(HEADER_SIZE))
        super().__init__(segment, header.begins, header.ends)
        self._header = header

    def may_have(self, words: Collection[str]) -> bool:
        with self.segment.path.open("rb") as file:
            file.seek(HEADER_SIZE)
            stored = file.read(4 * self._header.words)
        if len(stored) != 4 * self._header.words:
            raise Damaged("it is cut short")
        return may_have(unpack(stored), words)

    def lines(self) -> bytes:
        return lines_in(self.segment.path.read_bytes())


class _Text:
    """Lines at hand, and the same in lower case."""

    def __init__(self, lines: bytes) -> None:
        self._lines = lines
        self._folded = lines.lower()

    def lines_with(self, needles: Sequence[bytes], most: int) -> list[bytes]:
        """Return the lines that have one of the needles, with `most` the last so many of each."""
        begins: set[int] = set()
        for needle in needles:
            begins.update(self._backwards(needle, most))
        return [self._lines[begin : self._lines.find(b"\n", begin)] for begin in sorted(begins)]

    def _backwards(self, needle: bytes, most: int) -> Iterator[int]:
        """Yield where the lines with a needle begin, the last first."""
        place, count = len(self._folded), 0
        while (place := self._folded.rfind(needle, 0, place)) >= 0:
            place = self._folded.rfind(b"\n", 0, place) + 1
            yield place
            count += 1
            if count == most:
                return
