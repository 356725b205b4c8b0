"""Taking turns with a client: octets in, events and replies out, one question at a time.

This is what a session consists of whatever its commands mean. `ServerMachine` adds the commands: it sets `_read`, the
function that reads next, and overrides `_answered`.

    conversation.receive(b"NOOP\\r\\n")
    conversation.next_event()       # runs `_read` until there is an event, or nothing left to read
    conversation.take_output()      # the replies since, for one write
"""

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from valija.mail.reply import Reply
from valija.smtp.answers import TOO_MUCH_AHEAD
from valija.smtp.buffer import Buffer
from valija.smtp.events import Closing, Event
from valija.smtp.reply_lines import LONGEST_LINE, broken
from valija.smtp.rules import ServerRules
from valija.smtp.tally import Tally

HELD_LIMIT: Final = 1024 * 1024  # octets held while a question is open; who still feeds more is cut off

Reader = Callable[[Any], bool]


class Conversation:
    """The turns of one connection. Nothing here raises for what a client does."""

    __slots__ = ("_events", "_input", "_output", "_question", "_read", "_silence", "_tally", "closed", "rules")

    def __init__(self, rules: ServerRules, *, silence: Reply) -> None:
        self.rules = rules
        self.closed = False
        self._tally = Tally(rules)
        self._input = Buffer()
        self._output: list[bytes] = []
        self._events: deque[Event] = deque()
        self._question: Event | None = None
        # Returns whether it made progress, and reads nothing beyond an event. A function and not a bound method: that
        # would tie each machine into a reference cycle.
        self._read: Reader = _read_nothing
        self._expect_silence(silence)

    def receive(self, data: bytes) -> None:
        """Take in octets, cut anywhere. Never raises."""
        if self.closed:
            return
        if len(self._input) > HELD_LIMIT:
            self._end(TOO_MUCH_AHEAD)
        else:
            self._input.feed(data)

    def next_event(self) -> Event | None:
        """Return the next event. None: more octets are needed, or an answer is awaited, or the session has ended."""
        while not self._events:
            if self._question is not None or not self._read(self):
                return None
        event = self._events.popleft()
        if event.needs_answer:
            self._question = event
        return event

    def answer(self, reply: Reply) -> None:
        """Answer the event last returned. A 421 ends the session. After the end it is ignored.

        Raises RuntimeError if nothing was asked.
        """
        if self.closed:
            return
        question, self._question = self._question, None
        if question is None:
            raise RuntimeError("no event awaits an answer")
        if reply.code == 421:
            self._end(reply)
        else:
            self._answered(question, reply)

    def take_output(self) -> bytes:
        """Return the replies that were queued since the last call, to be written at once."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def shut_down(self, reply: Reply) -> None:
        """Queue `reply` (a 421) and end the session: the next event is Closing, a pending question is void."""
        if not self.closed:
            self._events.clear()
            self._end(reply)

    @property
    def awaiting_answer(self) -> bool:
        """Nothing is read until `answer`."""
        return self._question is not None

    @property
    def buffered(self) -> int:
        """Octets held back."""
        return len(self._input)

    @property
    def errors(self) -> int:
        """Protocol errors since the last accepted message."""
        return self._tally.errors

    def _answered(self, question: Event, reply: Reply) -> None:
        raise NotImplementedError

    def _expect_silence(self, reply: Reply) -> None:
        """It is not the client's turn: until `_read` is set anew, any octet gets `reply` and ends the session."""
        self._silence = reply
        self._read = _read_silence

    def _send(self, reply: Reply) -> None:
        self._output.append(_octets_of(reply))

    def _end(self, reply: Reply) -> None:
        self._send(reply)
        self._events.append(Closing(reply))
        self.closed = True
        self._question = None
        self._input.clear()
        self._read = _read_nothing

    def _send_unless(self, limit: Reply | None, reply: Reply) -> None:
        if limit is None:
            self._send(reply)
        else:
            self._end(limit)

    def _refuse(self, reply: Reply) -> None:
        """Answer a syntax error, an unknown command or one out of order."""
        self._send_unless(self._tally.error(), reply)

    def _send_idle(self, reply: Reply) -> None:
        """Answer a lawful command that moves no mail."""
        self._send_unless(self._tally.moved_nothing(), reply)


@lru_cache(maxsize=1024)  # most of what is said is said to everybody
def _octets_of(reply: Reply) -> bytes:
    octets = reply.encode()
    return broken(reply) if len(octets) > LONGEST_LINE or octets.find(b"\r", 0, -2) >= 0 else octets


def _read_nothing(_: Conversation) -> bool:
    return False


def _read_silence(conversation: Conversation) -> bool:
    if not conversation.buffered:
        return False
    conversation._end(conversation._silence)
    return True
