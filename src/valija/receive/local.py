"""Programs of this machine: they come by a socket of the file system, and are known by the user they run as.

    listener = LocalListener(site, users, log=...)
    await listener.serve([bound])

The kernel tells who connected (SO_PEERCRED, unix(7)); there is no login and no TLS. What differs from other sessions:

- addresses without a domain, or at a name of this machine, get the home domain, in the envelope and in the header;
- a user may send in the names that policy/local_sender allows: the site's directory knows that as `owns`;
- mail for a user of the machine who has no mailbox goes to the postmaster, and so do reports on such a user's mail.

Known weakness: how many connections a user has open is counted per worker.
"""

import asyncio
import pwd
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from valija.content.local_addresses import LocalNames
from valija.mail.address import quote, split, unquote
from valija.mail.envelope import Envelope, Recipient
from valija.mail.origin import Origin
from valija.mail.reply import Reply
from valija.policy.local_sender import LocalSenders, may_send_as
from valija.policy.relay import POSTMASTER
from valija.receive.connection import Connection
from valija.receive.doorkeeper import Doorkeeper
from valija.receive.listener import BACKLOG, Listener
from valija.receive.peer import Peer
from valija.receive.session import Answer, Session
from valija.receive.site import Conduct, Directory, Site, Spending
from valija.receive.transaction import Transaction
from valija.smtp.events import Event, Hello, Mail, Rcpt

CONNECTIONS_OF_A_USER: Final = 20  # at once, in each worker; root's are not counted
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: process, user, group
_HERE: Final = "127.0.0.1"
_TOO_MANY: Final = Reply(421, "4.7.0", "Too many connections of yours, try again later")


class LocalUser(msgspec.Struct, frozen=True):
    """Who runs a program. `name` is the system's, or made of the number where the system has none."""

    uid: int
    name: str


@lru_cache(maxsize=256)
def user_of(uid: int) -> LocalUser:
    """Return the user with a number."""
    try:
        return LocalUser(uid, pwd.getpwuid(uid).pw_name)
    except KeyError:
        return LocalUser(uid, f"uid-{uid}")


@dataclass(frozen=True, slots=True)
class LocalDirectory:
    """A directory in which a login is a user of the machine, and owns the names that such a user may send in."""

    directory: Directory
    senders: LocalSenders
    is_user: Callable[[str], bool]

    def exists(self, address: str) -> bool:
        """Whether a hosted address is somebody's mailbox or alias."""
        return self.directory.exists(address)

    def expand(self, address: str) -> tuple[str, ...]:
        """Return where mail for a hosted address goes."""
        return self.directory.expand(address)

    def owns(self, login: str, address: str) -> bool:
        """Whether a user of the machine may send in the name of an address."""
        return may_send_as(login, address, self.senders, self.is_claimed)

    def is_claimed(self, address: str) -> bool:
        """Whether an address is somebody's: a mailbox, an alias, a user of the machine."""
        return self.exists(address) or self._is_of_a_user(address)

    def is_homeless(self, address: str) -> bool:
        """Whether an address is that of a user of the machine who has no mailbox."""
        return not self.exists(address) and self._is_of_a_user(address)

    def _is_of_a_user(self, address: str) -> bool:
        local = split(address)[0]
        return self.is_user(unquote(local)) or self.is_user(self.senders.base_of(local))


@dataclass(frozen=True, slots=True)
class LocalConduct:
    """Counts what users of the machine send apart from what logins do that are called the same."""

    conduct: Conduct

    def login_refusal(self, login: str) -> Reply | None:
        """Return why a login may not be used; nobody logs in here."""
        return self.refusal(login)

    def refusal(self, login: str) -> Reply | None:
        """Return why a user may not send any more, None where it may."""
        return self.conduct.refusal(_counted_as(login))

    def begin(self, login: str, client: str) -> Spending:
        """Begin to count a message. It comes from where all others of the user's have come from."""
        return self.conduct.begin(_counted_as(login), client or _HERE)


