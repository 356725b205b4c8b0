"""The agent that sends to other servers by SMTP.

    agent = RemoteAgent(options, surroundings, "mail.example.org", read=spool.read, log=log)
    outcomes = await agent.deliver(job)        # one per recipient, and one line in the log for each
    await agent.close()

Connections are shared between jobs with equal routes: see deliver/pool. Hosts are looked up for each new connection, so
that changed DNS is seen with the next one.

What is learnt of next hops and of the operators of their hosts is kept in `memory`, which may be shared with an agent
that takes over. The limit of connections is per operator, and for this process.
"""

import asyncio
import time
from typing import Final

from valija.deliver.attempt_log import tell
from valija.deliver.census import Row, census
from valija.deliver.connect import Connector
from valija.deliver.errand import Attempt, Errand
from valija.deliver.forwarded import copies
from valija.deliver.hosts import Surroundings
from valija.deliver.memory import Memory
from valija.deliver.options import SmtpOptions
from valija.deliver.pool import Destination
from valija.deliver.session import Read
from valija.logs import Log
from valija.mail.job import Job, Route
from valija.mail.outcome import Outcome

SWEEP_INTERVAL: Final = 0.1  # seconds between two looks at the deadlines


class RemoteAgent:
    """Sends by SMTP. `read` yields a large content piece by piece (see queue/spool). Made within a running loop."""

    def __init__(
        self,
        options: SmtpOptions,
        surroundings: Surroundings,
        hostname: str,
        *,
        read: Read,
        log: Log,
        memory: Memory | None = None,
    ) -> None:
        self._memory = memory or Memory(options.destination_concurrency_limit)
        self._health = surroundings.health
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._connector = Connector(options, surroundings, hostname, read, log)
        self._destinations: dict[Route, Destination] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def deliver(self, job: Job) -> list[Outcome]:
        """Return one outcome for each recipient of the job (see deliver/agent)."""
        began = self._loop.time()
        attempt = Attempt(job, self._loop)
        destination = self._destination(job.route)
        for copy in copies(job):
            destination.submit(Errand(attempt, copy.numbers, job=copy))
        outcomes = await attempt.done
        destination.standing.count(outcomes)
        tell(self._log, job, outcomes, self._loop.time() - began)
        return outcomes

    async def close(self) -> None:
        """Let go of idle connections, and of busy ones when their transactions have ended.

        Whoever still waits for a job of which nothing was sent gets CancelledError: no attempt was made at it.
        """
        await asyncio.gather(*(destination.close() for destination in self._destinations.values()))
        self._destinations.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def census(self, name: str) -> list[Row]:
        """Return how mail fares at each next hop, or at the one called `name`: see deliver/census."""
        now = self._loop.time()
        return census(self._memory, self._destinations, self._health, name=name, now=now, epoch=time.time())

    def _destination(self, route: Route) -> Destination:
        destination = self._destinations.get(route)
        if destination is None:
            memory = self._memory
            standing = memory.standings.of(route)
            destination = Destination(route, self._connector, memory.operators, standing, self._log)
            self._destinations[route] = destination
            if self._sweeper is None:
                self._sweeper = self._loop.call_later(SWEEP_INTERVAL, self._sweep)
        return destination

    def _sweep(self) -> None:
        """Look at all deadlines; forget destinations that are not used."""
        self._sweeper = self._loop.call_later(SWEEP_INTERVAL, self._sweep)
        now = self._loop.time()
        for session in list(self._connector.sessions):
            session.sweep(now)
        for route, destination in list(self._destinations.items()):
            destination.sweep(now)
            if destination.is_unused:
                destination.forget()
                del self._destinations[route]
        if not (self._destinations or self._connector.sessions):
            self._sweeper.cancel()
            self._sweeper = None
