"""memory: of the idle server, with its usual number of workers and with two; of an idle session, in clear and in TLS.

A server is idle when it has relayed some messages and has nothing left to do.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

from bench import PROJECT
from bench.load.source import Sink
from bench.ports import free_ports
from bench.results import Measured
from bench.servers import VALIJA, Server, start
from bench.servers.valija import Valija
from bench.setting import Setting
from bench.usage import memory_of, wait_until_quiet
from bench.works.observed import warm_up
from bench.works.work import Work

_QUIET_PATIENCE = 5.0  # seconds


def _measure(setting: Setting, name: str) -> Iterator[Measured]:
    with Sink("127.0.0.1", free_ports(1)) as sink:
        if name == VALIJA:
            two = Valija(setting, sink.port, settings={"workers": 2})
            yield _idle_server("idle server, 2 workers", two, sink)
        yield _idle_server("idle server", start(name, setting, sink.port), sink)
        yield _idle_sessions("clear", start(name, setting, sink.port), sink, setting)
        if name in (VALIJA, "postfix-dovecot"):
            yield _idle_sessions("TLS", start(name, setting, sink.port), sink, setting)


def _idle_server(case: str, server: AbstractContextManager[Server], sink: Sink) -> Measured:
    with server as started:
        return Measured(case, {"pss": float(_idle_memory(started, sink))})


def _idle_sessions(kind: str, server: AbstractContextManager[Server], sink: Sink, setting: Setting) -> Measured:
    with server as started:
        port = started.submission if kind == "TLS" else started.smtpd
        alone = _idle_memory(started, sink)
        command = [sys.executable, "-m", "bench.load.idlers", str(port), str(setting.scale.idle), kind.lower()]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT) as idlers:
            assert idlers.stdin
            assert idlers.stdout
            opened = int(idlers.stdout.readline() or 0)
            wait_until_quiet(started.usage, _QUIET_PATIENCE)
            crowded = memory_of(started.usage).pss
            idlers.stdin.close()
    figures = {"opened": float(opened), "pss": float(crowded), "session": (crowded - alone) / max(opened, 1)}
    missing = f"only {opened} of {setting.scale.idle} sessions were let in" if opened < setting.scale.idle else ""
    return Measured(f"idle sessions, {kind}", figures, missing)


def _idle_memory(server: Server, sink: Sink) -> int:
    warm_up(server.smtpd, sink)
    wait_until_quiet(server.usage, _QUIET_PATIENCE)
    return memory_of(server.usage).pss


WORK = Work(
    "memory",
    "Memory",
    _measure,
    ("pss", "opened", "session"),
    plotted="session",
    peers=("postfix", "postfix-dovecot", "exim", "opensmtpd", "haraka", "chasquid", "aiosmtpd"),
)
