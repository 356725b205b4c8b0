"""What rspamd says of a message: the JSON of /checkv2, read with care. Pure.

    opinion = read_opinion(b'{"action": "add header", "score": 7.1, "required_score": 15, "symbols": {...}, ...}')
    opinion.action           # "add header"
    opinion.additions        # (Addition("X-Spam", "Yes", 0),)

Only the action has to be there; of the rest, what does not look as it should is left out. Parts of the answer quote the
message, so everything is bounded here, and nothing is taken to be one line: see rspamd/changes.
"""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final

import msgspec

from valija.content.compose import printable, readable
from valija.smtp.grammar import SyntaxFault, path

MOST_CHANGES: Final = 100  # fields added, and as many removed
_SHOWN_SYMBOLS: Final = 10
_LONGEST_SYMBOL: Final = 48  # characters
_LONGEST_MESSAGE: Final = 200
_SPAM_FIELD: Final = "X-Spam"


class NoOpinion(ValueError):
    """An answer that is none; the text says why."""


class Addition(msgspec.Struct, frozen=True):
    """A field to be added, as rspamd wrote it.

    `order` is its place: 0 and 1 are the top, 2 is below the first field, -1 is the end.
    """

    name: str
    value: str
    order: int = -1


class Opinion(msgspec.Struct, frozen=True):
    """What rspamd says. `action` is its word for it, what `milter` makes of that included.

    `symbols` are the rules that weighed most, printable. `message` is for the client, ASCII on one line, `""` for none.
    `removals` are names of fields, each with a place among those of its name: 1 the first, -1 the last, 0 all.
    `subject` is the one to be written instead, and `reverse_path` the one to send from; None where they stay.
    """

    action: str
    score: float = 0.0
    required: float = 0.0
    symbols: tuple[str, ...] = ()
    message: str = ""
    additions: tuple[Addition, ...] = ()
    removals: tuple[tuple[str, int], ...] = ()
    subject: str | None = None
    reverse_path: str | None = None


class _Answer(msgspec.Struct):
    action: str
    score: Any = 0.0
    required_score: Any = 0.0
    subject: Any = None
    symbols: Any = None
    messages: Any = None
    milter: Any = None
    signatures: Any = msgspec.field(default=None, name="dkim-signature")


def read_opinion(answer: bytes) -> Opinion:
    """Return the opinion in an answer. Raises NoOpinion."""
    # Octets of the message that are no UTF-8 come back in it as they are.
    text = answer.decode("utf-8", "replace")
    try:
        said = msgspec.json.decode(text, type=_Answer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise NoOpinion(f"its answer is not understood: {error}") from None
    milter = _mapping(said.milter)
    action = _action(said.action, milter)
    return Opinion(
        action=action,
        score=_number(said.score),
        required=_number(said.required_score),
        symbols=tuple(_symbols(_mapping(said.symbols))),
        message=printable(_text(_mapping(said.messages).get("smtp_message")), _LONGEST_MESSAGE),
        additions=tuple(_additions(said, milter, action))[:MOST_CHANGES],
        removals=tuple(_removals(milter, action))[:MOST_CHANGES],
        subject=_text(said.subject) if action == "rewrite subject" and said.subject else None,
        reverse_path=_reverse_path(milter.get("change_from")),
    )


def _action(action: str, milter: Mapping[str, Any]) -> str:
    """Return what is to be done: filters may soften it, as they do where rspamd is asked as a milter."""
    if milter.get("no_action") is True:
        return "no action"
    instead = milter.get("reject")
    return instead if action == "reject" and instead in ("discard", "quarantine") else readable(action, _LONGEST_SYMBOL)


def _symbols(symbols: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rules that weighed most, with their score where they have one."""
    scores = {name: _number(_mapping(symbol).get("score")) for name, symbol in symbols.items()}
    for name in sorted(scores, key=lambda each: -abs(scores[each]))[:_SHOWN_SYMBOLS]:
        shown = readable(name, _LONGEST_SYMBOL)
        yield f"{shown}({scores[name]:.2f})" if scores[name] else shown


def _additions(said: _Answer, milter: Mapping[str, Any], action: str) -> Iterator[Addition]:
    for name, value in _mapping(milter.get("add_headers")).items():
        yield from _fields(name, value)
    for signature in _listed(said.signatures):
        yield from _fields("DKIM-Signature", signature, 0)
    if action == "add header":
        yield from (Addition(name, value, 0) for name, value in _spam_fields(milter).items())


def _fields(name: str, written: Any, order: int = -1) -> Iterator[Addition]:
    for each in _listed(written):
        if isinstance(each, str):
            yield Addition(name, each, order)
        elif isinstance(value := _mapping(each).get("value"), str):
            place = each.get("order", each.get("index", order))
            yield Addition(name, value, place if _is_whole(place) else order)


def _removals(milter: Mapping[str, Any], action: str) -> Iterator[tuple[str, int]]:
    for name, places in _mapping(milter.get("remove_headers")).items():
        yield from ((name, place) for place in _listed(places) if _is_whole(place))
    if action == "add header":
        yield from ((name, 0) for name in _spam_fields(milter))


def _spam_fields(milter: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that mark unwanted mail, which readers sort by."""
    wanted = milter.get("spam_header")
    if isinstance(wanted, str):
        return {_SPAM_FIELD: wanted}
    named = {name: value for name, value in _mapping(wanted).items() if isinstance(value, str)}
    return named or {_SPAM_FIELD: "Yes"}


def _reverse_path(written: Any) -> str | None:
    """Return a reverse-path to be used instead, None where none is asked for, or what is asked for is none."""
    text = _text(written)
    if not text:
        return None
    try:
        address, rest = path(text if text.startswith("<") else f"<{text}>")
    except SyntaxFault:
        return None
    return None if rest else address


# What JSON holds, whatever it is


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, (int, float)) and isfinite(value) else 0.0
    except OverflowError:
        return 0.0
