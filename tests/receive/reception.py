"""A listener in this process, for tests: real sockets and the real machine, with a queue that only records."""

import asyncio
import itertools
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tests.ports import free_port
from valija.auth.backend import Challenge, ConnectionFacts, Exchange, Malformed, Step, Success, Unavailable, Wrong
from valija.content.dkim_key import DkimKey
from valija.logs import Log, LogBuffer, build_log
from valija.mail.endpoint import Endpoint
from valija.mail.job import QueueId
from valija.mail.origin import Role
from valija.policy.networks import Networks
from valija.policy.relay import RelayFacts
from valija.queue.spool import Spool
from valija.queue.store import NewMessage
from valija.receive.checks import NO_CHECKS, Checks
from valija.receive.doorkeeper import Doorkeeper, SharedArrivals
from valija.receive.listener import Listener
from valija.receive.options import ListenerOptions
from valija.receive.site import Site
from valija.sockets import bind_all
from valija.tls.contexts import server_context
from valija.tls.self_signed import make_self_signed

MAILBOXES = {"alice@local.example", "bob@local.example", "sales@local.example"}
ALIASES = {"sales@local.example": ("alice@local.example", "x@remote.example")}


class RecordingQueue:
    """Keeps what is submitted. `fault` is raised instead, `gate` is waited for before."""

    def __init__(self) -> None:
        self.messages: dict[str, NewMessage] = {}
        self.fault: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self._numbers = itertools.count(1)

    def new_id(self) -> QueueId:
        return QueueId(f"q{next(self._numbers)}")

    async def submit(self, queue_id: QueueId, message: NewMessage) -> None:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        self.messages[queue_id] = message

    @property
    def only(self) -> NewMessage:
        (message,) = self.messages.values()
        return message


class People:
    """The directory: MAILBOXES and ALIASES."""

    def exists(self, address: str) -> bool:
        return address.lower() in MAILBOXES

    def expand(self, address: str) -> tuple[str, ...]:
        return ALIASES.get(address, (address,))

    def owns(self, login: str, address: str) -> bool:
        return login in ALIASES.get(address, ())


class OnePassword:
    """A back end in which everybody's password is `secret`; other passwords steer it into its other states."""

    def close(self) -> None:
        """Nothing is held."""

    def mechanisms(self) -> tuple[str, ...]:
        return ("PLAIN",)

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        return _Plain() if mechanism == "PLAIN" and facts.secured else None


class _Plain:
    async def respond(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"")
        parts = response.split(b"\0")
        if len(parts) != 3:
            return Malformed()
        login, password = parts[1].decode(), parts[2]
        match password:
            case b"secret":
                return Success(login)
            case b"away":
                return Unavailable("the back end is away")
            case b"broken":
                raise RuntimeError("a fault of ours")
            case b"silent":
                await asyncio.sleep(3600)
        return Wrong(login)

    def cancel(self) -> None:
        pass


class Keyless:
    """No domain signs."""

    def has_any_keys(self) -> bool:
        return False

    def for_domain(self, domain: str) -> Sequence[DkimKey]:
        return ()


class Reception:
    """What a test holds in its hands."""

    def __init__(self, listener: Listener, queue: RecordingQueue, port: int, log_path: Path, flush: Callable[[], None]):
        self.listener = listener
        self.queue = queue
        self.port = port
        self._log_path = log_path
        self._flush = flush

    @property
    def log(self) -> str:
        self._flush()
        return self._log_path.read_text()

    async def connect(self, source: str = "127.0.0.1") -> "Dialogue":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        return Dialogue(reader, writer)


class Dialogue:
    """A client that says lines and reads replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> str:
        """Read one whole reply; "" at the end of the connection."""
        lines = []
        async with asyncio.timeout(10):
            while True:
                try:
                    line = (await self.reader.readline()).decode("utf-8", "replace").rstrip("\r\n")
                except ConnectionError:
                    line = ""
                lines.append(line)
                if line[3:4] != "-":
                    return "\n".join(lines)

    async def say(self, *lines: str) -> str:
        """Send lines and return the last one's reply."""
        answer = ""
        for line in lines:
            self.send(line.encode() + b"\r\n")
            answer = await self.reply()
        return answer

    async def start_tls(self) -> None:
        assert (await self.say("STARTTLS")).startswith("220")
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        await self.writer.start_tls(context)

    async def until_closed(self) -> bytes:
        async with asyncio.timeout(10):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@asynccontextmanager
async def reception(
    tmp_path: Path,
    role: Role = "smtpd",
    *,
    mynetworks: Sequence[str] = ("127.0.0.1/32",),
    size_limit: int = 1_000_000,
    session_limit: int = 1000,
    checks: Checks = NO_CHECKS,
    **options: object,
) -> AsyncIterator[Reception]:
    networks, faults = Networks.parse(list(mynetworks))
    assert not faults
    port = free_port()
    endpoint = Endpoint("127.0.0.1", port)
    defaults = ListenerOptions(listen=(endpoint,))
    log_path = tmp_path / "log"
    log_file = log_path.open("ab")
    buffer = LogBuffer(log_file.fileno())
    log: Log = build_log("debug", "text", buffer)
    people = People()
    queue = RecordingQueue()
    site = Site(
        hostname="mail.local.example",
        role=role,
        options=msgspec.structs.replace(defaults, **options),
        size_limit=size_limit,
        relay=RelayFacts(networks, frozenset({"local.example"}), "local.example", people.exists),
        directory=people,
        backend=OnePassword(),
        queue=queue,
        spool=Spool(tmp_path / "spool"),
        signer=Keyless(),
        has_room=lambda size: True,
        clock=time.time,
        unique=lambda: "unique",
        log=log,
        checks=checks,
    )
    pair = make_self_signed("mail.local.example", time.time())
    context = server_context(pair.chain_pem, pair.key_pem)
    listener = Listener(site, lambda: context, Doorkeeper(SharedArrivals(1), 0), session_limit)
    (bound,) = bind_all({role: (endpoint,)}, 1)
    await listener.serve(bound[role])
    try:
        yield Reception(listener, queue, port, log_path, buffer.flush)
    finally:
        await listener.stop(0.0)
        buffer.flush()
        log_file.close()
