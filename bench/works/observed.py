"""A relay run, observed: rates, CPU time of the server, and who was the limit.

with Sink("127.0.0.1", port) as sink, start("valija", setting, port) as server:
    warm_up(server.smtpd, sink)
    measured = relay(server, sink, Source(...), limit=60)
"""

import threading
import time
from types import TracebackType
from typing import Self

import msgspec

from bench.load import child
from bench.load.child import LoadFault
from bench.load.source import Sink, Source
from bench.machine import busy_seconds
from bench.servers import Server
from bench.usage import Cpu, Usage, memory_of, wait_until_quiet

_QUIET_PATIENCE = 5.0  # seconds; removals from the queue may follow the last delivery
_WARM_UP_PATIENCE = 20.0
_A_WHOLE_CORE = 0.9
_FEWEST = 50  # messages
_LONGEST = 15.0  # seconds
_PEAK_INTERVAL = 0.1  # seconds


class Relayed(msgspec.Struct, frozen=True):
    """Figures of a relay run, and what was noted."""

    figures: dict[str, float]
    note: str


def warm_up(port: int, sink: Sink, messages: int = 50) -> float:
    """Send some messages first; return how many a second arrived.

    Raises LoadFault where they do not arrive: such a server can't be measured.
    """
    before, began = sink.count(), time.monotonic()
    source = Source(port, sessions=5, messages=messages, octets=1024)
    done = child.run(source.command(), _WARM_UP_PATIENCE)
    if done.error or not sink.wait_for(before + messages, time.monotonic() + _WARM_UP_PATIENCE):
        raise LoadFault(f"warm-up: {sink.count() - before} of {messages} messages arrived; {done.error}")
    return messages / (time.monotonic() - began)


def bounded(messages: int, rate: float) -> int:
    """Return how many messages to measure with: fewer than wanted for a server that would take minutes."""
    return min(messages, max(_FEWEST, int(rate * _LONGEST)))


def relay(server: Server, sink: Sink, source: Source, limit: float) -> Relayed:
    """Send messages through a server to the sink, `limit` seconds at most."""
    swallowed, sink_cpu = sink.count(), sink.seconds()
    cpu, busy, began = server.usage.cpu(), busy_seconds(), time.monotonic()
    done = child.run(source.command(), limit)
    sink.wait_for(swallowed + source.messages, began + limit)
    seconds, busy = time.monotonic() - began, busy_seconds() - busy
    arrived, sink_cpu = sink.count() - swallowed, sink.seconds() - sink_cpu
    wait_until_quiet(server.usage, _QUIET_PATIENCE)
    figures = {
        "rate": arrived / seconds,
        **({} if done.error else {"accepted": source.messages / done.seconds}),
        **cpu_figures(server.usage.cpu() - cpu, arrived),
        **({"pss": float(memory_of(server.usage).pss)} if server.usage.pids() else {}),
        "generator": done.share,
        "sink": sink_cpu / seconds,
        "machine": busy / seconds / _cores(),
    }
    return Relayed(figures, note(figures, source.messages, arrived, done.error))


def cpu_figures(taken: Cpu, messages: int) -> dict[str, float]:
    """Return the CPU time of each of so many messages; nothing where there were none, or no server to ask."""
    if not messages or not taken.seconds:
        return {}
    return {"cpu": taken.seconds / messages, "cpu_system": taken.system / messages}


def note(figures: dict[str, float], sent: int, arrived: int, error: str) -> str:
    """Return what has to be said beside the figures: losses, faults, and whether the load was the limit."""
    words = []
    if arrived < sent:
        words.append(f"{arrived} of {sent} messages arrived in time")
    if error:
        words.append(error)
    for part in ("generator", "sink"):
        if figures.get(part, 0.0) >= _A_WHOLE_CORE:
            words.append(f"the {part} was the limit")
    return "; ".join(words)


class Peak:
    """The most memory a server takes while this context lasts, looked at ten times a second."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.pss = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.pss = max(self.pss, memory_of(self._usage).pss)
            if self._ended.wait(_PEAK_INTERVAL):
                return


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))
