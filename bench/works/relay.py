"""relay-new and relay-keep: small messages, in on smtpd, out to one next hop; 1, 20 and 100 sessions.

"new" is a connection a message, "keep" a connection a session. The tools are also measured without a server between
them, so that it is seen how much of the machine they need for themselves.
"""

from collections.abc import Iterator
from functools import partial

from bench.load.source import Sink, Source
from bench.ports import free_ports
from bench.results import Measured
from bench.servers import STRAIGHT, start
from bench.setting import Setting
from bench.works.observed import bounded, relay, warm_up
from bench.works.work import Work

_SESSIONS = (1, 20, 100)
_PEERS = ("postfix", "exim", "opensmtpd", "haraka", "chasquid", "aiosmtpd", STRAIGHT)
_FIGURES = ("rate", "accepted", "cpu", "cpu_system", "pss", "generator", "sink", "machine")


def _measure(setting: Setting, name: str, *, keep: bool) -> Iterator[Measured]:
    scale = setting.scale
    with Sink("127.0.0.1", free_ports(1)) as sink, start(name, setting, sink.port) as server:
        rate = warm_up(server.smtpd, sink)
        for sessions in _SESSIONS:
            messages = bounded(scale.lone_messages if sessions == 1 else scale.messages, rate)
            source = Source(server.smtpd, min(sessions, messages), messages, scale.octets, keep=keep)
            done = relay(server, sink, source, scale.limit)
            yield Measured(f"{sessions} session{'s' if sessions > 1 else ''}", done.figures, done.note)


NEW = Work(
    "relay-new",
    "Relay, a connection a message",
    partial(_measure, keep=False),
    _FIGURES,
    plotted="rate",
    peers=_PEERS,
)
KEEP = Work(
    "relay-keep",
    "Relay, kept connections",
    partial(_measure, keep=True),
    _FIGURES,
    plotted="rate",
    peers=_PEERS,
)
