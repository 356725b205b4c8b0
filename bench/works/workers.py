"""workers: 1, 2, 4 ... workers, as many as there are cores; 100 kept sessions. The rate of each worker is to hold."""

import os
from collections.abc import Iterator

from bench.load.source import Sink, Source
from bench.ports import free_ports
from bench.results import Measured
from bench.servers.valija import Valija
from bench.setting import Setting
from bench.works.observed import relay, warm_up
from bench.works.work import Work

_SESSIONS = 100


def _counts() -> list[int]:
    """Return 1, 2, 4 ... and at least two numbers, so that there is something to compare."""
    cores = max(2, len(os.sched_getaffinity(0)))
    return [1 << power for power in range(cores.bit_length()) if 1 << power <= cores]


def _measure(setting: Setting, _: str) -> Iterator[Measured]:
    scale = setting.scale
    for workers in _counts():
        words = f"{workers} worker{'s' if workers > 1 else ''}"
        with (
            Sink("127.0.0.1", free_ports(1)) as sink,
            Valija(setting, sink.port, settings={"workers": workers}) as server,
        ):
            warm_up(server.smtpd, sink)
            for keep in (False, True):
                source = Source(server.smtpd, min(_SESSIONS, scale.messages), scale.messages, scale.octets, keep=keep)
                done = relay(server, sink, source, scale.limit)
                yield Measured(f"{'kept' if keep else 'new'} connections, {words}", done.figures, done.note)
            yield Measured(f"per worker, {words}", {"rate": done.figures["rate"] / workers})


WORK = Work(
    "workers",
    "Number of workers, 100 sessions",
    _measure,
    ("rate", "accepted", "cpu", "pss", "generator", "sink", "machine"),
)
