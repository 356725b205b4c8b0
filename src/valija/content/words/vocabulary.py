"""What a language has to have words for, so that a report can be written in it.

Texts have places for values, written `{so}`; content/bounce_words fills them. A text that changes with a number is a
pair: for one, and for several.
"""

from typing import Literal, NamedTuple

import msgspec

from valija.content.reported import ReportKind
from valija.content.trouble import Actor, Trouble

Language = Literal["en", "es"]


class Advice(NamedTuple):
    """What a trouble means, and what is to be done by whoever has to act."""

    meaning: str
    deed: str


class Pair(NamedTuple):
    """A text for one, and for several."""

    one: str
    several: str

    def of(self, count: float) -> str:
        """Return the text that goes with a number."""
        return self.one if count == 1 else self.several


class Vocabulary(msgspec.Struct, frozen=True):
    """All the words of one language.

    `titles` begin subjects. `follows` tells, above a text in another language, that one in this language is below.
    `units` are names of durations; `date` has the places of a day in UTC.
    """

    language: Language
    follows: str
    titles: dict[ReportKind, str]
    recipients: Pair
    openings: dict[ReportKind, Pair]
    named_in_part: str

    same_answer: str
    refused: str
    put_off: str
    found: str
    delivered_by: str
    delivered_here: str
    handed_to: str
    handed_on: str
    unreported: str
    untimed: str
    and_others: Pair

    expired: str
    retried_until: str
    meaning: str
    actor: str
    deed: str
    actors: dict[Actor, str]
    their_postmaster: str
    advice: dict[Trouble, Advice]

    arrived: str
    held: str
    due: str
    contact: str

    units: dict[str, Pair]
    date: str
    weekdays: tuple[str, ...]
    months: tuple[str, ...]
