"""The conversation as it is shown: who said what, line by line, and never a secret.

    record = Record(show=print)
    record.sent(b"EHLO me\\r\\n")                                # C: EHLO me
    record.heard(b"250-mx\\r\\n250 AUTH PLAIN\\r\\n")              # S: 250-mx, S: 250 AUTH PLAIN
    record.sent(b"AUTH PLAIN AGFsaWNl...\\r\\n", Kind.LOGIN)     # C: AUTH PLAIN ***
    record.note("TLSv1.3, TLS_AES_256_GCM_SHA384")             # -- TLSv1.3, TLS_AES_256_GCM_SHA384

What belongs to a login is masked for what it is, whatever it holds: our lines but for the name of the mechanism, and
the server's challenges. A server that repeats in any other line what was sent in a login has that line masked too.

Known weakness: a secret of fewer than four characters is not looked for in other lines: it would be found everywhere.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Literal

import msgspec

MASK: Final = "***"
SHOWN_CONTENT: Final = 40  # lines of a content
_SHORTEST_SECRET: Final = 4  # characters
_LONGEST_LINE: Final = 1000  # characters that are shown


class Kind(Enum):
    """What a piece of the conversation belongs to."""

    PLAIN = auto()
    LOGIN = auto()
    CONTENT = auto()


class Line(msgspec.Struct, frozen=True):
    """One line of the conversation; `text` is printable. `who` is `note` for our own words about it."""

    who: Literal["client", "server", "note"]
    text: str

    def __str__(self) -> str:
        return f"{_SIGNS[self.who]} {self.text}".rstrip()


_SIGNS: Final = {"client": "C:", "server": "S:", "note": "--"}


class Record:
    """Keeps the lines of one conversation, and hands each to `show` as soon as it is whole."""

    def __init__(self, show: Callable[[Line], None] = lambda line: None) -> None:
        self.lines: list[Line] = []
        self._show = show
        self._secrets: set[str] = set()
        self._rest = b""  # of the server's line that has not ended

    def note(self, text: str) -> None:
        """Say something about the conversation."""
        self._add("note", text)

    def hide(self, secret: str) -> None:
        """Mask each of the server's lines that holds this, from now on."""
        if len(secret) >= _SHORTEST_SECRET:
            self._secrets.add(secret)

    def sent(self, octets: bytes, kind: Kind = Kind.PLAIN) -> None:
        """Record what the client writes: whole lines."""
        lines = octets.decode("utf-8", "backslashreplace").removesuffix("\r\n").split("\r\n")
        if kind is Kind.LOGIN:
            lines = [self._masked_login(line) for line in lines]
        shown = lines[:-1][:SHOWN_CONTENT] if kind is Kind.CONTENT else lines
        for line in shown:
            self._add("client", line)
        if kind is Kind.CONTENT:
            if len(shown) < len(lines) - 1:
                self.note(f"and {len(lines) - 1 - len(shown)} more lines, {len(octets)} octets in all")
            self._add("client", lines[-1])

    def heard(self, octets: bytes, kind: Kind = Kind.PLAIN) -> None:
        """Record what the server wrote, cut anywhere."""
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
            self._add("server", self._masked(text, kind))
        if len(self._rest) > _LONGEST_LINE:  # it shall be seen, and cost no memory
            self._add("server", self._masked(self._rest.decode("utf-8", "backslashreplace"), kind))
            self._rest = b""

    def _masked_login(self, line: str) -> str:
        """Mask a line of ours, and remember what it held."""
        words = line.split(" ")
        if words[0] == "AUTH" and len(words) > 1:
            payloads, shown = words[2:], words[:2]
        else:
            payloads, shown = [line], []
        for payload in payloads:
            self.hide(payload)
        masks = [MASK if payload not in ("", "=", "*") else payload for payload in payloads]
        return " ".join([*shown, *masks])

    def _masked(self, text: str, kind: Kind) -> str:
        if kind is Kind.LOGIN and text.startswith("334"):
            return f"334 {MASK}" if text[4:] else text
        if any(secret in text for secret in self._secrets):
            return f"{text[:4]}{MASK}"
        return text

    def _add(self, who: Literal["client", "server", "note"], text: str) -> None:
        short = text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}..."
        line = Line(who, "".join(char if char.isprintable() else ascii(char)[1:-1] for char in short))
        self.lines.append(line)
        self._show(line)
