"""The story of a message: from its session to where it stands now. Pure.

    story = tell_message(Facts("bmmn4132bzj2q", events, session, around, account, queued=None))
    story.state         # "delivered", "waiting", "deferred", "held", "bounced", "expired", "removed", "discarded"

The queue knows what is pending, the history all that has ended. Where they speak of different times the queue is right.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from valija.content.reported import Reported, ReportKind
from valija.content.trouble import Trouble, trouble_of
from valija.content.words import VOCABULARIES
from valija.history.lines import Event
from valija.mail.envelope import Recipient
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.queue.store import Listed
from valija.why.remedies import REMEDIES
from valija.why.story import Entry, Story, moment
from valija.why.subject import same
from valija.why.telling import addresses, entry_of, host_words, number_of, seconds_of

Explain = Callable[[str, str], tuple[str, str]]
"""Asks the configuration: from a sender and a recipient to the next hop and the setting that decides."""

_MOST_NAMED: Final = 5  # recipients of one fate, in words
_MOST_TROUBLES: Final = 3
# What comes first within one millisecond.
_ORDER: Final = (
    "session",
    "accepted",
    "route",
    "dns",
    "tls",
    "host",
    "attempt",
    "deferred",
    "given up",
    "report",
    "removed",
)
_RANK: Final = {about: rank for rank, about in enumerate(_ORDER)}
_BEFORE_IT: Final = frozenset({"session", "login", "refused", "account"})  # what may come before acceptance
_LONG_AGO: Final = 1.0  # a lifetime in seconds, where only that it is over matters


class Facts(msgspec.Struct, frozen=True):
    """What is known of a message.

    `events` name it; those of `session` its session; `around` are of its next hops, at the time of its attempts;
    `account` of its sender's login. `queued` is what the queue has, None where it has gone.
    """

    queue_id: str
    events: Sequence[Event]
    session: Sequence[Event] = ()
    around: Sequence[Event] = ()
    account: Sequence[Event] = ()
    queued: Listed | None = None
    explain: Explain | None = None


def tell_message(facts: Facts) -> Story:
    """Return the story of a message."""
    fates = _fates(facts)
    own = [event for event in facts.events if event.event != "report queued" or event.get("about") == facts.queue_id]
    events = [*facts.session, *own, *facts.around, *facts.account]
    entries = [*_routes(facts), *(entry_of(event) for event in events if not _is_of_another(event, facts.queue_id))]
    if not any(event.event == "accepted" for event in facts.events) and facts.queued is not None:
        entries.append(_arrival(facts.queued))
    entries = sorted(_accepted_first(entries), key=lambda entry: (entry.time, _RANK.get(entry.about, len(_RANK))))
    state = _state(facts, fates)
    cause, remedy = _advice(facts, fates, state)
    return Story(
        facts.queue_id,
        "message",
        _title(facts),
        tuple(_without_repetition(entries)),
        state,
        tuple(_now(facts, fates, state)),
        cause,
        remedy,
    )


def _is_of_another(event: Event, queue_id: str) -> bool:
    """Whether a line of the session is about another message of it."""
    return event.get("queue_id") not in ("", queue_id) and event.get("about") != queue_id


def _accepted_first(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Put acceptance before what follows from it: its line may be written a moment after the first attempt began."""
    first = min((entry.time for entry in entries if entry.about not in _BEFORE_IT), default=0.0)
    for entry in entries:
        is_late = entry.about == "accepted" and entry.time > first > 0
        yield msgspec.structs.replace(entry, time=first) if is_late else entry


