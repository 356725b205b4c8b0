"""A mail server with the faults that a test names, and no others: what a probe has to find out.

    with WeakServer({"injection", "vrfy"}, context) as server:
        server.port

It is written apart from valija's machines, small and blunt. Its faults: `relay`, `percent` (an open percent hack
alone), `catch-all`, `auth` (offered in clear, and judged), `injection`, `state`, `no-starttls`, `clear` (no TLS
where it is due), `lone-lf`, `vrfy`, `falls` (a long line ends it), `greylist`, `mail` (takes mail without a login),
`defers` (454 Relay access denied).
"""

import socket
import socketserver
import ssl
import threading
from collections.abc import Collection
from types import TracebackType
from typing import Self

from tests.live import HOST
from tests.ports import free_port

NAME = "mail.example.org"


class WeakServer:
    """Listens on a free loopback port. `users` makes it a port for users, `tls_first` one that begins with TLS."""

    def __init__(
        self, faults: Collection[str], context: ssl.SSLContext, *, users: bool = False, tls_first: bool = False
    ) -> None:
        self.faults = frozenset(faults)
        self.context = context
        self.users = users or tls_first
        self.tls_first = tls_first
        self.port = free_port()
        self.connections = 0
        self.contents: list[bytes] = []
        self.most_errors = 0  # in one connection

    def __enter__(self) -> Self:
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.connections += 1
                _Session(outer, self.request).run()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that goes away ends its session."""

        self._server = Server((HOST, self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Session:
    def __init__(self, server: WeakServer, connection: socket.socket) -> None:
        self._server = server
        self._faults = server.faults
        self._socket = connection
        self._socket.settimeout(20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        self._tls = False
        self._sender = False
        self._recipients = 0
        self._errors = 0

    def run(self) -> None:
        try:
            if self._server.tls_first and "clear" not in self._faults:
                self._start_tls()
            self._say(f"220 {NAME} ESMTP")
            while (line := self._line()) is not None and self._hear(line):
                pass
        except OSError:
            return
        finally:
            self._server.most_errors = max(self._server.most_errors, self._errors)
            self._socket.close()

    def _line(self) -> bytes | None:
        while b"\n" not in self._held:
            octets = self._socket.recv(65536)
            if not octets:
                return None
            self._held += octets
        line, _, self._held = self._held.partition(b"\n")
        return line.removesuffix(b"\r")

    def _say(self, *lines: str) -> bool:
        if lines[0][0] in "45":
            self._errors += 1
        self._socket.sendall("".join(f"{line}\r\n" for line in lines).encode())
        return True

    def _start_tls(self) -> None:
        self._socket = self._server.context.wrap_socket(self._socket, server_side=True)
        self._tls = True

    def _hear(self, line: bytes) -> bool:
        text = line.decode("latin-1")
        verb, _, rest = text.partition(" ")
        if len(line) > 2000:
            return "falls" not in self._faults and self._say("500 5.5.6 line too long")
        if any(octet > 127 for octet in line):
            return self._say("501 5.5.2 ASCII only")
        answer = {
            "EHLO": self._ehlo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "VRFY": self._vrfy,
        }.get(verb.upper())
        if answer is not None:
            return answer(rest)
        if verb.upper() in ("NOOP", "RSET"):
            self._sender, self._recipients = (self._sender, self._recipients) if verb == "NOOP" else (False, 0)
            return self._say("250 2.0.0 ok")
        if verb.upper() == "QUIT":
            self._say("221 2.0.0 bye")
            return False
        return self._say("502 5.5.1 what?")

    def _ehlo(self, _: str) -> bool:
        offered = []
        if not self._tls and "no-starttls" not in self._faults and not self._server.tls_first:
            offered.append("STARTTLS")
        if (self._tls and self._server.users) or ("auth" in self._faults and not self._tls):
            offered.append("AUTH PLAIN LOGIN")
        lines = [NAME, "SIZE 1000000", *offered]
        return self._say(*(f"250{' ' if n == len(lines) - 1 else '-'}{line}" for n, line in enumerate(lines)))

    def _starttls(self, _: str) -> bool:
        if self._tls or "no-starttls" in self._faults:
            return self._say("502 5.5.1 no")
        self._say("220 2.0.0 go")
        if "injection" not in self._faults:
            self._held = b""
        if "state" not in self._faults:
            self._sender = False
        self._start_tls()
        return True

    def _auth(self, _: str) -> bool:
        if "auth" in self._faults:
            return self._say("535 5.7.8 wrong")
        return self._say("538 5.7.11 encrypt first" if not self._tls else "535 5.7.8 wrong")

    def _mail(self, _: str) -> bool:
        if self._server.users and "mail" not in self._faults:
            return self._say("530 5.7.0 log in first")
        self._sender = True
        return self._say("250 2.1.0 ok")

    def _rcpt(self, rest: str) -> bool:
        if not self._sender:
            return self._say("503 5.5.1 MAIL first")
        if "greylist" in self._faults:
            return self._say("450 4.7.1 greylisted, come again")
        address = rest.removeprefix("TO:").strip("<>")
        local, _, domain = address.rpartition("@")
        is_here = domain in ("example.org", NAME, "localhost") or domain.startswith("[") or address == "postmaster"
        is_known = local in ("alice", "postmaster") or address == "postmaster"
        taken = (
            "relay" in self._faults
            or ("percent" in self._faults and "%" in local and is_here)
            or (is_here and (is_known or "catch-all" in self._faults))
        )
        if taken:
            self._recipients += 1
            return self._say("250 2.1.5 ok")
        if is_here:
            return self._say("550 5.1.1 unknown")
        return self._say(f"{'454 4.7.1' if 'defers' in self._faults else '554 5.7.1'} Relay access denied")

    def _data(self, _: str) -> bool:
        if not self._recipients:
            return self._say("554 5.5.1 no recipients")
        self._say("354 go")
        ends = [b"\r\n.\r\n", *([b"\n.\n", b"\n.\r\n", b"\r\n.\n"] if "lone-lf" in self._faults else [])]
        content = self._held
        while not any(end in content for end in ends):
            octets = self._socket.recv(65536)
            if not octets:
                return False
            content += octets
        place, end = min((content.find(end), end) for end in ends if end in content)
        self._server.contents.append(content[:place])
        self._held = content[place + len(end) :]
        self._recipients, self._sender = 0, False
        return self._say("250 2.0.0 taken")

    def _vrfy(self, rest: str) -> bool:
        if "vrfy" not in self._faults:
            return self._say("252 2.0.0 perhaps")
        return self._say("250 2.1.5 yes" if rest.startswith("postmaster") else "550 5.1.1 no such user")
