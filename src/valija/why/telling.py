"""What each line of the log says, in words. Pure.

    entry_of(event)      # Entry(time, "attempt", ("bob@example.net by mx1.example.net [203.0.113.25]: delivered", ...))

A line that has no words of its own here is told as it stands: its event and its values.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from valija.history.lines import Event
from valija.why.story import Entry, joined, moment

Said = tuple[str, ...]
Teller = Callable[[Event], Said]

_PASSED_OVER: Final = frozenset({"queue_id", "session", "traceback"})

# What a line of acceptance or refusal has beside what checks found.
_NO_FINDINGS: Final = frozenset(
    {
        "queue_id", "session", "reverse_path", "recipients", "to", "size", "role", "client", "helo", "protocol",
        "tls_version", "cipher", "login", "rule", "tls_demand", "hold_until", "deliver_by", "priority", "recipient",
        "reply", "check",
    }
)  # fmt: skip
_REQUESTS: Final = ("tls_demand", "hold_until", "deliver_by", "priority")

_DEMANDED_BY: Final = {
    "default": "by default",
    "configured": "set in the configuration",
    "login": "because of the login",
    "dane": "demanded by the domain's DANE records",
    "mta-sts": "demanded by the domain's MTA-STS policy",
    "requiretls": "demanded by the sender (REQUIRETLS)",
    "tls-required-no": "waived by the sender (TLS-Required: No)",
}


def entry_of(event: Event) -> Entry:
    """Return what happened, by the line that tells it."""
    about, tell = _TELLERS.get(event.event, ("", _as_it_stands))
    time = event.time
    if event.event == "session":
        time -= seconds_of(event)  # the line is written at its end
    return Entry(time, about or event.level, tell(event))


def seconds_of(event: Event) -> float:
    """Return how long a line says that something took."""
    return number_of(event, "seconds")


def number_of(event: Event, key: str) -> float:
    """Return a value that is a number, 0 where it is none."""
    try:
        return float(event.get(key))
    except ValueError:
        return 0.0


def findings_of(event: Event) -> dict[str, str]:
    """Return what checks found, by the line of acceptance or refusal."""
    return {key: value for key, value in event.fields.items() if key not in _NO_FINDINGS}


def addresses(value: str) -> list[str]:
    """Return the addresses of a line's list."""
    return [address for address in value.split(",") if address] if value != "-" else []


# Coming in


def _session(event: Event) -> Said:
    return (f"{event.get('session')}: {client_words(event)}", joined(list(_how_it_went(event))))


def client_words(event: Event) -> str:
    """Return who a line says was there."""
    address, helo, role = event.get("client"), event.get("helo"), event.get("role")
    who = f"from [{address}]" if address else "from this machine"
    called = f', which called itself "{helo}"' if helo else ""
    return f"{who}{called}, on {role}" if role else f"{who}{called}"


def _how_it_went(event: Event) -> Iterator[str]:
    tls = event.get("tls")
    yield f"{tls} {event.get('cipher')}".strip() if tls not in ("", "none") else "in clear"
    yield f"logged in as {event.get('login')}" if event.get("login") else "no login"
    yield f"{event.get('messages')} accepted"
    if (errors := event.get("errors")) not in ("", "0"):
        yield f"{errors} error{'' if errors == '1' else 's'}"
    yield f"ended after {event.get('seconds')} s: {event.get('ended')}"


def _accepted(event: Event) -> Said:
    to, count = addresses(event.get("to")), int(number_of(event, "recipients"))
    more = f" and {count - len(to)} more" if count > len(to) > 0 else ""
    wishes = _pairs({key: event.get(key) for key in _REQUESTS if event.get(key)})
    whom = ", ".join(to) or f"{count} recipients"
    said = [
        f"from {event.get('reverse_path')} to {whom}{more}, {event.get('size')} octets",
        f"allowed by the rule: {event.get('rule')}",
    ]
    if found := findings_of(event):
        said.append(f"checks found: {_pairs(found)}")
    if wishes:
        said.append(f"the sender asks for {wishes}")
    return tuple(said)


def _pairs(values: Mapping[str, str]) -> str:
    return joined([f"{key}={value}" for key, value in values.items()])


def _refused(event: Event) -> Said:
    whom = event.get("recipient") or event.get("to")
    sender = event.get("reverse_path")
    about = joined([f"from {sender}" if sender else "", f"to {whom}" if whom else ""])
    by = f" by the check {event.get('check')}" if event.get("check") else ""
    login = f", logged in as {event.get('login')}" if event.get("login") else ""
    said = [f"{event.event}{by}: {about}" if about else f"{event.event}{by}", f"{client_words(event)}{login}"]
    if found := findings_of(event):
        said.append(f"checks found: {_pairs(found)}")
    return (*said, f"we said: {event.get('reply')}")


def _login(event: Event) -> Said:
    login = f' as "{event.get("login")}"' if event.get("login") else ""
    reason = f": {event.get('reason')}" if event.get("reason") else ""
    return (f"{event.event}{login}{reason}", client_words(event))


def _frozen(event: Event) -> Said:
    return (f"the account {event.get('login')} was frozen: {event.get('reason')}",)