def _counted_as(login: str) -> str:
    return f"uid:{login}"


class LocalSession(Session):
    """A local program's session."""

    __slots__ = ("_user",)

    def __init__(self, site: Site, user: LocalUser) -> None:
        super().__init__(site, Peer("", 0))
        self._user = user
        self.login = user.name

    def handle(self, event: Event) -> Answer:
        """Return the answer to an event, its addresses completed."""
        if isinstance(event, Hello) and self.examination is None:
            self._begin_examination()  # there is no login to begin it
        return super().handle(self.completed(event))

    def completed(self, event: Event) -> Event:
        """Return an event whose addresses have their domain."""
        if isinstance(event, Mail):
            return msgspec.structs.replace(event, reverse_path=self._names.complete(event.reverse_path))
        return Rcpt(self._reachable(event.recipient)) if isinstance(event, Rcpt) else event

    @property
    def _names(self) -> LocalNames:
        names = self.site.local_names
        assert names is not None
        return names

    def _reachable(self, recipient: Recipient) -> Recipient:
        names = self._names
        address = names.complete(recipient.address)
        if address == recipient.address:
            return recipient
        if self._is_homeless(address):
            return msgspec.structs.replace(recipient, address=f"{POSTMASTER}@{names.home}", given=address)
        return msgspec.structs.replace(recipient, address=address)

    def _is_homeless(self, address: str) -> bool:
        directory = self.site.directory
        return isinstance(directory, LocalDirectory) and directory.is_homeless(address)

    def _envelope(self, transaction: Transaction) -> Envelope:
        envelope = super()._envelope(transaction)
        home = self._names.home
        if envelope.reverse_path == f"{quote(self.login)}@{home}" and self._is_homeless(envelope.reverse_path):
            # Nobody would read the reports, and a server that asks whether there is such a sender would hear no.
            return msgspec.structs.replace(envelope, reverse_path=f"{POSTMASTER}@{home}")
        return envelope

    def _origin(self, transaction: Transaction) -> Origin:
        return msgspec.structs.replace(super()._origin(transaction), uid=self._user.uid)


class LocalConnection(Connection):
    """A local program's connection."""

    __slots__ = ("user",)

    def begin_session(self, transport: asyncio.BaseTransport) -> Session:
        """Return the session of whoever connected."""
        self.user = user_of(_uid_of(transport))
        return LocalSession(self._listener.site, self.user)


def _uid_of(transport: asyncio.BaseTransport) -> int:
    end = transport.get_extra_info("socket")
    return int(_CREDENTIALS.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1])


class LocalListener(Listener):
    """Serves local programs."""

    def __init__(self, site: Site, doorkeeper: Doorkeeper, session_limit: int) -> None:
        super().__init__(site, _no_tls, doorkeeper, session_limit)
        self._open: Counter[int] = Counter()

    async def serve(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on bound sockets."""
        for bound in sockets:
            server = await self.loop.create_unix_server(lambda: LocalConnection(self), sock=bound, backlog=BACKLOG)
            self._servers.append(server)
        self._sweep()

    def admit(self, connection: Connection) -> Reply | None:
        """Count a connection in; return why it may not stay, None if it may."""
        uid = _uid_behind(connection)
        self._open[uid] += 1
        if uid == 0 or self._open[uid] <= CONNECTIONS_OF_A_USER:
            return super().admit(connection)
        self.site.log.warning("local program turned away", uid=uid, reply=str(_TOO_MANY))
        return _TOO_MANY

    def trusts(self, client: str) -> bool:
        """Whether a client has no limits of its own: a program has no address to have them by."""
        return True

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        super().forget(connection)
        uid = _uid_behind(connection)
        self._open[uid] -= 1
        if not self._open[uid]:
            del self._open[uid]


def _uid_behind(connection: Connection) -> int:
    assert isinstance(connection, LocalConnection)
    return connection.user.uid


def _no_tls() -> ssl.SSLContext:
    raise AssertionError("there is no TLS on a socket of the file system")
