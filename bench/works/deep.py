"""deep-queue: fresh mail beside a million deferred recipients, against the same server with an empty queue.

Then: from the start after a stop, and after a crash, to the first delivery of a recipient that is due; and the first
page of `valija queue list`. The deferred recipients are in domains whose hosts refuse connections; none falls due
while it is measured. Mail goes by MX, as the names are looked up (bench/names).
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import queue_file
from bench.load.source import Sink, Source
from bench.ports import free_ports
from bench.results import Measured
from bench.servers.fault import ServerFault
from bench.servers.valija import Valija
from bench.setting import Setting, python_user
from bench.usage import memory_of, wait_until_quiet
from bench.works.naming import naming
from bench.works.observed import Relayed, relay, warm_up
from bench.works.work import Work

_SESSIONS = 20
_PAGE = 500  # messages
_QUIET_PATIENCE = 60.0  # seconds
_DUE = 10  # messages
_DOWN = 1.5  # seconds


def _measure(setting: Setting, _: str) -> Iterator[Measured]:
    with Sink("127.0.0.1", free_ports(1)) as sink, naming() as nameserver:
        settings = {"dns": {"nameservers": [nameserver]}, "smtp": {"port": sink.port}}
        with Valija(setting, settings=settings) as server:
            empty, before = _fresh_mail(server, sink, setting)
            workers = len(list(server.folder.glob("data/queue/*.sqlite3")))
        yield Measured("empty queue", {**empty.figures, "pss": before}, empty.note)

        folder = _filled(setting, max(1, workers))
        try:
            yield from _deep(setting, Valija(setting, settings=settings, folder=folder), sink, before)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _filled(setting: Setting, workers: int) -> Path:
    """Return the folder of a server with a deep queue."""
    scale, began = setting.scale, time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="deep-", dir=setting.home))
    queue_file.fill(folder / "data" / "queue", workers, scale.deep, scale.domains, time.time())
    queue_file.give(folder / "data", python_user())
    setting.say(f"    {scale.deep} deferred recipients written in {time.monotonic() - began:.0f} s")
    return folder


def _deep(setting: Setting, valija: Valija, sink: Sink, before: float) -> Iterator[Measured]:
    with valija as server:
        fresh, memory = _fresh_mail(server, sink, setting)
        yield Measured("deep queue", {**fresh.figures, "pss": memory, "growth": memory - before}, fresh.note)
        yield _first_page(server)
        for case, end in (("stop", server.stop), ("crash", server.kill)):
            yield _restart(f"{case} to first delivery", server, end, sink, setting.scale.limit)


def _fresh_mail(server: Valija, sink: Sink, setting: Setting) -> tuple[Relayed, float]:
    """Relay fresh mail; return that, and the memory of the server at rest afterwards."""
    warm_up(server.smtpd, sink)
    wait_until_quiet(server.usage, _QUIET_PATIENCE)
    source = Source(server.smtpd, _SESSIONS, setting.scale.messages, setting.scale.octets)
    done = relay(server, sink, source, setting.scale.limit)
    return done, float(memory_of(server.usage).pss)


def _first_page(server: Valija) -> Measured:
    """Measure how long the first page takes, the interpreter's start included."""
    began = time.monotonic()
    listing = subprocess.Popen(
        server.command("queue", "list"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=server.environment()
    )
    assert listing.stdout
    lines = sum(1 for _, _line in zip(range(_PAGE), listing.stdout, strict=False))
    seconds = time.monotonic() - began
    listing.kill()
    listing.communicate()
    return Measured("first page of queue list", {"seconds": seconds}, "" if lines == _PAGE else f"{lines} lines")


def _restart(case: str, server: Valija, end: Callable[[], None], sink: Sink, limit: float) -> Measured:
    """End the server, have some recipients fall due meanwhile, and measure from its start to the first arrival."""
    due = time.time() + _DOWN
    queue_file.add(server.folder / "data" / "queue", "b@dst.test", _DUE, due)
    end()
    time.sleep(max(0.0, due - time.time()))
    swallowed, began = sink.count(), time.monotonic()
    server.start()
    started = time.monotonic() - began
    if not sink.wait_for(swallowed + 1, began + limit):
        raise ServerFault(f"{case}: nothing was delivered in {limit:.0f} s; it listened after {started:.1f} s")
    seconds = time.monotonic() - began
    sink.wait_for(swallowed + _DUE, began + limit)
    return Measured(case, {"seconds": seconds}, f"listening after {started:.2f} s")


WORK = Work(
    "deep-queue",
    "Beside a deep queue",
    _measure,
    ("rate", "accepted", "cpu", "pss", "growth", "seconds", "generator", "machine"),
)
