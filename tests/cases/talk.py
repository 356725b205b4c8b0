"""A client of raw octets, for saying to a running server what no mail library would say.

    with Talk(server.submission) as client:
        client.hello()
        client.start_tls()
        client.log_in("alice@local.example", "secret")
        assert client.say("MAIL FROM:<alice@local.example>").startswith("250")

Each wait has a deadline. `settle` is the way to know that the server has seen all octets, without waiting for a time.
"""

import base64
import select
import socket
import ssl
from types import TracebackType
from typing import Final, Self

from tests.live import HOST, trust_all

DEADLINE: Final = 20.0  # seconds

_CONTEXT: Final = trust_all()


class Talk:
    """One connection. `source` is the loopback address to come from; `tls` begins TLS with the first octet."""

    def __init__(self, port: int, *, source: str = HOST, tls: bool = False, host: str = HOST) -> None:
        self._place = (host, port)
        self.socket: socket.socket = socket.create_connection(self._place, DEADLINE, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._source = source
        self._tls_first = tls
        self._held = b""
        if tls:
            self.start_tls()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    # Speaking and hearing

    def send(self, octets: bytes) -> None:
        """Write octets. That the server has closed is found out by `reply`."""
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return

    def reply(self) -> str | None:
        """Return the next reply, its lines as they came with LF between them; None at the end."""
        lines: list[str] = []
        while (line := self._line()) is not None:
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)
        assert not lines, f"the server stopped within a reply: {lines}"
        return None

    def say(self, *lines: str) -> str:
        """Send lines at once; return the reply to the last of them. Each must get one."""
        self.send("".join(f"{line}\r\n" for line in lines).encode())
        replies = [self.reply() for _ in lines]
        assert replies[-1] is not None, f"no reply to {lines[-1]!r}, the replies were {replies}"
        return replies[-1]

    def start_tls(self) -> None:
        """Do the handshake."""
        assert not self._held
        self.socket = _CONTEXT.wrap_socket(self.socket)

    def is_silent(self) -> bool:
        """Whether the server, having seen all that was sent, has said nothing more."""
        self.settle()
        pending = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0
        return not self._held and not pending and not select.select([self.socket], [], [], 0)[0]

    def is_closed(self) -> bool:
        """Wait for the end of the session; False where there is another reply instead."""
        return self._line() is None

    def settle(self) -> None:
        """Return when the server has seen all octets: it greets a later client, and serves the earlier one first."""
        host, port = self._place
        with Talk(port, host=host, source=self._source, tls=self._tls_first) as later:
            assert (later.reply() or "").startswith("220")

    def _line(self) -> str | None:
        while b"\r\n" not in self._held:
            try:
                octets = self.socket.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                octets = b""
            if not octets:
                assert not self._held, f"the server stopped within a line: {self._held!r}"
                return None
            self._held += octets
        line, _, self._held = self._held.partition(b"\r\n")
        return line.decode()

    # Whole steps

    def hello(self, name: str = "client.example") -> str:
        """Hear the banner, say EHLO."""
        banner = self.reply() or ""
        assert banner.startswith("220 "), banner
        return self.ehlo(name)

    def ehlo(self, name: str = "client.example") -> str:
        """Say EHLO; return its reply."""
        answer = self.say(f"EHLO {name}")
        assert answer.startswith("250"), answer
        return answer

    def log_in(self, login: str, password: str) -> None:
        """AUTH PLAIN."""
        answer = self.say(f"AUTH PLAIN {plain(login, password)}")
        assert answer.startswith("235"), answer

    def begin(self, sender: str, *recipients: str, parameters: str = "") -> None:
        """Give an envelope and DATA; all must be accepted."""
        answers = [self.say(f"MAIL FROM:<{sender}>{parameters}")]
        answers += [self.say(f"RCPT TO:<{recipient}>") for recipient in recipients]
        answers.append(self.say("DATA"))
        assert [answer[:3] for answer in answers] == ["250"] * (len(recipients) + 1) + ["354"], answers

    def send_message(self, sender: str, recipient: str, content: bytes, *more: str, parameters: str = "") -> str:
        """Send a message whose lines end in CRLF and need no dots; return the last reply."""
        self.begin(sender, recipient, *more, parameters=parameters)
        self.send(content + b".\r\n")
        return self.reply() or "closed"


def submitter(port: int, login: str, password: str, *, tls: bool = False, source: str = HOST) -> Talk:
    """Return a client that has logged in, on `submission`, or with `tls` on `submissions`."""
    client = Talk(port, tls=tls, source=source)
    client.hello()
    if not tls:
        assert client.say("STARTTLS").startswith("220")
        client.start_tls()
        client.ehlo()
    client.log_in(login, password)
    return client


def plain(login: str, password: str) -> str:
    """Return the initial response of AUTH PLAIN."""
    return base64.b64encode(f"\0{login}\0{password}".encode()).decode()


def queue_id_of(reply: str) -> str:
    """Return the queue id that a 250 names."""
    assert reply.startswith("250 2.0.0 Ok: queued as "), reply
    return reply.rpartition(" ")[2]
