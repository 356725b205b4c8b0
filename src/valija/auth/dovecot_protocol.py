"""The client's side of Dovecot's authentication protocol, versions 1.1 and up, without any input or output.

    link = DovecotLink(pid=4711)
    link.hello                                   # to be written when the connection is there
    link.receive(b"VERSION\\t1\\t2\\nMECH\\tPLAIN\\tplaintext\\nSPID\\t1\\n...DONE\\n")
    link.mechanisms                              # ("PLAIN",), once link.is_ready
    number, octets = link.begin("PLAIN", facts, b"\\0alice\\0secret")
    link.receive(b"OK\\t1\\tuser=alice\\n")        # [Verdict(1, Success("alice"))]

Lines end in LF and consist of fields parted by TAB; what a field must not hold is escaped by \\001. A verdict counts
only as a complete line with the number of a request of ours that is still open. A peer that does not keep to that is
Nonsense, and the connection is worth nothing any more.

What may travel in a request can't be forged by a user: names and passwords are base64, addresses come from the system.

Known weakness: no channel binding (SCRAM-...-PLUS) and no EXTERNAL through Dovecot; they are not offered.
"""

import base64
import binascii
import re
from typing import Final

import msgspec

from valija.auth.backend import Challenge, ConnectionFacts, Step, Success, Unavailable, Wrong

LONGEST_LINE: Final = 64 * 1024  # octets; Dovecot's own lines have 8 KiB at most
LONGEST_RESPONSE: Final = 5900  # octets before base64: Dovecot 2.3 hangs up on whoever writes a line of over 8 KiB
_MOST_NUMBERS: Final = 1 << 31
_OUR_VERSION: Final = b"VERSION\t1\t2\n"

# Flags of mechanisms that are never offered: one lets everybody in, the other is for Dovecot's own use.
_NEVER: Final = frozenset({"anonymous", "private"})
_BEYOND_US: Final = frozenset({"ANONYMOUS", "EXTERNAL", "DOVECOT-TOKEN"})
_MECHANISM_NAME: Final = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,19}")  # RFC 4422 section 3.1

_NUMBER: Final = re.compile(rb"[0-9]{1,10}")
_UNESCAPED: Final = {b"0": b"\0", b"1": b"\1", b"t": b"\t", b"r": b"\r", b"n": b"\n"}
_ESCAPE: Final = re.compile(rb"\x01(.)", re.DOTALL)


class Nonsense(Exception):
    """The peer does not speak the protocol; the text says what it said instead."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What Dovecot says about the request `number`."""

    number: int
    step: Step


