"""The whole probe of one server, port by port: which tests are made where, and in which order.

    for judgement in probe_port(target, "smtp", lookup=lambda address, name: Names(), now=time.time()):
        ...

One connection is open at a time. What a server may hold against us comes last.
"""

from collections.abc import Callable, Iterator
from typing import Final

from valija.probe.certificates import probe_certificate
from valija.probe.handshakes import probe_handshakes
from valija.probe.judgement import Judgement, Question
from valija.probe.logins import probe_logins
from valija.probe.manners import probe_manners
from valija.probe.names import Names, probe_names
from valija.probe.relay import probe_relay
from valija.probe.seen import Seen, look
from valija.probe.smuggling import probe_smuggling
from valija.probe.starttls import probe_starttls
from valija.probe.target import Role, Target
from valija.probe.wire import Gone

Group = Callable[[Target, Seen], Iterator[Judgement]]
Lookup = Callable[[str, str], Names]

_BETWEEN_SERVERS: Final[tuple[Group, ...]] = (
    probe_starttls,
    probe_handshakes,
    probe_logins,
    probe_relay,
    probe_smuggling,
    probe_manners,
)
_FOR_USERS: Final[tuple[Group, ...]] = (probe_starttls, probe_handshakes, probe_logins)
_GROUPS: Final[dict[Role, tuple[Group, ...]]] = {
    "smtp": _BETWEEN_SERVERS,
    "submission": _FOR_USERS,
    "submissions": _FOR_USERS,
}
UNREACHABLE: Final = "-reachable"  # how the id of a port ends that can't be looked at


def probe_port(target: Target, role: Role, *, lookup: Lookup, now: float) -> Iterator[Judgement]:
    """Yield the judgements of one port. `lookup` asks the DNS for an address and a name; `now` is the time."""
    try:
        seen = look(target, role)
    except Gone as why:
        question = Question(f"{role}{UNREACHABLE}", "whether a mail server answers there", target.ports[role])
        yield question.not_tested(str(why))
        return
    if role == "smtp":
        yield from probe_names(target, seen, lookup(target.address, seen.name))
    yield from probe_certificate(target, seen, now)
    for group in _GROUPS[role]:
        yield from group(target, seen)
