"""One connection of the probe: what is said and heard, blocking, each answer within its time, and all of it noted.

    with Wire(target, 25) as wire:
        wire.reply()                                  # the banner
        wire.hello()
        wire.say("MAIL FROM:<>")                      # the Reply
        wire.evidence                                 # ["C: MAIL FROM:<>", "S: 250 2.1.0 Ok"]: since the last `mark`

Raises NotOpened where the connection can't be made, Silent where nothing comes, and Gone where it ends. Octets may be
written as they are: a probe says what no client should.
"""

import re
import socket
import ssl
import time
from types import TracebackType
from typing import Final, Self

from valija.mail.reply import Reply
from valija.probe.target import Target
from valija.smtp.client_capabilities import Capabilities, read_capabilities
from valija.smtp.replies import ReplyParser, Unreadable

_LONGEST_SHOWN: Final = 160  # characters of a line of evidence
_AT_ONCE: Final = 65536
_MOST_REPLIES: Final = 20
_PLACE: Final = re.compile(r"\(_ssl\.c:\d+\)")  # in Python's source, which is of no interest here


class Gone(Exception):
    """There is no further answer; the text says why."""


class Silent(Gone):
    """None came in time."""


class NotOpened(Gone):
    """The connection did not come about, or the server takes nobody: what was to be tested was not."""


class Wire:
    """A connection in clear, until `start_tls`."""

    def __init__(self, target: Target, port: int) -> None:
        self._target = target
        self._parser = ReplyParser()
        self.evidence: list[str] = []
        self.capabilities = Capabilities()
        self.is_encrypted = False
        if time.monotonic() > target.deadline:
            raise NotOpened("the probe has taken long enough")
        source = (target.source, 0) if target.source else None
        try:
            self._socket: socket.socket = socket.create_connection((target.address, port), target.timeout, source)
        except OSError as error:
            raise NotOpened(_in_words(error)) from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    # Speaking and hearing

    def mark(self) -> None:
        """Begin the evidence anew."""
        self.evidence = []

    def send(self, octets: bytes, shown: str = "") -> None:
        """Write octets; the evidence has `shown` in their place."""
        text = shown or octets.decode("ascii", "backslashreplace").replace("\r\n", "\n").rstrip("\n")
        self.evidence += [f"C: {_short(line)}" for line in text.split("\n")]
        try:
            self._socket.settimeout(self._target.timeout)
            self._socket.sendall(octets)
        except OSError as error:
            raise Gone(_in_words(error)) from None

    def reply(self, patience: float = 0.0) -> Reply:
        """Return the next reply. `patience`, in seconds, stands in for the target's timeout."""
        limit = patience or self._target.timeout
        end = time.monotonic() + limit
        while (reply := self._parser.next()) is None:
            left = end - time.monotonic()
            if left <= 0:
                raise Silent(f"no answer within {limit:g} s")
            self._parser.feed(self._receive(left))
        if isinstance(reply, Unreadable):
            raise Gone(reply.why)
        lines = reply.encode().decode("utf-8", "backslashreplace").split("\r\n")
        self.evidence += [f"S: {_short(line)}" for line in lines if line]
        return reply

    def _receive(self, patience: float) -> bytes:
        try:
            self._socket.settimeout(patience)
            octets = self._socket.recv(_AT_ONCE)
        except TimeoutError:
            return b""
        except OSError as error:
            raise Gone(_in_words(error)) from None
        if not octets:
            raise Gone("the server closed the connection")
        return octets

    def say(self, command: str, shown: str = "") -> Reply:
        """Send a command and return its reply."""
        self.send(f"{command}\r\n".encode(), shown)
        return self.reply()

    def rest(self) -> list[Reply]:
        """Say QUIT, and return all replies up to the end: some, where there is none."""
        replies: list[Reply] = []
        try:
            self.send(b"QUIT\r\n")
            while len(replies) < _MOST_REPLIES and not (replies and replies[-1].code == 221):
                replies.append(self.reply())
        except Gone:
            pass
        return replies

    # Steps that most tests begin with

    def hello(self) -> Reply:
        """Say EHLO, HELO where that is not known."""
        reply = self.say(f"EHLO {self._target.ehlo}")
        if reply.is_positive:
            self.capabilities = read_capabilities(reply.text)
        else:
            self.capabilities = Capabilities()
            reply = self.say(f"HELO {self._target.ehlo}")
        return reply

    def greet(self) -> Reply:
        """Hear the banner and say EHLO; the evidence begins after it. Raises NotOpened."""
        try:
            banner = self.reply()
            reply = self.hello() if banner.is_positive else banner
        except Gone as why:
            raise NotOpened(str(why)) from None
        if not reply.is_positive:
            raise NotOpened(f"the server says {reply}")
        self.mark()
        return reply

    def ask_for_tls(self, context: ssl.SSLContext) -> None:
        """STARTTLS, the handshake, and EHLO once more. Raises NotOpened; Gone or ssl.SSLError by the handshake."""
        self.agree_on_tls()
        self.start_tls(context)
        self.hello()
        self.mark()

    def agree_on_tls(self) -> None:
        """Say STARTTLS. Raises NotOpened where it is refused."""
        reply = self.say("STARTTLS")
        if reply.code != 220:
            raise NotOpened(f"STARTTLS is refused: {reply}")

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the handshake. Raises Gone; ssl.SSLError where the handshake itself fails."""
        try:
            self._socket.settimeout(self._target.timeout)
            self._socket = context.wrap_socket(self._socket, server_hostname=self._target.server_hostname)
        except ssl.SSLError:
            raise
        except OSError as error:
            raise Gone(_in_words(error)) from None
        self._parser = ReplyParser()
        self.is_encrypted = True
        self.evidence.append(f"-- {self.tls[0]}, {self.tls[1]}")

    @property
    def tls(self) -> tuple[str, str]:
        """TLS version and cipher; empty in clear."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return "", ""
        cipher = self._socket.cipher()
        return self._socket.version() or "", cipher[0] if cipher else ""

    @property
    def certificate(self) -> bytes:
        """The server's certificate in DER; b"" in clear, and where it has none."""
        return (self._socket.getpeercert(binary_form=True) or b"") if isinstance(self._socket, ssl.SSLSocket) else b""

    @property
    def has_more(self) -> bool:
        """Whether octets lie here that no reply was made of yet."""
        return not self._parser.is_empty


def _short(line: str) -> str:
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def tls_words(error: ssl.SSLError) -> str:
    """Return why TLS failed. An error of Python's own has no reason."""
    reason: str = getattr(error, "reason", None) or error.strerror or str(error.args[0])
    return _PLACE.sub("", reason).replace("_", " ").lower().strip(" .")


def _in_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {tls_words(error)}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error)
