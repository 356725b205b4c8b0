"""A small scriptable name server on loopback, UDP and TCP on one port, for tests of whatever looks names up.

    with FakeDns({
        "remote.example": ["MX 10 mx1.remote.example."],
        "mx1.remote.example": ["60 A 127.0.0.2", "AAAA ::1"],
        "alias.example": ["CNAME remote.example."],
        "*.many.example": ["A 127.0.0.3"],
    }) as dns:
        dns.nameserver                      # "127.0.0.1:23456", as in `[dns] nameservers`
        dns.script("slow.example", Script(delay=1.0))
        dns.script("bogus.example", Script(rcode="SERVFAIL"))
        dns.asked("remote.example", "MX")   # how often

It answers as a recursive server does: CNAMEs followed, NXDOMAIN and NODATA with an SOA. A record is `[TTL] TYPE data`;
a name that is only a parent of others exists and has no data; `*` stands for the names below that are not there. The
zone may be changed while it runs. It runs in a thread of its own: it serves other processes and other event loops.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from valija.mail.endpoint import Endpoint

Transport = Literal["udp", "tcp"]
DEFAULT_TTL = 300
PATIENCE = 10.0  # seconds a test waits for an event


@dataclass(frozen=True)
class Script:
    """How the server behaves when it is asked for a name.

    `silent`: it never answers. `loses`: the first so many questions get no answer. `delay`: it answers after that many
    seconds. `held`: it answers once `release` is called. `rcode`: it answers with that code and nothing else.
    `truncated`: its answers over UDP are cut short. `authentic`: it says that it validated. `bare_cname`: it leaves
    following CNAMEs to the client. `garbage`: before each answer over UDP it sends noise and forgeries.
    `without_edns`: questions with EDNS get FORMERR.
    """

    silent: bool = False
    loses: int = 0
    delay: float = 0.0
    held: bool = False
    rcode: str = ""
    truncated: bool = False
    authentic: bool = False
    bare_cname: bool = False
    garbage: bool = False
    without_edns: bool = False


@dataclass(frozen=True)
class Asked:
    """One question that came."""

    name: str
    rtype: str
    transport: Transport


@dataclass
class FakeDns:
    """The server. `default` is how it behaves for names without a script; `negative_ttl` is its SOA's minimum."""

    zone: dict[str, list[str]] = field(default_factory=dict)
    default: Script = Script()
    host: str = "127.0.0.1"
    port: int = 0
    negative_ttl: int = 60
    questions: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.zone = {name.lower().rstrip("."): list(records) for name, records in self.zone.items()}
        self._scripts: dict[str, Script] = {}
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # For tests

    @property
    def nameserver(self) -> str:
        """The server as `[dns] nameservers` names it."""
        return str(self.endpoint)

    @property
    def endpoint(self) -> Endpoint:
        """The server's address and port."""
        return Endpoint(self.host, self.port)

    def script(self, name: str, script: Script) -> None:
        """Say how to behave for a name."""
        self._scripts[name.lower().rstrip(".")] = script

    def publish(self, name: str, records: Sequence[str]) -> None:
        """Replace a name's records; none at all takes the name away."""
        key = name.lower().rstrip(".")
        self.zone = {**self.zone, key: list(records)} if records else {k: v for k, v in self.zone.items() if k != key}

    def asked(self, name: str, rtype: str | None = None, transport: Transport | None = None) -> int:
        """Return how often a name was asked for."""
        return sum(
            question.name == name and rtype in (None, question.rtype) and transport in (None, question.transport)
            for question in list(self.questions)
        )

    def wait_for(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until a condition on the questions holds; fail after `patience` seconds."""
        with self._news:
            assert self._news.wait_for(condition, patience), f"not in {patience} s; asked were {self.questions}"

    def release(self) -> None:
        """Let all answers that are held go."""
        self._loop.call_soon_threadsafe(self._released.set)

    # Its life

    def __enter__(self) -> Self:
        udp, tcp = _bind_both(self.host, self.port)
        self.port = udp.getsockname()[1]
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(udp, tcp, started), name="fakedns", daemon=True)
        self._thread.start()
        assert started.wait(PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(PATIENCE)

    def _run(self, udp: socket.socket, tcp: socket.socket, started: threading.Event) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve(udp, tcp, started))

    async def _serve(self, udp: socket.socket, tcp: socket.socket, started: threading.Event) -> None:
        self._stopped = asyncio.Event()
        transport, _ = await self._loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
        server = await asyncio.start_server(self._talk, sock=tcp)
        started.set()
        await self._stopped.wait()
        transport.close()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Its work

    def on_datagram(self, wire: bytes, client: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        """Answer a datagram."""

        def send(script: Script, answer: bytes) -> None:
            for noise in _noise(wire) if script.garbage else ():
                transport.sendto(noise, client)
            transport.sendto(answer, client)

        self._keep(asyncio.ensure_future(self._answer(wire, "udp", send)))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._keep(task)

        def send(_: Script, answer: bytes) -> None:
            writer.write(struct.pack("!H", len(answer)) + answer)

        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                await self._answer(await reader.readexactly(length), "tcp", send)
                await writer.drain()
        writer.close()

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, wire: bytes, transport: Transport, send: Callable[[Script, bytes], None]) -> None:
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        with self._news:
            self.questions.append(Asked(name, dns.rdatatype.to_text(question.rdtype), transport))
            self._news.notify_all()
        script = self._scripts.get(name, self.default)
        if script.silent or self.asked(name) <= script.loses:
            return
        if script.held:
            await self._released.wait()
        if script.delay:
            await asyncio.sleep(script.delay)
        send(script, self._compose(query, name, script, transport))

    def _compose(self, query: dns.message.Message, name: str, script: Script, transport: Transport) -> bytes:
        answer = dns.message.make_response(query, recursion_available=True)
        if script.without_edns and query.edns >= 0:
            answer.set_rcode(dns.rcode.FORMERR)
            answer.use_edns(False)
        elif script.rcode:
            answer.set_rcode(dns.rcode.from_text(script.rcode))
        elif script.truncated and transport == "udp":
            answer.flags |= dns.flags.TC
        else:
            self._fill(answer, name, script)
            if not query.flags & dns.flags.RD:  # who asks so wants the word of an authority
                answer.flags |= dns.flags.AA
            if script.authentic and query.flags & dns.flags.AD:
                answer.flags |= dns.flags.AD
        try:
            size = 65535 if transport == "tcp" else max(query.payload, 512)
            return answer.to_wire(max_size=size, want_shuffle=False)
        except dns.exception.TooBig:
            cut = dns.message.make_response(query, recursion_available=True)
            cut.flags |= dns.flags.TC
            return cut.to_wire()

    def _fill(self, answer: dns.message.Message, name: str, script: Script) -> None:
        rtype = dns.rdatatype.to_text(answer.question[0].rdtype)
        for _ in range(10):
            records = self._records(name)
            found = [record for record in records or () if record.rtype == rtype]
            alias = next((record for record in records or () if record.rtype == "CNAME"), None)
            if found or not alias:
                break
            _append(answer, name, [alias])
            if script.bare_cname:
                return
            name = alias.data.lower().rstrip(".")
        else:
            answer.set_rcode(dns.rcode.SERVFAIL)
            return
        if found:
            _append(answer, name, found)
            return
        if records is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        soa = f"ns.{name}. admin.{name}. 1 3600 600 86400 {self.negative_ttl}"
        answer.authority.append(dns.rrset.from_text(f"{name}.", 3600, "IN", "SOA", soa))

    def _records(self, name: str) -> "list[_Record] | None":
        """Return a name's records, None for a name that does not exist."""
        texts = self.zone.get(name)
        if texts is None:
            labels = name.split(".")
            wildcards = (".".join(["*", *labels[n:]]) for n in range(1, len(labels)))
            texts = next((self.zone[wildcard] for wildcard in wildcards if wildcard in self.zone), None)
        if texts is None:
            return [] if any(other.endswith(f".{name}") for other in self.zone) else None
        return [_Record.parse(text) for text in texts]


@dataclass(frozen=True)
class _Record:
    ttl: int
    rtype: str
    data: str

    @classmethod
    def parse(cls, text: str) -> Self:
        first, rest = text.split(maxsplit=1)
        if first.isdigit():
            rtype, data = rest.split(maxsplit=1)
            return cls(int(first), rtype, data)
        return cls(DEFAULT_TTL, first, rest)


def _append(answer: dns.message.Message, name: str, records: Sequence[_Record]) -> None:
    data = [record.data for record in records]
    answer.answer.append(dns.rrset.from_text_list(f"{name}.", records[0].ttl, "IN", records[0].rtype, data))


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDns) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is no subclass of it

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.on_datagram(data, addr, self._transport)


def _noise(query: bytes) -> list[bytes]:
    """Return what a careless or hostile sender could send in an answer's place."""
    message = dns.message.from_wire(query)
    forged = dns.message.make_response(message)
    forged.answer.append(dns.rrset.from_text(message.question[0].name, 60, "IN", "A", "192.0.2.66"))
    wrong_id = bytearray(forged.to_wire())
    wrong_id[0] ^= 0xFF
    other = dns.message.make_response(dns.message.make_query("evil.example.", "A", id=message.id))
    return [b"", b"\xff" * 11, query, query[:2] + b"\x80", bytes(wrong_id), other.to_wire()]


def _bind_both(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a TCP socket on one port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + PATIENCE
    while True:
        tcp = socket.socket(family, socket.SOCK_STREAM)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((host, port))
            udp.bind((host, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            if port or time.monotonic() > deadline:
                raise
            continue
        tcp.setblocking(False)
        udp.setblocking(False)
        return udp, tcp