def _without_repetition(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Leave out what is told twice: lines may be found in two ways."""
    told: set[tuple[float, str, tuple[str, ...]]] = set()
    for entry in entries:
        key = (entry.time, entry.about, entry.said)
        if key not in told:
            told.add(key)
            yield entry


# What it is


def accepted(facts: Facts) -> Event | None:
    """Return the line of its acceptance, None where the history does not reach back so far."""
    return next((event for event in facts.events if event.event in ("accepted", "discarded")), None)


def _title(facts: Facts) -> str:
    line = accepted(facts)
    if line is not None:
        sender, to = line.get("reverse_path"), addresses(line.get("to"))
    elif facts.queued is not None:
        sender = f"<{facts.queued.reverse_path}>"
        to = [recipient.address for recipient in facts.queued.recipients]
    else:
        sender, to = "", list(_attempted(facts.events))
    report = next((event for event in facts.events if _is_report(event, facts.queue_id)), None)
    what = f", a report ({report.get('kind')}) on {report.get('about')}," if report else ""
    origin = f" from {sender}" if sender and not report else ""
    return f"message {facts.queue_id}{what}{origin} to {_named(to) or 'nobody known'}"


def _is_report(event: Event, queue_id: str) -> bool:
    return event.event == "report queued" and event.get("queue_id") == queue_id


def _attempted(events: Sequence[Event]) -> dict[str, None]:
    return {event.get("recipient"): None for event in events if event.event == "attempt"}


def _named(to: Sequence[str]) -> str:
    more = f" and {len(to) - _MOST_NAMED} more" if len(to) > _MOST_NAMED else ""
    return f"{', '.join(to[:_MOST_NAMED])}{more}"


def _arrival(queued: Listed) -> Entry:
    login = f", logged in as {queued.login}" if queued.login else ""
    said = f"from <{queued.reverse_path}>, {queued.size} octets{login}"
    return Entry(queued.arrived, "accepted", (said, "so the queue has it; the history has no line of its acceptance"))


def _routes(facts: Facts) -> Iterator[Entry]:
    """Tell once for each next hop why mail goes there, if the configuration still leads there."""
    if facts.explain is None:
        return
    line = accepted(facts)
    sender = (line.get("reverse_path") if line else "").removeprefix("<").removesuffix(">")
    told: set[str] = set()
    for event in facts.events:
        next_hop = event.get("next_hop")
        if event.event != "attempt" or next_hop in told:
            continue
        told.add(next_hop)
        leads_to, why = facts.explain(sender, event.get("recipient"))
        words = why if same(leads_to, next_hop) else "by the configuration of then; today's says otherwise"
        on_the_way = [line.time for line in facts.around if line.get("next_hop") == next_hop]
        yield Entry(
            min(event.time - seconds_of(event), *on_the_way, float("inf")),
            "route",
            (f"{event.get('recipient')} goes to {next_hop}: {words}",),
        )


# What became of each recipient


class Fate(msgspec.Struct, frozen=True):
    """One recipient's. `state` is one of a story's; `last` is the last attempt, `reply` what was said to it."""

    address: str
    state: str
    last: Event | None = None
    next_attempt: float = 0.0
    reply: str = ""


_ENDS: Final[Mapping[str, str]] = {"delivered": "delivered", "failed": "bounced", "deferred": "deferred"}


def _fates(facts: Facts) -> list[Fate]:
    fates: dict[str, Fate] = {}
    for event in facts.events:
        if event.event == "attempt":
            address = event.get("recipient")
            fates[address] = Fate(address, _ENDS.get(event.get("outcome"), "waiting"), event, reply=event.get("reply"))
        elif event.event == "given up":
            _expire(fates, event)
    if facts.queued is None:
        return [_ended(fate, facts) for fate in fates.values()]
    for pending in facts.queued.recipients:
        last = fates[pending.address].last if pending.address in fates else None
        state = "deferred" if pending.attempts else "waiting"
        fates[pending.address] = Fate(pending.address, state, last, pending.next_attempt, pending.last_reply)
    return list(fates.values())


def _expire(fates: dict[str, Fate], event: Event) -> None:
    """Note who was given up: a line names some of them, and all whom it means were deferred just before."""
    named = addresses(event.get("to"))
    everybody = number_of(event, "recipients") > len(named)
    for address, fate in list(fates.items()):
        if fate.state == "deferred" and (everybody or address in named):
            fates[address] = msgspec.structs.replace(fate, state="expired")


def _ended(fate: Fate, facts: Facts) -> Fate:
    """Return a fate of a message that has left the queue: nobody waits any more."""
    if fate.state != "deferred":
        return fate
    return msgspec.structs.replace(fate, state="removed" if _removed_by_hand(facts) else "unknown")


def _removed_by_hand(facts: Facts) -> Event | None:
    return next((event for event in facts.events if event.event == "removed" and event.get("by")), None)


# Where it stands

_WORST_FIRST: Final = ("deferred", "waiting", "expired", "bounced", "removed", "unknown", "delivered")


def _state(facts: Facts, fates: Sequence[Fate]) -> str:
    if facts.queued is not None and facts.queued.hold:
        return "held"
    if any(event.event == "discarded" for event in facts.events):
        return "discarded"
    found = {fate.state for fate in fates}
    for state in _WORST_FIRST:
        if state in found:
            return state
    if _removed_by_hand(facts):
        return "removed"
    return "waiting" if facts.queued is not None else "unknown"


def _now(facts: Facts, fates: Sequence[Fate], state: str) -> Iterator[str]:
    if state == "held":
        yield "on hold: it is neither tried nor given up until it is released"
    if state == "discarded":
        yield "thrown away by a filter; nobody gets it"
    if removed := _removed_by_hand(facts):
        yield f"removed from the queue by hand ({removed.get('by')}), without a report"
    for fate_state in dict.fromkeys(fate.state for fate in fates):
        yield from _now_of([fate for fate in fates if fate.state == fate_state], state)
    if not fates and state == "unknown":
        yield "not in the queue, and the history has no attempt at it"
    for event in facts.events:
        if event.event == "report queued" and event.get("about") == facts.queue_id:
            yield f"its sender is told by the report {event.get('queue_id')} ({event.get('kind')})"


def _now_of(fates: Sequence[Fate], state: str) -> Iterator[str]:
    one, names = fates[0], _named([fate.address for fate in fates])
    match one.state:
        case "delivered":
            hosts = dict.fromkeys(host_words(fate.last) for fate in fates if fate.last is not None)
            host = ", ".join(host for host in hosts if host)
            yield f"delivered to {names}" + (f": {host} has taken it" if host else ", into the mailbox here")
        case "bounced":
            yield f"not delivered to {names}: refused for good"
        case "expired":
            yield f"not delivered to {names}: given up, the time to try it is over"
        case "unknown":
            yield f"not in the queue any more, and the history has no end of it for {names}"
        case "deferred" | "waiting" if state != "held":
            for fate in fates[:_MOST_NAMED]:
                yield f"in the queue for {fate.address}: next attempt {moment(fate.next_attempt)}"


# Why, and what to do


def _advice(facts: Facts, fates: Sequence[Fate], state: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if state == "held":
        return _why_held(facts)
    if state == "removed":
        return ("Somebody removed it by `valija queue delete`.",), ()
    if state == "discarded":
        return ("A filter said that it is to be thrown away.",), ("See the filter's own log at that time.",)
    if state == "unknown" and not any(fate.last for fate in fates):
        return ("It left the queue before the history begins, or while no history was kept.",), ()
    troubles: dict[Trouble, Fate] = {}
    for fate in fates:
        if fate.state in ("bounced", "expired", "deferred", "unknown") and (trouble := trouble_met(fate)):
            troubles.setdefault(trouble, fate)
    several = len(troubles) > 1
    advice = VOCABULARIES["en"].advice
    causes, remedies = [], []
    for trouble, fate in list(troubles.items())[:_MOST_TROUBLES]:
        whose = f"{fate.address}: " if several else ""
        causes.append(whose + advice[trouble].meaning)
        remedies.append(whose + REMEDIES[trouble])
    return tuple(causes), tuple(remedies)


def trouble_met(fate: Fate) -> Trouble | None:
    """Return what kept a message from a recipient, by the last attempt; None where none was made."""
    last = fate.last
    reply = parsed_reply(fate.reply or (last.get("reply") if last else ""))
    if reply is None:
        return None
    failed = fate.state in ("bounced", "expired")
    outcome = Outcome(
        0,
        State.FAILED if failed else State.DEFERRED,
        reply,
        remote=last.get("remote") if last else "",
        tls_source=last.get("tls_source") if last else "",
    )
    expired_after = _LONG_AGO if fate.state == "expired" else 0.0
    reported = Reported(Recipient(fate.address), outcome, expired_after=expired_after)
    return trouble_of(ReportKind.FAILURE if failed else ReportKind.DELAY, reported)


def parsed_reply(text: str) -> Reply | None:
    """Return a reply as the log has it, None for what is none."""
    code, _, rest = text.partition(" ")
    if len(code) != 3 or not code.isdecimal():
        return None
    enhanced, _, words = rest.partition(" ")
    if enhanced.count(".") == 2 and enhanced.replace(".", "").isdecimal():
        return Reply(int(code), enhanced, words)
    return Reply(int(code), "", rest)


def _login(facts: Facts) -> str:
    line = accepted(facts)
    return line.get("login") if line else facts.queued.login if facts.queued else ""


def _why_held(facts: Facts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    release = f"`valija queue release {facts.queue_id}` lets it go, `valija queue delete {facts.queue_id}` removes it."
    held = [event for event in facts.events if event.event in ("held", "message put on hold")]
    if not held:
        return ("It is on hold; the history has no line of how that came.",), (release,)
    last = held[-1]
    if last.event == "message put on hold":
        cause = "The server crashed three times in attempts at it, so that it waits for a human."
        return (cause,), (f"Look at it first: `valija queue show {facts.queue_id}`. {release}",)
    if login := last.get("login") or (_login(facts) if last.get("by") == "valija user freeze" else ""):
        frozen = next((event for event in reversed(facts.account) if event.event == "account frozen"), None)
        why = f": {frozen.get('reason')}" if frozen else ""
        unfreeze = f"`valija user unfreeze {login} --release` (it was its owner) or `--purge` (it was a thief)"
        return (f"The account {login} is frozen{why}.",), (f"When its password is changed: {unfreeze}.",)
    return (f"It was put on hold by {last.get('by') or last.get('reason')}.",), (release,)
