"""A next hop that catches what arrives. Written apart from valija's own machines, so that it judges them.

    with CatchingSink() as sink:                        # or CatchingSink((chain, key)) to offer STARTTLS
        ...                                             # relayhost = sink.relayhost
        caught = sink.wait_for(1)[0]

It takes everything. With a certificate it offers STARTTLS; who comes without is taken too, and `Caught.tls` says which.
"""

import re
import socketserver
import ssl
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, cast

from tests.ports import free_port


class Caught(NamedTuple):
    """One message: envelope, content with CRLF line ends, and how it came. `tls` is None in clear."""

    helo: str
    reverse_path: str
    recipients: tuple[str, ...]
    content: bytes
    tls: str | None

    def field(self, name: str) -> str:
        """Return a header field's value, unfolded; `""` where there is none."""
        head = self.content.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape")
        found = re.search(rf"(?im)^{name}:[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", head)
        return re.sub(r"\r\n[ \t]+", " ", found[1]).strip() if found else ""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024
    sink: "CatchingSink"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or a handshake that fails, ends its own session and nothing else."""


class CatchingSink:
    """Listens on a free loopback port from the moment it is made."""

    def __init__(self, pair: tuple[Path, Path] | None = None, address: str = "127.0.0.1") -> None:
        self.port = free_port(address)
        self.relayhost = f"[{address}]:{self.port}"
        self.caught: list[Caught] = []
        self.changed = threading.Condition()
        self.context: ssl.SSLContext | None = None
        if pair:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*pair)
        self._server = _Server((address, self.port), _Session)
        self._server.sink = self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def add(self, caught: Caught) -> None:
        with self.changed:
            self.caught.append(caught)
            self.changed.notify_all()

    def wait_for(self, count: int, deadline: float = 20.0) -> list[Caught]:
        """Return what was caught once there are at least `count`; fail after `deadline` seconds."""
        end = time.monotonic() + deadline
        with self.changed:
            while len(self.caught) < count:
                left = end - time.monotonic()
                assert left > 0, f"{len(self.caught)} of {count} messages arrived in {deadline} s"
                self.changed.wait(left)
            return list(self.caught)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Session(socketserver.StreamRequestHandler):
    """One connection. Replies wait in the buffer until the client's batch is read (PIPELINING)."""

    timeout = 60
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.sink = cast(_Server, self.server).sink
        self.helo = ""
        self.tls: str | None = None
        self.reverse_path = ""
        self.recipients: list[str] = []

    def handle(self) -> None:
        self.reply("220 sink.example ready")
        while line := self.rfile.readline(4096):
            verb, _, argument = line.decode("utf-8", "surrogateescape").rstrip("\r\n").partition(" ")
            if verb.upper() == "QUIT":
                self.reply("221 2.0.0 bye")
                return
            self.answer(verb.upper(), argument)

    def reply(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
        self.wfile.flush()

    def answer(self, verb: str, argument: str) -> None:
        match verb:
            case "EHLO" | "HELO":
                self.helo = argument
                self.reply(self.greeting() if verb == "EHLO" else "250 sink.example")
            case "STARTTLS" if self.sink.context and not self.tls:
                self.start_tls(self.sink.context)
            case "MAIL":
                self.reverse_path, self.recipients = _path(argument), []
                self.reply("250 2.1.0 ok")
            case "RCPT":
                self.recipients.append(_path(argument))
                self.reply("250 2.1.5 ok")
            case "DATA" if self.recipients:
                self.data()
            case "RSET":
                self.recipients = []
                self.reply("250 2.0.0 ok")
            case "NOOP":
                self.reply("250 2.0.0 ok")
            case _:
                self.reply("503 5.5.1 not now")

    def greeting(self) -> str:
        starttls = "250-STARTTLS\r\n" if self.sink.context and not self.tls else ""
        return (
            f"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n{starttls}250 ENHANCEDSTATUSCODES"
        )

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.reply("220 2.0.0 go ahead")
        secured = context.wrap_socket(self.request, server_side=True)
        self.request = self.connection = secured
        self.rfile, self.wfile = secured.makefile("rb", -1), secured.makefile("wb", -1)
        self.tls, self.helo = secured.version(), ""

    def data(self) -> None:
        self.reply("354 go ahead")
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return
            lines.append(line[1:] if line.startswith(b".") else line)
        self.sink.add(Caught(self.helo, self.reverse_path, tuple(self.recipients), b"".join(lines), self.tls))
        self.recipients = []
        self.reply("250 2.0.0 caught")


def _path(argument: str) -> str:
    return argument[argument.index("<") + 1 : argument.index(">")] if "<" in argument else argument