def _limit(event: Event) -> Said:
    limit, value, until = event.get("limit"), event.get("value"), event.get("until")
    return (f"the account {event.get('login')} reached its limit: {limit} = {value}, free again at {until}",)


# Going out


def _hosts(event: Event) -> Said:
    hosts = addresses(event.get("hosts"))
    signed = "the answer was signed (DNSSEC)" if event.get("dnssec") == "true" else "the answer was not signed"
    alias = f", an alias of {event.get('alias_of')}" if event.get("alias_of") else ""
    return (f"{event.get('next_hop')}{alias} is reached by {', '.join(hosts)}; {signed}",)


def _unusable(event: Event) -> Said:
    return (f"{host_words(event)} could not be used: {event.get('reply')}", *_level(event))


def _tls_failed(event: Event) -> Said:
    return (f"{event.event} with {event.get('remote')}: {event.get('reason')}",)


def _fallback(event: Event) -> Said:
    return (f"{event.get('next_hop')} can't be reached, trying the fall-back relay {event.get('relay')}",)


def host_words(event: Event) -> str:
    """Return which host a line is about."""
    name, address = event.get("remote"), event.get("remote_address")
    return f"{name} [{address}]" if name and address else name or (f"[{address}]" if address else "")


def _attempt(event: Event) -> Said:
    host = host_words(event)
    by = f" by {host}" if event.get("remote") else f" at {host}" if host else ""
    said = [f"{event.get('recipient')}{by}: {event.get('outcome')} after {event.get('seconds')} s"]
    if host:
        version = f" ({event.get('tls_version')}, {event.get('cipher')})" if event.get("tls_version") else ""
        said.append(joined([f"TLS {event.get('tls')}{version}", *_level(event)]))
    speaker = "it said" if event.get("remote") else "this server found"
    return (*said, f"{speaker}: {event.get('reply')}")


def _level(event: Event) -> Said:
    level, source = event.get("tls_level"), event.get("tls_source")
    return (f"level {level} {_DEMANDED_BY.get(source, source)}",) if level else ()


def _deferred(event: Event) -> Said:
    time = _written_time(event.get("next_attempt"))
    return (f"{_recipients(event)}: next attempt {time}, the {_ordinal(event.get('attempts'))} has ended",)


def _given_up(event: Event) -> Said:
    attempts = event.get("attempts")
    return (f"{_recipients(event)}: given up after {attempts} attempt{'' if attempts == '1' else 's'}, time is over",)


def _recipients(event: Event) -> str:
    named, count = addresses(event.get("to")), int(number_of(event, "recipients"))
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return f"{', '.join(named)}{more}"


def _written_time(text: str) -> str:
    try:
        return moment(datetime.fromisoformat(text).astimezone(UTC).timestamp())
    except ValueError:
        return text


def _ordinal(number: str) -> str:
    ending = "th" if number[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1:], "th")
    return f"{number}{ending}"


def _duplicate(event: Event) -> Said:
    return (f"{event.get('remote')} may have taken it all the same, and may get it twice: {event.get('reason')}",)


def _report(event: Event) -> Said:
    return (f"a report ({event.get('kind')}) on {event.get('about')} is on its way: {event.get('queue_id')}",)


# What was done to it


def _removed(event: Event) -> Said:
    by = event.get("by")
    return (f"by hand: {by}",) if by else ("nothing is left to do for it",)


def _by_hand(event: Event) -> Said:
    why = event.get("by") or event.get("reason")
    return (f"{event.event}: {why}" if why else event.event,)


def _discarded(event: Event) -> Said:
    return ("a filter had it thrown away; the client was told that it was accepted", *_accepted(event)[:1])


def _as_it_stands(event: Event) -> Said:
    values = _pairs({key: value for key, value in event.fields.items() if key not in _PASSED_OVER})
    return (f"{event.event}: {values}" if values else event.event,)


_TELLERS: Final[Mapping[str, tuple[str, Teller]]] = {
    "session": ("session", _session),
    "client turned away": ("refused", _refused),
    "accepted": ("accepted", _accepted),
    "discarded": ("discard", _discarded),
    "sender refused": ("refused", _refused),
    "recipient refused": ("refused", _refused),
    "content refused": ("refused", _refused),
    "refused by a check": ("refused", _refused),
    "login refused": ("login", _login),
    "login malformed": ("login", _login),
    "login unavailable": ("login", _login),
    "login frozen": ("login", _login),
    "login throttled": ("login", _login),
    "token refused": ("login", _login),
    "account frozen": ("account", _frozen),
    "account limit reached": ("account", _limit),
    "hosts found": ("dns", _hosts),
    "host not usable": ("host", _unusable),
    "TLS failed, going on in clear": ("tls", _tls_failed),
    "TLS failed, going on without its proof": ("tls", _tls_failed),
    "trying a fall-back relay": ("route", _fallback),
    "attempt": ("attempt", _attempt),
    "deferred": ("deferred", _deferred),
    "given up": ("given up", _given_up),
    "possible duplicate": ("warning", _duplicate),
    "report queued": ("report", _report),
    "removed": ("removed", _removed),
    "held": ("held", _by_hand),
    "message put on hold": ("held", _by_hand),
    "released": ("released", _by_hand),
    "due now": ("retry", _by_hand),
}
