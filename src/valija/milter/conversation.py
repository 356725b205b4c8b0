"""One SMTP session's talk with one filter: who is there, transaction by transaction, and what the filter makes of it.

    talk = Conversation(options)
    await talk.mail(guest, "ann@example.net", ["SIZE=100"], macros)       # Continue(), Refuse(reply), Accept() ...
    await talk.rcpt("bob@example.org", [], macros)
    outcome = await talk.message(message, macros)
    talk.reset()
    talk.close()

The connection is opened when the first MAIL comes, and serves the session until it fails; then the next MAIL opens
another. What the filter has said of the client, or of the message, holds without asking again: who accepts is done with
it, who refuses the client refuses each of its messages. Its changes come with its last word alone, so that a filter
that fails half-way has changed nothing.

All methods that wait raise MilterFailed. Everything is bounded: the waits by the options, the number and the size of
changes, a body that takes the place of another by the limit for messages.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from valija.milter import questions
from valija.milter.answers import Answer, Change, Continue, GivesUp, Progress, Refuse, Skip
from valija.milter.line import Line, MilterFailed
from valija.milter.macros import chosen
from valija.milter.options import MilterOptions
from valija.milter.packets import Nonsense
from valija.milter.terms import Stage, Step
from valija.milter.wishes import Message, Outcome, Wishes

LONGEST_WORK: Final = 600.0  # seconds; so long a client waits for the reply to its message (RFC 5321 section 4.5.3.2.6)

_GO_ON: Final = Continue()

Known = Mapping[str, str]
"""Macros by name, and their values."""


class Guest(msgspec.Struct, frozen=True):
    """Who the filter is told is there. `greeting` is all that a new HELO or TLS would change."""

    name: str
    address: str
    port: int
    helo: str
    greeting: tuple[str, ...] = ()


class Conversation:
    """One session's talk with the filter at `options.place`. `close` ends it."""

    def __init__(self, options: MilterOptions) -> None:
        self._options = options
        self._line: Line | None = None
        self._greeting: tuple[str, ...] = ()
        self._of_client: Answer = _GO_ON
        self._of_message: Answer = _GO_ON
        self._in_message = False

    async def mail(self, guest: Guest, address: str, parameters: Iterable[str], known: Known) -> Answer:
        """Tell of a transaction's beginning, and before that, where it is news, of the client."""
        self.reset()
        with self._hanging_up():
            await self._introduce(guest, known)
            if isinstance(self._of_client, Continue):
                self._in_message = True
                question = questions.mail(address, parameters)
                self._of_message = await self._ask(Step.MAIL, Stage.MAIL, question, known)
            return self._so_far

    async def rcpt(self, address: str, parameters: Iterable[str], known: Known) -> Answer:
        """Tell of a recipient. One that is refused is none, and the message goes on."""
        if not isinstance(self._so_far, Continue):
            return self._so_far
        with self._hanging_up():
            answer = await self._ask(Step.RCPT, Stage.RCPT, questions.rcpt(address, parameters), known)
        if not isinstance(answer, Refuse):
            self._of_message = answer
        return answer

    async def message(self, message: Message, known: Known) -> Outcome:
        """Show a whole message; return what becomes of it."""
        if not isinstance(self._so_far, Continue):
            return Outcome(self._so_far)
        longest = max(self._options.content_timeout, LONGEST_WORK)
        with self._hanging_up():
            try:
                async with asyncio.timeout(longest):
                    return await self._judged(message, known)
            except TimeoutError:
                raise MilterFailed(f"it has been at work for {longest:g} s") from None

    def reset(self) -> None:
        """The transaction is over."""
        if self._in_message and self._line is not None:
            self._line.tell(questions.ABORT)
        self._in_message = False
        self._of_message = _GO_ON

    def close(self) -> None:
        """The session is over."""
        line, self._line = self._line, None
        if line is not None:
            line.close(politely=True)

    @property
    def _so_far(self) -> Answer:
        return self._of_message if isinstance(self._of_client, Continue) else self._of_client

    @property
    def _open(self) -> Line:
        if self._line is None:
            raise MilterFailed("the connection to it has ended")
        return self._line

    @contextlib.contextmanager
    def _hanging_up(self) -> Iterator[None]:
        """Have a line closed whose talk was broken off: whatever comes on it would be taken for another's answer."""
        try:
            yield
        except BaseException as failed:
            line, self._line = self._line, None
            self._in_message = False
            if line is not None:
                line.close()
            if isinstance(failed, Nonsense):
                raise MilterFailed(f"it talks nonsense: {failed}") from None
            raise

    # Telling

    async def _introduce(self, guest: Guest, known: Known) -> None:
        """Tell who is there, as far as the filter does not know it."""
        if self._line is not None and self._line.has_ended:  # a filter that was restarted is no reason to refuse mail
            self._line.close()
            self._line = None
        if self._line is None:
            self._greeting, self._of_client = (), _GO_ON
            self._line = await Line.open(self._options)
            question = questions.connect(guest.name, guest.address, guest.port)
            self._of_client = await self._ask(Step.CONNECT, Stage.CONNECT, question, known)
        if isinstance(self._of_client, Continue) and self._greeting != guest.greeting:
            self._greeting = guest.greeting
            self._of_client = await self._ask(Step.HELO, Stage.HELO, questions.helo(guest.helo), known)

    async def _judged(self, message: Message, known: Known) -> Outcome:
        self._of_message = await self._show(message, known)
        if not isinstance(self._of_message, Continue):
            return Outcome(self._of_message)
        outcome = await self._last_word(message, known)
        self._in_message = False
        return outcome

    async def _show(self, message: Message, known: Known) -> Answer:
        """Tell a message, up to its end; return what the filter says before it has seen all, or that it goes on."""
        answer = await self._ask(Step.DATA, Stage.DATA, questions.DATA, known)
        if isinstance(answer, Continue):
            answer = await self._show_header(message.header)
        if isinstance(answer, Continue):
            answer = await self._ask(Step.END_OF_HEADER, Stage.END_OF_HEADER, questions.END_OF_HEADER, known)
        if isinstance(answer, Continue):
            answer = await self._show_body(message.body())
        return answer

    async def _show_header(self, header: bytes) -> Answer:
        terms = self._open.terms
        if not terms.wants(Step.HEADER):
            return _GO_ON
        for packet in questions.header_fields(header, leading_blanks=terms.has_leading_blanks):
            answer = await self._say(Step.HEADER, packet)
            if not isinstance(answer, Continue):
                return answer
        return _GO_ON

    async def _show_body(self, body: Iterable[bytes]) -> Answer:
        if not self._open.terms.wants(Step.BODY):
            return _GO_ON
        for packet in questions.body_chunks(body):
            answer = await self._say(Step.BODY, packet)
            if isinstance(answer, Skip):
                return _GO_ON
            if not isinstance(answer, Continue):
                return answer
            await self._open.heard(self._options.content_timeout)
        return _GO_ON

    async def _ask(self, step: Step, stage: Stage, question: bytes, known: Known) -> Answer:
        """Tell of a step, its macros before it, and return the answer.

        Who does not want the step gets its macros all the same, as from Sendmail: they may be used at a later one.
        """
        terms = self._open.terms
        given = questions.macros(question[4:5], chosen(stage, terms, known))
        if not terms.wants(step):
            self._open.tell(given)
            return _GO_ON
        return await self._say(step, given + question)

    async def _say(self, step: Step, octets: bytes) -> Answer:
        line = self._open
        line.tell(octets)
        if not line.terms.is_answered(step):
            return _GO_ON
        answer = await self._next(self._options.command_timeout)
        if isinstance(answer, Change | Progress) or (isinstance(answer, Skip) and step is not Step.BODY):
            raise Nonsense(f"{type(answer).__name__} as the answer to {step.name}")
        return answer

    # The last word

    async def _last_word(self, message: Message, known: Known) -> Outcome:
        """Ask for it; return it, and what the changes before it come to."""
        line = self._open
        line.tell(questions.macros(b"E", chosen(Stage.END_OF_MESSAGE, line.terms, known)) + questions.END_OF_MESSAGE)
        wishes = Wishes(message, line.terms)
        while True:
            answer = await self._next(self._options.content_timeout)
            if isinstance(answer, Change):
                wishes.add(answer)
            elif isinstance(answer, Skip):
                raise Nonsense("Skip as its last word")
            elif not isinstance(answer, Progress):
                return wishes.outcome(answer)

    async def _next(self, patience: float) -> Answer | Change:
        answer = await self._open.answer(patience)
        if isinstance(answer, GivesUp):
            raise MilterFailed("it says that it can't go on")
        return answer
