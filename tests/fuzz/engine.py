"""Inputs made from others, and the hunt for one that breaks a target's rules.

    for octets in inputs(target, seeds, count=500, seed=1):     # the same ones each time
        target.run(octets)

    hunt(target, seeds, seconds=3600.0, seed=7, keep=folder)    # as long as you like; what fails is kept, made small

A target takes octets and raises where a rule does not hold: by an AssertionError of its own, or any other exception of
the code under test. What it returns is what it saw, in short (reply codes, kinds of events). An input that was seen to
do something new, or that reached a line which none had reached before, becomes a seed of others.

Known weakness: what is reached is counted by lines and not by branches, and only in Python: an expression of `re` is
one line, however many ways lead through it.
"""

import hashlib
import random
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import valija
from tests.fuzz.mutation import Mutator

SLOWEST: Final = 3.0  # seconds of this process for one input; the largest takes some milliseconds
_MOST_SEEDS: Final = 2000
_SMALLER_FOR: Final = 20.0  # seconds spent on making an input that fails smaller
_SOURCES: Final = str(Path(valija.__file__).parent)


@dataclass(frozen=True)
class Target:
    """What is fuzzed: its name is that of its folder in the corpus, `words` are what mutations like to put in.

    `more_seeds` are inputs beside those of the corpus, `cost` is how many inputs of a parser one of these costs.
    """

    name: str
    run: Callable[[bytes], Hashable]
    words: tuple[bytes, ...] = ()
    largest: int = 4096
    cost: int = 1
    more_seeds: Callable[[], Sequence[bytes]] = tuple


class TooSlow(AssertionError):
    """An input took longer than any may."""


def inputs(target: Target, seeds: Sequence[bytes], *, count: int, seed: int) -> Iterator[bytes]:
    """Yield so many inputs made from the seeds, the same for the same `seed`."""
    mutator = Mutator(random.Random(seed), target.words, target.largest)
    for _ in range(count):
        yield mutator.mutated(seeds)


def tried(target: Target, octets: bytes) -> Hashable:
    """Run one input. Raises what the target raises, and TooSlow."""
    began = time.process_time()
    seen = target.run(octets)
    if time.process_time() - began > SLOWEST:
        raise TooSlow(f"{len(octets)} octets took {time.process_time() - began:.1f} s")
    return seen


def hunt(
    target: Target, seeds: Sequence[bytes], *, seconds: float, seed: int, keep: Path, most: int = 20
) -> tuple[int, list[Path]]:
    """Make and run inputs until the time is over, or `most` faults were found.

    Return how many inputs there were, and the files in `keep` of those that failed, one for each place in the code.
    """
    ends = time.monotonic() + seconds
    pool, seen, reached = list(seeds), set[Hashable](), Reached()
    mutator, failed, count = Mutator(random.Random(seed), target.words, target.largest), dict[str, Path](), 0
    while time.monotonic() < ends and len(failed) < most:
        octets = mutator.mutated(pool) if count >= len(seeds) else pool[count]
        count += 1
        try:
            with reached:
                outcome = tried(target, octets)
        except Exception as fault:
            place = place_of(fault)
            if place not in failed:
                failed[place] = _kept(keep, smaller(target, octets, place))
            continue
        if (reached.is_new or outcome not in seen) and len(pool) < _MOST_SEEDS:
            pool.append(octets)
            seen.add(outcome)
    return count, list(failed.values())


def smaller(target: Target, octets: bytes, place: str) -> bytes:
    """Return the smallest input found that fails at the same place: pieces are left out while it still does."""
    ends = time.monotonic() + _SMALLER_FOR
    size = max(len(octets) // 2, 1)
    while size and time.monotonic() < ends:
        start = 0
        while start < len(octets) and time.monotonic() < ends:
            shorter = octets[:start] + octets[start + size :]
            if _fails_at(target, shorter) == place:
                octets = shorter
            else:
                start += size
        size //= 2
    return octets


def _fails_at(target: Target, octets: bytes) -> str:
    try:
        tried(target, octets)
    except Exception as fault:
        return place_of(fault)
    return ""


def place_of(fault: Exception) -> str:
    """Return where an exception came from: two inputs that fail at one place are one finding."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(fault).__name__} {at}"


def _kept(folder: Path, octets: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"found_{hashlib.sha256(octets).hexdigest()[:10]}"
    path.write_bytes(octets)
    return path


class Reached:
    """Which lines of the sources were ever reached. `is_new`: the last run reached one that none had.

    A function of which all lines were reached is not watched any more, so that the watching costs less and less.
    """

    def __init__(self) -> None:
        self.is_new = False
        self._left: dict[CodeType, set[int]] = {}
        self._before: Any = None

    def __enter__(self) -> None:
        self.is_new = False
        self._before = sys.gettrace()
        sys.settrace(self._called)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, _event: str, _argument: object) -> Any:
        code = frame.f_code
        left = self._left.get(code)
        if left is None:
            ours = code.co_filename.startswith(_SOURCES)
            left = self._left[code] = {line for *_, line in code.co_lines() if line} if ours else set()
            left.discard(code.co_firstlineno)
        return self._stepped if left else None

    def _stepped(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            left = self._left[frame.f_code]
            if frame.f_lineno in left:
                left.discard(frame.f_lineno)
                self.is_new = True
        return self._stepped
