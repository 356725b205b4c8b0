"""What all sessions of one listener share: the facts they decide by and the people they ask.

A reload makes a new Site; sessions that are open keep the one they began with.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from valija.auth.backend import AuthBackend
from valija.content.dkim_key import DkimKey
from valija.content.local_addresses import LocalNames
from valija.logs import Log
from valija.mail.job import QueueId
from valija.mail.origin import Role
from valija.mail.reply import Reply
from valija.policy.relay import RelayFacts
from valija.queue.spool import Spool
from valija.queue.store import NewMessage
from valija.receive.checks import NO_CHECKS, Checks
from valija.receive.doorkeeper import is_this_machine
from valija.receive.options import ListenerOptions
from valija.return_paths import no_return_path


class Directory(Protocol):
    """Who lives in the hosted domains, and which addresses are whose."""

    def exists(self, address: str) -> bool:
        """Whether a hosted address is an account or an alias."""

    def expand(self, address: str) -> tuple[str, ...]:
        """Return where mail for a hosted address goes; an account stands for itself."""

    def owns(self, login: str, address: str) -> bool:
        """Whether `address` is one that `login` may send as, beyond its own."""


class Queue(Protocol):
    """The way into the queue."""

    def new_id(self) -> QueueId:
        """Return a fresh queue id."""

    async def submit(self, queue_id: QueueId, message: NewMessage) -> None:
        """Queue a message; return when it is durable. Raises QueueFull."""


class Signer(Protocol):
    """The keys that mail is signed with."""

    def has_any_keys(self) -> bool:
        """Whether any domain has keys: if not, no body needs to be hashed."""

    def for_domain(self, domain: str) -> Sequence[DkimKey]:
        """Return the keys of a domain, one per algorithm; none for a domain whose mail is not signed."""


class Spending(Protocol):
    """One message of a user, as it is counted."""

    def add(self, address: str) -> Reply | None:
        """Count a recipient; return why it can't be one now."""

    def take(self, received_at: float) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """Count the message, which is about to be queued; return why it can't be taken."""


class Conduct(Protocol):
    """Who watches what users do with their accounts."""

    def login_refusal(self, login: str) -> Reply | None:
        """Return the reply to a right login that may not be used, None where it may."""

    def refusal(self, login: str) -> Reply | None:
        """Return why an open session may not send any more, None where it may."""

    def begin(self, login: str, client: str) -> Spending:
        """Begin to count a message from a client's address."""


@dataclass(frozen=True, slots=True)
class Site:
    """The surroundings of a session."""

    hostname: str
    role: Role
    options: ListenerOptions
    size_limit: int
    relay: RelayFacts
    directory: Directory
    backend: AuthBackend
    queue: Queue
    spool: Spool
    signer: Signer
    has_room: Callable[[int], bool]
    clock: Callable[[], float]
    unique: Callable[[], str]
    log: Log
    checks: Checks = NO_CHECKS
    conduct: Conduct | None = None  # where users hand mail in
    delimiter: str = "+"
    return_path: Callable[[str], str] = no_return_path
    seals: bool = False  # what an alias sends on to others
    is_shared: Callable[[str], bool] = is_this_machine  # may many stand behind a client's address?
    local_names: LocalNames | None = None  # where programs of this machine come in, which name addresses shortly
    converting: asyncio.Lock = field(default_factory=asyncio.Lock)  # a binary content: it takes much memory

    def signs_for(self, login: str, client_address: str) -> bool:
        """Whether mail is signed: of users and trusted clients, never what an outsider sends in a domain's name."""
        return bool(login) or self.relay.trusts(client_address)

    @property
    def takes_logins(self) -> bool:
        """Mail users come here: AUTH is offered and demanded."""
        return self.role != "smtpd"
