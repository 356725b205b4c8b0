"""What tests of the sending side share: an agent, jobs, a DNS in memory, and a log that remembers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import pytest
import uvloop

from tests.ports import free_port
from valija.deliver.credentials import LoginOptions
from valija.deliver.health import Health
from valija.deliver.hosts import Surroundings
from valija.deliver.login import Logins
from valija.deliver.memory import Memory
from valija.deliver.options import SmtpOptions
from valija.deliver.remote import RemoteAgent
from valija.dns.resolver import Answer, MxRecord, RecordType, Resolver, Status
from valija.logs import Log
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.job import Job, QueueId, Route
from valija.mail.origin import Origin
from valija.mail.outcome import Outcome, State
from valija.policy.mta_sts import StsPolicy
from valija.policy.tls_report import TlsResult

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

CONTENT = b"Message-ID: <1@example.org>\r\nSubject: hello\r\n\r\nline\r\n.dot\r\n"
ALICE = "alice@example.org"
BOB = "bob@remote.example"
HOSTNAME = "mail.example.org"


def run_uvloop(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


both_loops = pytest.mark.parametrize("run", [asyncio.run, run_uvloop], ids=["asyncio", "uvloop"])


class MemoryLog:
    """Remembers what was logged, as (level, event, values)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **values: self.lines.append((level, event, values))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [values for _, said, values in self.lines if said == event]


class MemoryResolver:
    """`{"remote.example": ["MX 10 mx1.remote.example"], "mx1.remote.example": ["A 127.0.0.2", "AAAA ::1"]}`.

    A name that is missing does not exist; `["FAILED"]` is a look-up that fails.
    """

    def __init__(self, zone: Mapping[str, Sequence[str]]) -> None:
        self._zone = zone
        self.asked: list[tuple[str, str]] = []

    async def lookup(self, name: str, rtype: RecordType) -> Answer[Any]:
        self.asked.append((name, rtype))
        if name not in self._zone:
            return Answer(Status.NO_DOMAIN)
        if "FAILED" in self._zone[name]:
            return Answer(Status.FAILED, detail="SERVFAIL")
        found = [line.split()[1:] for line in self._zone[name] if line.split()[0] == rtype]
        if not found:
            return Answer(Status.NO_DATA)
        if rtype == "MX":
            return Answer(Status.FOUND, tuple(MxRecord(int(words[0]), words[1].rstrip(".")) for words in found))
        return Answer(Status.FOUND, tuple(words[0] for words in found))


class Sender:
    """A RemoteAgent and its surroundings."""

    def __init__(self, agent: RemoteAgent, log: MemoryLog, resolver: MemoryResolver, memory: Memory) -> None:
        self.agent = agent
        self.memory = memory
        self.log = log
        self.resolver = resolver
        self.noted: list[TlsResult] = []  # what reports would be made of

    async def deliver(self, job: Job, deadline: float = 20.0) -> list[Outcome]:
        async with asyncio.timeout(deadline):
            outcomes = await self.agent.deliver(job)
        assert sorted(outcome.number for outcome in outcomes) == sorted(job.numbers)
        return sorted(outcomes, key=lambda outcome: outcome.number)


@asynccontextmanager
async def sending(
    *,
    port: int,
    zone: Mapping[str, Sequence[str]] | None = None,
    own_names: Sequence[str] = (),
    own_listeners: Sequence[tuple[str, int]] = (),
    read: Callable[[Content], Iterator[bytes]] = lambda content: iter([content.head]),
    health: Health | None = None,
    logins: Sequence[LoginOptions] | Logins = (),
    tokens_dir: Path = Path(),
    real_resolver: Resolver | None = None,
    sts: Mapping[str, StsPolicy] | None = None,
    memory: Memory | None = None,
    **options: Any,
) -> AsyncIterator[Sender]:
    """An agent that reaches MX hosts on `port`; without a zone remote.example has its MX host at 127.0.0.1.

    `sts` are the MTA-STS policies of domains.
    """

    async def sts_policy(domain: str) -> StsPolicy | None:
        return (sts or {}).get(domain)

    noted: list[TlsResult] = []
    resolver = MemoryResolver(
        zone or {"remote.example": ["MX 10 mx1.remote.example"], "mx1.remote.example": ["A 127.0.0.1"]}
    )
    log = MemoryLog()
    surroundings = Surroundings(
        real_resolver or cast("Resolver", resolver),
        lambda hosts: None,
        lambda name: name in own_names,
        lambda address, port: (address, port) in own_listeners,
        sts_policy,
        noted.append,
        health=health or Health(),
        logins=logins if isinstance(logins, Logins) else Logins(logins, tokens_dir, cast("Log", log)),
    )
    settings = msgspec.structs.replace(SmtpOptions(), port=port, **options)
    memory = memory or Memory(settings.destination_concurrency_limit)
    agent = RemoteAgent(settings, surroundings, HOSTNAME, read=read, log=cast("Log", log), memory=memory)
    try:
        sender = Sender(agent, log, resolver, memory)
        sender.noted = noted
        yield sender
    finally:
        async with asyncio.timeout(10):
            await agent.close()


def job_for(
    *recipients: str | Recipient, content: bytes | Content = CONTENT, route: Route | None = None, **envelope: Any
) -> Job:
    """A job for these recipients, bob@remote.example if there are none, by their domain's MX hosts."""
    those = tuple(Recipient(one) if isinstance(one, str) else one for one in recipients or (BOB,))
    return Job(
        QueueId("q1"),
        route or Route("remote", "remote.example"),
        Envelope(envelope.pop("reverse_path", ALICE), those, **envelope),
        Origin("submission", 0.0),
        content if isinstance(content, Content) else Content.of(content),
        tuple(range(len(those))),
    )


def states(outcomes: Sequence[Outcome]) -> list[State]:
    return [outcome.state for outcome in outcomes]


__all__ = [
    "ALICE",
    "BOB",
    "CONTENT",
    "HOSTNAME",
    "MemoryLog",
    "Run",
    "Sender",
    "both_loops",
    "free_port",
    "job_for",
    "sending",
    "states",
]
