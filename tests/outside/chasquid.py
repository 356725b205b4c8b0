"""chasquid's dialogues (test/t-12-minor_dialogs/*.cmy), played against valija.

    for path in dialogues(checkout):
        verdict = play(path, ports)         # ports: {"1025": 23456, ...}
        verdict.faults, verdict.differences

A dialogue has a line for each step, `CONNECTION OPERATION PARAMETERS`: `tcp_connect` and `tls_connect` to a port that
`ports` translates; `->` sends a line and `~>` the value of a Python expression of strings and numbers; `<-` expects a
line, `<~` one that a pattern fits, `<...` lines up to such a one; `close`. What words a server uses is its own affair:
replies are compared by their code, and where a code differs `DIFFERENCES` has to say why.
"""

import ast
import email
import email.policy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.cases.talk import Talk
from tests.dialogs.dialog import flat
from tests.outside.differences import BARE_PATH, DIFFERENCES

FOLDER: Final = "test/t-12-minor_dialogs"
_BARE_PATH: Final = re.compile(r"(RCPT TO|MAIL FROM): ?([^<>\s]+@[^<>\s]+)", re.IGNORECASE)
_CODE: Final = re.compile(r"\d{3}")


@dataclass
class Verdict:
    """What came of one dialogue: the faults found, and the differences that are meant."""

    name: str
    faults: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def dialogues(checkout: Path) -> list[Path]:
    """Return the dialogues of a checkout. Raises FileNotFoundError where there are none."""
    found = sorted((checkout / FOLDER).glob("*.cmy"))
    if not found:
        raise FileNotFoundError(f"no dialogues in {checkout / FOLDER}: is this a checkout of chasquid?")
    return found


def play(path: Path, ports: Mapping[str, int]) -> Verdict:
    """Play a dialogue to its end, or to where it makes no sense any more."""
    verdict = Verdict(path.stem)
    player = _Player(verdict, ports)
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                player.step(number, line)
    except (AssertionError, OSError, ValueError) as error:
        verdict.faults.append(f"{player.place}: {error}")
    finally:
        player.close()
    return verdict


class _Player:
    """The client's side of a dialogue."""

    def __init__(self, verdict: Verdict, ports: Mapping[str, int]) -> None:
        self._verdict = verdict
        self._ports = ports
        self._talk: Talk | None = None
        self._said = ""
        self.place = ""

    def step(self, number: int, line: str) -> None:
        _, operation, *rest = line.split(None, 2)
        parameters = rest[0] if rest else ""
        self.place = f"line {number}"
        match operation:
            case "tcp_connect" | "tls_connect":
                self.close()
                self._talk = Talk(self._ports[parameters.rpartition(":")[2]], tls=operation == "tls_connect")
            case "->":
                self._send(parameters, b"\r\n")
            case "~>":
                self._send(value_of(parameters), b"")
            case "<-" | "<~" | "<...":
                self._expect(parameters)
            case "close":
                self.close()
            case _:
                raise ValueError(f"an operation that is not known here: {operation}")

    def close(self) -> None:
        if self._talk is not None:
            self._talk.socket.close()
        self._talk = None

    def _send(self, text: str, end: bytes) -> None:
        assert self._talk, "it is not connected"
        self._said = text
        self._talk.send(text.encode() + end)

    def _expect(self, pattern: str) -> None:
        """Hear a reply, whole, whose code the pattern names."""
        assert self._talk, "it is not connected"
        said, expected = flat(self._talk.reply() or "closed"), _CODE.match(pattern)
        assert expected, f"no code in {pattern!r}"
        bare = _BARE_PATH.fullmatch(self._said.strip())
        if bare and expected[0] == "250" and said.startswith("501"):
            self._verdict.differences.append(BARE_PATH)
            self._send(f"{bare[1]}:<{bare[2]}>", b"\r\n")
            said = flat(self._talk.reply() or "closed")
        if said[:3] == expected[0]:
            return
        reason = DIFFERENCES.get((self._verdict.name, expected[0], said[:3]))
        assert reason, f"expected {pattern!r}, the server said {said!r} to {self._said[:60]!r}"
        self._verdict.differences.append(f"{expected[0]} there, {said[:3]} here: {reason}")


def value_of(expression: str) -> str:
    """Return the value of an expression of strings, numbers, `+` and `*`. Raises ValueError for any other."""
    value = _value(ast.parse(expression, mode="eval").body)
    if not isinstance(value, str):
        raise ValueError(f"not a string: {expression!r}")
    return value


def _value(node: ast.expr) -> str | int:
    match node:
        case ast.Constant(value=str() | int() as value):
            return value
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return str(_value(left)) + str(_value(right))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return str(_value(left)) * int(_value(right))
    raise ValueError(f"more than strings, + and *: {ast.unparse(node)}")


def differs(expected: str, content: bytes) -> str:
    """Return how a delivered message differs from a `.verify` file, `""` where it has all that stands there."""
    wanted = email.message_from_string(expected, policy=email.policy.default)
    got = email.message_from_bytes(content, policy=email.policy.default)
    for name, value in wanted.items():
        if value != "*" and value not in got.get_all(name, []):
            return f"{name} is {got.get_all(name)}, expected {value!r}"
    body, found = str(wanted.get_payload()).rstrip("\n"), str(got.get_payload()).rstrip("\n")
    return "" if body == found else f"the body is {found!r}, expected {body!r}"