class DovecotLink:
    """One connection's state. Everything is lost with the connection."""

    def __init__(self, pid: int) -> None:
        self.hello = _OUR_VERSION + f"CPID\t{pid}\n".encode()
        self.is_ready = False
        self.mechanisms: tuple[str, ...] = ()
        self._offered: list[str] = []
        self._buffer = b""
        self._last = 0
        self._open: set[int] = set()

    def receive(self, octets: bytes) -> list[Verdict]:
        """Take octets from Dovecot; return the verdicts in them. Raises Nonsense."""
        *lines, self._buffer = (self._buffer + octets).split(b"\n")
        if len(self._buffer) > LONGEST_LINE:
            raise Nonsense(f"a line of more than {LONGEST_LINE} octets")
        verdicts = []
        for line in lines:
            verdict = self._take(line)
            if verdict is not None:
                verdicts.append(verdict)
        return verdicts

    def begin(self, mechanism: str, facts: ConnectionFacts, response: bytes | None) -> tuple[int, bytes]:
        """Return the number of a new request, and what to write for it."""
        self._last = self._last % _MOST_NUMBERS + 1
        number = self._last
        self._open.add(number)
        fields = ["AUTH", str(number), mechanism, "service=smtp", *_about(facts)]
        if response is not None:
            fields.append("resp=" + base64.b64encode(response).decode())  # has to be the last one
        return number, "\t".join(fields).encode() + b"\n"

    def go_on(self, number: int, response: bytes) -> bytes:
        """Return what to write for the client's next response."""
        return f"CONT\t{number}\t".encode() + base64.b64encode(response) + b"\n"

    def cancel(self, number: int) -> bytes:
        """Forget a request; return what to write for that, nothing where it has ended already."""
        if number not in self._open:
            return b""
        self._open.discard(number)
        return f"CANCEL\t{number}\n".encode()

    @property
    def open_requests(self) -> int:
        """How many requests wait for a verdict, or for the client."""
        return len(self._open)

    def _take(self, line: bytes) -> Verdict | None:
        name, *fields = line.split(b"\t")
        if name in _VERDICTS:
            return self._verdict(name, fields)
        if self.is_ready:
            return None  # something of a later version, which is none of our business
        if name == b"VERSION":
            _check_version(fields)
        elif name == b"MECH":
            self._add_mechanism([_text(field) for field in fields])
        elif name == b"DONE":
            self.is_ready = True
            self.mechanisms = tuple(self._offered)
        elif name not in _SAID_AT_FIRST:
            raise Nonsense(f"it begins with {line[:40]!r}")
        return None

    def _add_mechanism(self, fields: list[str]) -> None:
        name, flags = (fields[0].upper(), fields[1:]) if fields else ("", [])
        is_usable = _MECHANISM_NAME.fullmatch(name) and name not in _BEYOND_US and not name.endswith("-PLUS")
        if is_usable and name not in self._offered and _NEVER.isdisjoint(flags):
            self._offered.append(name)

    def _verdict(self, name: bytes, fields: list[bytes]) -> Verdict | None:
        if not fields or not _NUMBER.fullmatch(fields[0]):
            raise Nonsense("a verdict without a number")
        number = int(fields[0])
        if number not in self._open:
            return None  # cancelled meanwhile
        if name == b"CONT":
            return Verdict(number, Challenge(_decoded(fields[1] if len(fields) > 1 else b"")))
        self._open.discard(number)
        said = _parameters(fields[1:])
        return Verdict(number, _success(said) if name == b"OK" else _failure(said))


_FOREIGN: Final = frozenset({" ", "\N{REPLACEMENT CHARACTER}"})  # in no name that could be an address's local part
_VERDICTS: Final = frozenset({b"OK", b"FAIL", b"CONT"})
_SAID_AT_FIRST: Final = frozenset({b"SPID", b"CUID", b"COOKIE"})


def _about(facts: ConnectionFacts) -> list[str]:
    """Return what Dovecot is told of the connection.

    `nologin`: nobody asks its master who logged in. `no-penalty`: after wrong passwords it would hold back all logins
    from that address, right ones too, for up to 15 seconds, which is longer than a mail program should wait.
    """
    ports = {"rport": facts.client_port, "lport": facts.local_port}
    addresses = {"rip": facts.client_address, "lip": facts.local_address}
    told = [f"{name}={value}" for name, value in (*addresses.items(), *ports.items()) if value]
    return [*(["secured"] if facts.secured else []), "nologin", "no-penalty", *told]


def _check_version(fields: list[bytes]) -> None:
    if not fields or fields[0] != b"1":
        raise Nonsense(f"it speaks version {_text(b'.'.join(fields)) or '?'} of its protocol, not 1")


def _success(said: dict[str, str]) -> Step:
    user = said.get("user", "")
    if not user or not user.isprintable() or not _FOREIGN.isdisjoint(user):
        return Unavailable(f"Dovecot let in a user without a usable name: {user!r}")
    return Success(user, _decoded(said["resp"].encode()) if "resp" in said else b"")


def _failure(said: dict[str, str]) -> Step:
    if "temp" in said or said.get("code") == "temp_fail":
        return Unavailable(f"Dovecot: {said.get('reason') or 'temporary failure, its own log says why'}")
    user = said.get("user", "")
    return Wrong(user if user.isprintable() else "")


def _parameters(fields: list[bytes]) -> dict[str, str]:
    pairs = (_text(field).partition("=") for field in fields)
    return {name: value for name, _, value in pairs}


def _text(field: bytes) -> str:
    unescaped = _ESCAPE.sub(lambda found: _UNESCAPED.get(found[1], found[1]), field)
    return unescaped.decode("utf-8", "replace")


def _decoded(field: bytes) -> bytes:
    try:
        return base64.b64decode(field, validate=True)
    except binascii.Error:
        raise Nonsense(f"what should be base64 is {field[:40]!r}") from None
