"""valija why: what became of a message, a session, a client, an address or a login, and why."""

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from valija.cli.frame import Call, Refusal, command, rfc3339

if TYPE_CHECKING:
    from valija.config import Config
    from valija.why.inquiry import Answer

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "why")
    @click.argument("what", metavar="QUEUE-ID|SESSION|IP|ADDRESS|LOGIN")
    @click.option("--since", metavar="DURATION", default="", help="Only what is not older, such as 2d.")
    def why(call: Call, what: str, since: str) -> None:
        """Tell what became of a message, a session, a client, an address or a login, and why."""
        oldest = time.time() - _duration(since) if since else 0.0
        config = call.enter()
        from valija.why.inquiry import Inquiry
        from valija.why.subject import subject_of

        with Inquiry(config, oldest) as inquiry:
            answer = inquiry.answer(subject_of(what))
            for note in inquiry.notes:
                call.note(note)
        if answer.stories or call.as_json:
            call.answer(_as_json(answer), _lines(answer))
        if not answer.stories:
            raise Refusal(_nothing(answer, config, oldest))


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no duration: write a number with s, m, h or d, such as 2d")
    return float(match[1]) * _SECONDS[match[2]]


def _nothing(answer: "Answer", config: "Config", oldest: float) -> str:
    about = f"nothing is known of the {answer.subject.kind} {answer.subject.value}"
    if not config.history.is_on:
        return f"{about}: no history is kept ([history] keep, size_limit)"
    if answer.begins is None:
        return f"{about}: there is no history yet in {config.history_dir}"
    return f"{about} since {rfc3339(max(answer.begins, oldest))}, when the history that was looked at begins"


def _as_json(answer: "Answer") -> dict[str, Any]:
    from valija.why.story import as_json

    return {
        "kind": answer.subject.kind,
        "value": answer.subject.value,
        "history_begins": None if answer.begins is None else rfc3339(answer.begins),
        "stories": [as_json(story) for story in answer.stories],
    }


def _lines(answer: "Answer") -> Iterator[str]:
    from valija.why.story import brief, lines_of

    alone = [story for story in answer.stories if story.kind == "message"] if len(answer.stories) > 1 else []
    for story in answer.stories:
        if story not in alone:
            yield from lines_of(story)
    if alone:
        if len(alone) < len(answer.stories):
            yield ""
        yield f"the latest messages of {answer.subject.value} (times are UTC; valija why QUEUE-ID tells all of one)"
        yield ""
        for story in alone:
            yield from brief(story)
