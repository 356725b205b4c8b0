"""The story of a session; and the sum of what the history has of a client, a login or an address. Pure.

    tell_session("4kz02vwm9", events).cause
    tell_party(Subject("client", "192.0.2.1"), events, remarks=["it is in mynetworks"], now=now).now

`events` are the lines that name it, oldest first.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from valija.history.lines import Event
from valija.why.refusals import Judgement, judge
from valija.why.story import Story, joined, moment
from valija.why.subject import Subject, same
from valija.why.telling import addresses, client_words, entry_of

_LATEST: Final = 20  # things told one by one
_MOST_NAMED: Final = 5
_MOST_CAUSES: Final = 3
_HOUR: Final = 3600.0


def tell_session(session: str, events: Sequence[Event]) -> Story:
    """Return the story of a session, whose refusals are its point."""
    judgements = [judgement for event in events if (judgement := judge(event))]
    accepted = sum(event.event == "accepted" for event in events)
    end = next((event for event in events if event.event == "session"), None)
    entries = sorted((entry_of(event) for event in events), key=lambda entry: entry.time)
    state = "refused" if judgements else "accepted" if accepted else "idle"
    causes, remedies = _most_frequent(judgements)
    return Story(
        session,
        "session",
        f"session {session} {client_words(end or events[0])}",
        tuple(entries),
        state,
        (f"{_count(accepted, 'message')} accepted, {_count(len(judgements), 'refusal')}", *_still_open(end)),
        causes,
        remedies,
    )


def _still_open(end: Event | None) -> tuple[str, ...]:
    return () if end is not None else ("the history has no end of it: it goes on, or the server died in it",)


def tell_party(subject: Subject, events: Sequence[Event], remarks: Sequence[str] = (), *, now: float) -> Story:
    """Return the sum of what is known of a client, a login or an address, and the latest of it one by one."""
    judgements = [judgement for event in events if (judgement := judge(event))]
    latest = [event for event in events if _is_worth_telling(event)][-_LATEST:]
    causes, remedies = _most_frequent(judgements)
    return Story(
        subject.value,
        subject.kind,
        f"{subject.kind} {subject.value}",
        tuple(sorted((entry_of(event) for event in latest), key=lambda entry: entry.time)),
        "refused" if judgements else "accepted",
        (*remarks, *_throttled(events, now), *_sums(events)),
        causes,
        remedies,
    )


def concerns(event: Event, subject: Subject) -> bool:
    """Whether a line is about what is asked about, as a whole word."""
    value, fields = subject.value, event.fields
    if subject.kind == "client":
        return value in (fields.get("client"), fields.get("remote_address"))
    if subject.kind == "session":
        return fields.get("session") == value
    if subject.kind == "message":
        return value in (fields.get("queue_id"), fields.get("about"))
    named = [fields.get("login", ""), fields.get("recipient", ""), *addresses(fields.get("to", ""))]
    named.append(fields.get("reverse_path", "").removeprefix("<").removesuffix(">"))
    return any(same(name, value) for name in named)


def _is_worth_telling(event: Event) -> bool:
    """Whether a line is told by itself: of sessions only those in which nothing else happened."""
    if event.event == "session":
        return event.get("messages") in ("", "0")
    return event.event not in ("deferred", "removed")


def _sums(events: Sequence[Event]) -> Iterator[str]:
    """Yield what happened how often, and when last."""
    kinds: dict[str, list[Event]] = {}
    for event in events:
        kinds.setdefault(_kind(event), []).append(event)
    for kind, of_it in kinds.items():
        if kind:
            span = f"at {moment(of_it[-1].time)}"
            if len(of_it) > 1:
                span = f"from {moment(of_it[0].time)} to {moment(of_it[-1].time)}"
            yield f"{len(of_it)} x {kind}, {span}{_names(of_it)}"


def _throttled(events: Sequence[Event], now: float) -> Iterator[str]:
    """Tell of logins that may be refused unseen even now: wrong ones count for an hour."""
    last = max((event.time for event in events if event.event == "login throttled"), default=0.0)
    if last > now - _HOUR:
        yield f"its logins were refused unseen at {moment(last)}, and may be until {moment(last + _HOUR)}"


def _kind(event: Event) -> str:
    if event.event == "attempt":
        return f"attempt, {event.get('outcome')}"
    if event.event == "refused by a check":
        return f"refused by the check {event.get('check')}"
    if event.event in ("session", "accepted", "discarded", "account frozen") or judge(event):
        return event.event
    return ""


def _names(events: Sequence[Event]) -> str:
    logins = Counter(event.get("login") for event in events if event.get("login"))
    named = joined([f"{login} ({count})" for login, count in logins.most_common(_MOST_NAMED)])
    more = f" and {len(logins) - _MOST_NAMED} more" if len(logins) > _MOST_NAMED else ""
    return f"; logins: {named}{more}" if named else ""


def _most_frequent(judgements: Sequence[Judgement]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    common = [judgement for judgement, _ in Counter(judgements).most_common(_MOST_CAUSES)]
    causes = tuple(judgement.cause for judgement in common)
    return causes, tuple(dict.fromkeys(judgement.remedy for judgement in common))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
