"""The unit files, as a pure function of the configuration's facts (systemd.service(5), systemd.socket(5)).

    for name, text in units(facts).items():
        print(name)          # "valija.service", and "valija.socket" with sockets
        print(text)

Three kinds of service: the server starts as its user and has the right to bind ports below 1024; or it gets its
sockets from systemd and has no rights at all; or it starts as root, where PAM or files of root's need that, and becomes
its user itself (valija/warden).

The ports where an authority proves names are never among the sockets: there the server listens only while an order
runs, and a socket of systemd's could not refuse clients meanwhile. They need the right to bind, and so does HTTPS,
which is not passed on.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from valija.mail.endpoint import Endpoint
from valija.systemd.sandbox import Setting, Work, sandbox

SERVICE: Final = "valija.service"
SOCKETS: Final = "valija.socket"
MARK: Final = "# Written by `valija systemd install`, which writes it anew. Changes of your own: systemctl edit"
WATCHDOG: Final = 60  # seconds of silence; the server itself ends a worker that hangs after half of that
_RELOAD_SINCE: Final = 253  # systemd's version that knows Type=notify-reload
_PRIVILEGED: Final = 1024


class UnitFacts(msgspec.Struct, frozen=True):
    """What the units depend on.

    `program` is the command `valija`, an absolute path; `configuration` the file's, absolute too. `why_root` says why
    the server has to start as root; none, and it starts as `work.user`. `challenges` are where an authority asks, or
    HTTPS is served: the server binds them itself.
    `manager` is systemd's version, 0 where it is not known.
    """

    program: str
    configuration: str
    work: Work
    listen: Mapping[str, tuple[Endpoint, ...]]
    challenges: tuple[Endpoint, ...] = ()
    why_root: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    has_sockets: bool = False
    manager: int = 0


def units(facts: UnitFacts) -> dict[str, str]:
    """Return the units' texts by file name."""
    found = {SERVICE: _service(facts)}
    if facts.has_sockets:
        found[SOCKETS] = _sockets(facts)
    return found


def needs_binding(facts: UnitFacts) -> bool:
    """Whether the server itself has a port below 1024 to bind."""
    listened = () if facts.has_sockets else (endpoint for each in facts.listen.values() for endpoint in each)
    return any(endpoint.port < _PRIVILEGED for endpoint in (*listened, *facts.challenges))


def _service(facts: UnitFacts) -> str:
    after = ("network-online.target", *((SOCKETS,) if facts.has_sockets else ()), *facts.after)
    unit: list[Setting] = [
        ("Description", "valija, a mail server for sending"),
        ("Wants", "network-online.target"),
        ("After", " ".join(after)),
        ("StartLimitIntervalSec", "0"),  # whatever hindered it may go away by itself: it is tried again for ever
    ]
    if facts.has_sockets:
        unit.append(("Requires", SOCKETS))
    install = [("WantedBy", "multi-user.target"), *([("Also", SOCKETS)] if facts.has_sockets else [])]
    work = msgspec.structs.replace(facts.work, binds=needs_binding(facts))
    return _text(
        [MARK, *_why_root(facts)],
        {"Unit": unit, "Service": [*_life(facts), *sandbox(work)], "Install": install},
    )


def _why_root(facts: UnitFacts) -> Iterable[str]:
    if facts.why_root:
        yield f"# It starts as root and becomes {facts.work.user} at once, because of: {', '.join(facts.why_root)}"


def _life(facts: UnitFacts) -> list[Setting]:
    """Return how the service is started, reloaded, watched and ended."""
    arguments = f"-c {_quoted(facts.configuration)}"
    program = _quoted(facts.program)
    can_wait = facts.manager >= _RELOAD_SINCE
    life = [("Type", "notify-reload" if can_wait else "notify"), ("ExecStart", f"{program} serve {arguments}")]
    if not can_wait:
        life.append(("ExecReload", f"{program} reload {arguments}"))
    return [
        *life,
        ("KillMode", "mixed"),  # the main process tells the others, and leaves last
        ("TimeoutStopSec", "40s"),
        ("WatchdogSec", f"{WATCHDOG}s"),
        ("Restart", "on-failure"),
        ("RestartSec", "5s"),
        ("OOMPolicy", "continue"),  # a worker that is killed is replaced by the server itself
        ("LimitNOFILE", "65536"),
    ]


def _sockets(facts: UnitFacts) -> str:
    unit = [("Description", "valija's ports")]
    listened = (endpoint for each in facts.listen.values() for endpoint in each)
    streams = [("ListenStream", str(endpoint)) for endpoint in listened]
    socket = [*streams, ("BindIPv6Only", "ipv6-only"), ("Backlog", "1024"), ("FreeBind", "yes")]
    return _text([MARK], {"Unit": unit, "Socket": socket, "Install": [("WantedBy", "sockets.target")]})


def _text(head: Iterable[str], sections: Mapping[str, Iterable[Setting]]) -> str:
    lines = [*head]
    for name, settings in sections.items():
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in settings)]
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    """Return a word as a command line of systemd's has it: `%` and `$` mean nothing there (systemd.service(5))."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"' if plain != word or " " in word else word
