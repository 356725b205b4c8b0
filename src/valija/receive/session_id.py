"""Ids of sessions: in each line of the log about one, and in what its client is told when it is refused.

    >>> new_session_id()
    '4kz02vwm9'

Nine characters of the alphabet of queue ids, which have thirteen: so many of them that two sessions of a year hardly
share one. They say nothing, and need not be hard to guess.
"""

from random import getrandbits
from typing import Final

_ALPHABET: Final = "0123456789bcdfghjkmnpqrstvwxz"
_TRIPLES: Final = [a + b + c for a in _ALPHABET for b in _ALPHABET for c in _ALPHABET]
_COUNT: Final = len(_TRIPLES)

LENGTH: Final = 9


def new_session_id() -> str:
    """Return an id for a session that begins."""
    number = getrandbits(62)
    number, first = divmod(number, _COUNT)
    number, second = divmod(number, _COUNT)
    return _TRIPLES[first] + _TRIPLES[second] + _TRIPLES[number % _COUNT]


def is_session_id(text: str) -> bool:
    """Whether a text may be the id of a session."""
    return len(text) == LENGTH and set(text) <= set(_ALPHABET)
