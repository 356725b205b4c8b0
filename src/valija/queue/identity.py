"""Queue ids: how they are made, and how the number in the file becomes the text in the 250, the logs and the CLI.

    ids = IdSource(worker=0, clock=time.time)
    queue_id = ids.next()             # "bmmm9v73d3tbp"
    to_number(queue_id)               # 3765841286987022336, the key in the file
    from_number(3765841286987022336)  # "bmmm9v73d3tbp"

An id is 63 bits: milliseconds since the epoch (42), worker (8), counter (13). So it is unique over the workers of a
server, and ids of one source strictly increase, whatever the clock does: a new source is told the largest id in its
file. The text has 13 characters and sorts as the number does. Its alphabet has no vowels, so that no id is a word, and
none of the letters that look like a digit.

Known weakness: where the clock is set back, the server restarted and the file empty, nothing remembers old ids.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from valija.mail.job import QueueId

MAX_WORKER: Final = 255

_ALPHABET: Final = "0123456789bcdfghjkmnpqrstvwxz"
_LENGTH: Final = 13
_TRIPLES: Final = [a + b + c for a in _ALPHABET for b in _ALPHABET for c in _ALPHABET]
_TRIPLE_COUNT: Final = len(_TRIPLES)
_DIGITS: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrs")  # as int() spells numbers of this base
_BASE: Final = len(_ALPHABET)

_WORKER_BITS: Final = 8
_COUNTER_BITS: Final = 13
_TIME_SHIFT: Final = _WORKER_BITS + _COUNTER_BITS
_END: Final = 1 << 63


def from_number(number: int) -> QueueId:
    """Return the text of an id."""
    rest, last = divmod(number, _TRIPLE_COUNT)
    rest, third = divmod(rest, _TRIPLE_COUNT)
    rest, second = divmod(rest, _TRIPLE_COUNT)
    rest, first = divmod(rest, _TRIPLE_COUNT)
    return QueueId(f"{_ALPHABET[rest]}{_TRIPLES[first]}{_TRIPLES[second]}{_TRIPLES[third]}{_TRIPLES[last]}")


def before(moment: float) -> QueueId:
    """Return an id smaller than all that are made from a moment on (epoch seconds), larger than most before."""
    return from_number(max(0, (int(moment * 1000) << _TIME_SHIFT) - 1))


def made_at(queue_id: QueueId) -> float:
    """Return when an id was made, in epoch seconds; little earlier where many were made at once."""
    return (to_number(queue_id) >> _TIME_SHIFT) / 1000


@lru_cache(maxsize=4096)  # asked for several times in a message's life
def to_number(queue_id: QueueId) -> int:
    """Return the number of an id that this server made; what a human typed goes through `parse` first."""
    return int(queue_id.translate(_DIGITS), _BASE)


def parse(text: str) -> QueueId:
    """Return a queue id that a human typed, in either case. Raises ValueError with words for that human."""
    queue_id = text.strip().lower()
    if len(queue_id) != _LENGTH or not set(queue_id) <= set(_ALPHABET) or to_number(QueueId(queue_id)) >= _END:
        raise ValueError(f"{text!r} is no queue id: those have {_LENGTH} characters, like bmmm9v73d3tbp")
    return QueueId(queue_id)


class IdSource:
    """Makes the ids of one worker. `last` is the largest id in its file; ids made are larger."""

    def __init__(self, worker: int, clock: Callable[[], float], last: int = 0) -> None:
        if not 0 <= worker <= MAX_WORKER:
            raise ValueError(f"a worker has a number from 0 to {MAX_WORKER}, not {worker}")
        self._worker = worker << _COUNTER_BITS
        self._clock = clock
        self._last = last

    def next(self) -> QueueId:
        """Return a new id, larger than all before."""
        number = int(self._clock() * 1000) << _TIME_SHIFT | self._worker
        if number <= self._last:
            number = self._successor()
        self._last = number
        return from_number(number)

    def _successor(self) -> int:
        """Return the next id of this worker in the millisecond of the last one, or, where that is used up, the next."""
        following = self._last + 1
        if following & ~((1 << _COUNTER_BITS) - 1) == self._last >> _TIME_SHIFT << _TIME_SHIFT | self._worker:
            return following
        return (self._last >> _TIME_SHIFT) + 1 << _TIME_SHIFT | self._worker
