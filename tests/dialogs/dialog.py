"""Dialogues: readable SMTP conversations that are tests, played against whatever speaks as a server.

A file begins with settings, `name: value` each, up to the first empty line:

    role: submission            smtpd (default), submission or submissions
    tls: required               any other name is a number or word of the server's rules (smtp/rules)

Then come the lines of the conversation:

    # a comment
    C: EHLO client.example      the client sends this and CRLF
    C> EHLO cli                 ... and no CRLF
    S: 250 * | STARTTLS*        the server's next reply, which has to fit this pattern
    N: *AUTH*                   the reply before, which must not fit this one
    = starttls                  the client does the TLS handshake
    = silence                   the server has said nothing more so far
    = closed                    the server has ended the session
    = message                   the message accepted last is, octet for octet, made of the `|` lines that follow
    | Subject: x

Client lines that stand together are sent in one write. Their escapes are those of Python's bytes (`\\r`, `\\n`,
`\\x00`, `\\\\`), and `{x*2000}` stands for two thousand x; the text is otherwise UTF-8. A reply is written as its code,
a blank, and the texts of its lines with ` | ` between them. In a pattern `*` is any text, and nothing else is special.

The site that the dialogues speak to: it hosts `local.example` with the accounts alice (password `secret`), bob, carol
(password `x`) and postmaster, sends for logged-in users only, and is called `mail.local.example`. Nothing is relayed
for the client's address.

    for script in dialogs(folder):
        play(script, peer)      # peer: whoever connects to the server
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_SETTING = re.compile(r"([a-z_]+): *(.+)")
_REPEAT = re.compile(rb"\{(.)\*([0-9]+)\}", re.DOTALL)
_STEPS = ("C:", "C>", "S:", "N:", "= ", "| ")


class Peer(Protocol):
    """The client's end of a connection to a server."""

    def send(self, octets: bytes) -> None:
        """Write these octets at once."""

    def reply(self) -> str | None:
        """Wait for the next reply and return it, code and lines as they came, LF between; None: there will be none."""

    def is_silent(self) -> bool:
        """Whether no reply has come that was not fetched."""

    def start_tls(self) -> None:
        """Do the TLS handshake."""

    def is_closed(self) -> bool:
        """Wait for the server to end the session; False if it doesn't."""

    def message(self) -> bytes:
        """Return the content of the message accepted last."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a conversation: its kind (`C:`, `S:` ...), its text, and where it stands."""

    kind: str
    text: str
    number: int


@dataclass(slots=True)
class Dialog:
    """One file."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    @property
    def role(self) -> str:
        """The listener it speaks to."""
        return self.settings.get("role", "smtpd")


def dialogs(folder: Path) -> list[Dialog]:
    """Return the dialogues in a folder, by name."""
    return [parse(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.smtp"))]


def parse(name: str, text: str) -> Dialog:
    """Return the dialogue that `text` writes out. Raises ValueError naming the line that makes no sense."""
    dialog = Dialog(name)
    head, _, body = text.partition("\n\n")
    for line in head.splitlines():
        setting = _SETTING.fullmatch(line.strip())
        if setting:
            dialog.settings[setting[1]] = setting[2]
        elif not line.startswith("#"):
            raise ValueError(f"{name}: not a setting: {line!r}")
    for number, line in enumerate(body.splitlines(), start=head.count("\n") + 3):
        if not line.strip() or line.startswith("#"):
            continue
        if line[:2] not in _STEPS and line not in ("=", "|"):
            raise ValueError(f"{name}:{number}: not a line of a dialogue: {line!r}")
        dialog.steps.append(Step(line[:2], line[3:] if line[:2] in ("C:", "C>", "S:", "N:") else line[2:], number))
    return dialog


def play(dialog: Dialog, peer: Peer) -> None:
    """Play a dialogue. Raises AssertionError naming the line where the server said something else."""
    pending = bytearray()
    last = ""
    steps = iter(dialog.steps)
    for step in steps:
        where = f"{dialog.name}.smtp:{step.number}"
        if step.kind in ("C:", "C>"):
            pending += octets(step.text) + (b"\r\n" if step.kind == "C:" else b"")
            continue
        if pending:
            peer.send(bytes(pending))
            pending.clear()
        if step.kind == "S:":
            reply = peer.reply()
            assert reply is not None, f"{where}: no reply, expected {step.text!r}"
            last = flat(reply)
            assert fits(last, step.text), f"{where}: the server said {last!r}, expected {step.text!r}"
        elif step.kind == "N:":
            assert not fits(last, step.text), f"{where}: {last!r} fits {step.text!r}"
        elif step.kind == "= ":
            _ACTS[step.text](peer, where, dialog, step)


def _silence(peer: Peer, where: str, _dialog: Dialog, _step: Step) -> None:
    assert peer.is_silent(), f"{where}: the server said {peer.reply()!r}"


def _closed(peer: Peer, where: str, _dialog: Dialog, _step: Step) -> None:
    assert peer.is_closed(), f"{where}: the session goes on"


def _starttls(peer: Peer, _where: str, _dialog: Dialog, _step: Step) -> None:
    peer.start_tls()


def _message(peer: Peer, where: str, dialog: Dialog, step: Step) -> None:
    following = dialog.steps[dialog.steps.index(step) + 1 :]
    expected = b""
    for line in following:
        if line.kind not in ("| ", "|"):
            break
        expected += octets(line.text) + b"\r\n"
    message = peer.message()
    assert message.endswith(expected), f"{where}: the message is {message!r}, expected {expected!r}"


_ACTS = {"silence": _silence, "closed": _closed, "starttls": _starttls, "message": _message}


def octets(text: str) -> bytes:
    """Return the octets that a client line stands for."""
    repeated = _REPEAT.sub(lambda match: match[1] * int(match[2]), text.encode())
    if b"\\" not in repeated:
        return repeated
    return repeated.decode("unicode_escape").encode("latin-1")


def flat(reply: str) -> str:
    """Return a reply on one line: `250-a`, `250 b` become `250 a | b`."""
    lines = reply.split("\n")
    return f"{lines[0][:3]} " + " | ".join(line[4:] for line in lines)


def fits(text: str, pattern: str) -> bool:
    """Whether a text fits a pattern in which `*` is any text."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None
