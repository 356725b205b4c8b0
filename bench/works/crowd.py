"""many-sessions: ten thousand open at once, a thousand of them active. Who is refused, and how long the rest wait."""

from collections.abc import Iterator

from bench.load import child
from bench.load.crowd import CrowdReport
from bench.load.source import Sink
from bench.ports import free_ports
from bench.results import Measured
from bench.servers import start
from bench.setting import Setting
from bench.works.observed import Peak, warm_up
from bench.works.work import Work


def _measure(setting: Setting, name: str) -> Iterator[Measured]:
    scale = setting.scale
    with Sink("127.0.0.1", free_ports(1)) as sink, start(name, setting, sink.port) as server:
        warm_up(server.smtpd, sink)
        numbers = (server.smtpd, scale.crowd, scale.active, scale.crowd_seconds, scale.octets)
        with Peak(server.usage) as peak:
            done = child.run_own("bench.load.crowd", list(map(str, numbers)), scale.limit)
        report = done.report(CrowdReport)
    figures = {
        "opened": float(report.opened),
        "refused": float(report.refused + report.lost),
        "accepted": report.accepted / scale.crowd_seconds,
        "dot_p50": report.p50,
        "dot_p99": report.p99,
        "peak": float(peak.pss),
        "generator": done.share,
    }
    yield Measured("all", figures, report.fault)


WORK = Work(
    "many-sessions",
    "Many sessions at once",
    _measure,
    ("opened", "refused", "accepted", "dot_p50", "dot_p99", "peak", "generator"),
    peers=("haraka", "chasquid"),
)
