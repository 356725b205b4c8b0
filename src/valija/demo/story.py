"""What happened to each message, told from the server's log and from what the sink caught.

story = Story(print)
story.hear('2026-11-25T02:30:14.123Z info  accepted  queue_id=3f2a login=demo@example.org tls_version=TLSv1.3')
story.catch(caught)
story.hear('2026-11-25T02:30:14.130Z info  attempt  queue_id=3f2a recipient=you@example.net outcome=delivered ...')
"""

import email
import email.policy
import re
import shlex
from collections.abc import Callable
from email.message import EmailMessage
from typing import Final, TypeVar

import msgspec

from valija.demo.sink import Caught

SHOWN_LINES: Final = 8  # of a body
KEPT: Final = 1000  # messages under way that are remembered

_T = TypeVar("_T")

_LINE = re.compile(r"\S+ (?P<level>\w+) +(?P<event>\S+(?: \S+)*)(?:  (?P<fields>.*))?")


class LogLine(msgspec.Struct, frozen=True):
    """A line of the log in its readable form: what happened, and the values told with it."""

    event: str
    values: dict[str, str]


def read_line(line: str) -> LogLine | None:
    """Take a line of the log apart; None for one that has another form."""
    parts = _LINE.fullmatch(line.strip())
    if not parts:
        return None
    try:
        words = shlex.split(parts["fields"] or "")
    except ValueError:
        return None
    return LogLine(parts["event"], {key: value for key, _, value in (word.partition("=") for word in words)})


class Story:
    """Remembers what it heard of each message until it can tell the whole."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._accepted: dict[str, dict[str, str]] = {}
        self._caught: dict[str, Caught] = {}

    def hear(self, line: str) -> None:
        """Take a line of the log; tell the message's outcome when that is what it says."""
        heard = read_line(line)
        if heard is None or not (queue_id := heard.values.get("queue_id")):
            return
        outcome = heard.values.get("outcome", "")
        if heard.event == "accepted":
            _keep(self._accepted, queue_id, heard.values)
        elif heard.event == "attempt":
            self._tell(self._outcome_line(queue_id, outcome, heard.values))
            if outcome == "delivered" and (caught := self._caught.pop(queue_id, None)):
                self._tell(_view(caught))

    def catch(self, caught: Caught) -> None:
        """Take what the sink was handed."""
        if found := re.search(rb"\sid ([^\s;]+)", caught.content):
            _keep(self._caught, found[1].decode("ascii", "replace"), caught)

    def _outcome_line(self, queue_id: str, outcome: str, values: dict[str, str]) -> str:
        came = self._accepted.get(queue_id, {})
        login = came.get("login") or "nobody"
        arrived = f"in over {came.get('tls_version', 'none')}, logged in: {login}"
        left = f"out over {values.get('tls_version') or 'none'}" if values.get("remote") else "kept here"
        words = f"{queue_id} {outcome} to {values.get('recipient', '?')} ({arrived}; {left})"
        return words if outcome == "delivered" else f"{words}: {values.get('reply', '')}"


def _keep(kept: dict[str, _T], queue_id: str, value: _T) -> None:
    kept[queue_id] = value
    if len(kept) > KEPT:
        del kept[next(iter(kept))]


def _view(caught: Caught) -> str:
    """Return a message in short: what a reader would see of it."""
    mail = email.message_from_bytes(caught.content, _class=EmailMessage, policy=email.policy.default)
    text = next((part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"), "")
    lines = [f"{name}: {mail[name]}" for name in ("From", "To", "Subject") if mail[name]]
    lines += ["", *text.strip().splitlines()[:SHOWN_LINES]]
    return "\n".join(f"    | {_printable(line)}".rstrip() for line in lines)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
