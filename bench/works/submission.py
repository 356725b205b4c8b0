"""submission: STARTTLS, AUTH PLAIN, one message, QUIT; 20 sessions at a time, 50 accounts.

The accounts have logged in before: what the first login costs is a matter of the password's hash.
"""

import time
from collections.abc import Iterator

from bench.load import child
from bench.load.source import Sink
from bench.load.submission import SubmissionReport
from bench.machine import busy_seconds
from bench.ports import free_ports
from bench.results import Measured
from bench.servers import WITH_DOVECOT, Server, start
from bench.setting import Setting
from bench.usage import memory_of, wait_until_quiet
from bench.works.observed import cpu_figures, note
from bench.works.work import Work

_SESSIONS = 20
_LOGINS_BEFORE = 4  # of each account, so that each worker knows most of them


def _measure(setting: Setting, name: str) -> Iterator[Measured]:
    with (
        Sink("127.0.0.1", free_ports(1)) as sink,
        start(name, setting, sink.port, accounts=setting.scale.accounts) as server,
    ):
        _submit(server, sink, setting.scale.accounts * _LOGINS_BEFORE, setting)
        yield _submit(server, sink, setting.scale.submissions, setting)


def _submit(server: Server, sink: Sink, messages: int, setting: Setting) -> Measured:
    swallowed, sink_cpu = sink.count(), sink.seconds()
    cpu, busy, began = server.usage.cpu(), busy_seconds(), time.monotonic()
    numbers = (server.submission, messages, _SESSIONS, setting.scale.octets, setting.scale.accounts)
    done = child.run_own("bench.load.submission", list(map(str, numbers)), setting.scale.limit)
    report = done.report(SubmissionReport)
    started = done.seconds - report.seconds  # the interpreter of the generator has to start first
    sink.wait_for(swallowed + report.accepted, began + setting.scale.limit)
    seconds, busy = time.monotonic() - began - started, busy_seconds() - busy
    arrived, sink_cpu = sink.count() - swallowed, sink.seconds() - sink_cpu
    wait_until_quiet(server.usage, 5.0)
    figures = {
        "rate": arrived / seconds,
        "accepted": report.accepted / report.seconds,
        **cpu_figures(server.usage.cpu() - cpu, arrived),
        "pss": float(memory_of(server.usage).pss),
        "generator": done.cpu / report.seconds,
        "sink": sink_cpu / seconds,
    }
    return Measured(f"{_SESSIONS} sessions", figures, note(figures, messages, arrived, report.fault))


WORK = Work(
    "submission",
    "Submission with TLS and login",
    _measure,
    ("rate", "accepted", "cpu", "cpu_system", "pss", "generator", "sink"),
    plotted="rate",
    peers=(WITH_DOVECOT, "postfix-dovecot"),
)
