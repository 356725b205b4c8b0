"""large: messages of 1 MiB and of 25 MiB over 20 sessions; octets a second, and the most memory taken meanwhile."""

from collections.abc import Iterator

from bench.load.source import Sink, Source
from bench.ports import free_ports
from bench.results import Measured
from bench.servers import start
from bench.setting import Setting
from bench.works.observed import Peak, relay, warm_up
from bench.works.work import Work

_SESSIONS = 20
_MIB = 1 << 20


def _measure(setting: Setting, name: str) -> Iterator[Measured]:
    for octets, messages in setting.scale.large:
        with Sink("127.0.0.1", free_ports(1)) as sink, start(name, setting, sink.port) as server:
            warm_up(server.smtpd, sink)
            source = Source(server.smtpd, min(_SESSIONS, messages), messages, octets, keep=True)
            with Peak(server.usage) as peak:
                done = relay(server, sink, source, setting.scale.limit)
            more = {"octets": done.figures["rate"] * octets, "peak": float(peak.pss)}
            yield Measured(f"{octets / _MIB:g} MiB", done.figures | more, done.note)


WORK = Work(
    "large",
    "Large messages, 20 sessions",
    _measure,
    ("octets", "peak", "cpu", "cpu_system", "generator", "sink", "machine"),
    plotted="octets",
    peers=("postfix",),
)
