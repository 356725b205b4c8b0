"""A mail transaction on the server's side, and the content that it comes to: what smtp/server does not read as lines.

`ServerMachine` reads the commands and is told here whether the next octets are one: each of the readers hands over to
`_read_line`, the reader of commands, when its octets are through.

- DATA ends at CRLF.CRLF, a chunk after its octets. A content that breaks a rule is swallowed to its true end, and has
  its one refusal there.
- A BDAT series that failed is SPOILT: the chunks behind it are swallowed, each with its reply, until RSET.
"""

from typing import Final

from valija.mail.reply import Reply
from valija.smtp import answers, events
from valija.smtp.commands import Chunk
from valija.smtp.conversation import Conversation, Reader
from valija.smtp.events import Event
from valija.smtp.intake import ChunkedContent, DottedContent
from valija.smtp.rules import ServerRules
from valija.smtp.states import IN_A_TRANSACTION, State


class ContentConversation(Conversation):
    """The transaction of one connection, and the readers of its content."""

    __slots__ = ("_binary", "_content", "_left", "_read_line", "_recipients", "_smtputf8", "_state", "_swallowed_for")

    def __init__(self, rules: ServerRules, *, silence: Reply, read_line: Reader) -> None:
        super().__init__(rules, silence=silence)
        self._read_line = read_line
        self._state = State.START
        self._recipients = 0
        self._smtputf8 = False
        self._binary = False
        self._content: DottedContent | ChunkedContent = DottedContent(rules.size_limit)
        self._left = 0  # octets of a chunk that is swallowed
        self._swallowed_for = answers.RESET_FIRST

    @property
    def in_transaction(self) -> bool:
        """Between an accepted MAIL and the end of its content, or RSET."""
        return self._state in IN_A_TRANSACTION

    @property
    def in_content(self) -> bool:
        """The next octets are content."""
        return self._read in _CONTENT_READERS

    # The beginning

    def _await_chunk(self, chunk: Chunk) -> None:
        """Go on with a series of chunks, or begin one and ask the session whether it wants it."""
        begun = self._state is State.CHUNKING
        if not begun:
            limit = self.rules.binary_size_limit if self._binary else self.rules.size_limit
            self._content = ChunkedContent(limit, binary=self._binary)
        assert isinstance(self._content, ChunkedContent)
        self._content.expect(chunk)
        if self._content.is_hopeless(chunk.size):
            self._give_up_content()
        elif begun:
            self._read = ContentConversation._read_content
        else:
            self._left = chunk.size  # to be swallowed if the session refuses
            self._events.append(events.Data())

    def _content_wanted(self, _question: Event, reply: Reply) -> None:
        """Take the session's answer to Data."""
        if isinstance(self._content, ChunkedContent):
            self._chunk_wanted(reply)
        elif self.buffered:
            self._end(answers.AHEAD_OF_354)
        elif reply.code == 354:
            self._send(reply)
            self._read = ContentConversation._read_content
        else:
            self._send_idle(reply)

    def _chunk_wanted(self, reply: Reply) -> None:
        if reply.code == 354:
            self._state = State.CHUNKING
            self._read = ContentConversation._read_content
        else:
            self._state = State.SPOILT
            self._swallowed_for = reply
            self._read = ContentConversation._read_swallowed

    # Reading

    def _read_content(self) -> bool:
        passed, ended = self._content.read(self._input)
        if passed:
            self._events.append(events.ContentChunk(passed))
        if self._content.is_hopeless():
            self._give_up_content()
        elif ended:
            self._read = self._read_line
            self._content_ended()
        return ended or bool(self._events)

    def _read_swallowed(self) -> bool:
        self._left -= len(self._input.take(self._left))
        if self._left:
            return False
        self._read = self._read_line
        self._send(self._swallowed_for)
        return True

    # The end

    def _content_ended(self) -> None:
        refusal = self._content.refusal
        if not self._content.is_last:
            if refusal is None:
                self._send(answers.CHUNK_RECEIVED)
            else:
                self._spoil(refusal)
        elif refusal is None:
            self._events.append(events.ContentEnd())
        else:
            self._end_transaction()
            self._events.append(events.ContentRefused(refusal))
            self._send_idle(refusal)

    def _give_up_content(self) -> None:
        if self._state is State.CHUNKING or self.in_content:
            self._events.append(events.ContentRefused(answers.TOO_BIG))
        self._end(answers.TOO_BIG)

    def _spoil(self, reply: Reply) -> None:
        self._state = State.SPOILT
        self._events.append(events.ContentRefused(reply))
        self._refuse(reply)

    def _swallow_chunk(self, chunk: Chunk, refusal: Reply) -> None:
        # Chunks in the pipeline behind a failed one are no errors of their own (RFC 3030 section 2).
        limit = self._tally.moved_nothing() if refusal is answers.RESET_FIRST else self._tally.error()
        if limit is not None:
            self._end(limit)
        elif ChunkedContent(self.rules.size_limit).is_hopeless(chunk.size):
            self._end(answers.TOO_BIG)
        else:
            self._left, self._swallowed_for = chunk.size, refusal
            self._read = ContentConversation._read_swallowed

    def _drop_transaction(self) -> None:
        if self._state in IN_A_TRANSACTION:
            self._events.append(events.Reset())
            self._end_transaction()

    def _end_transaction(self) -> None:
        self._state = State.READY
        self._recipients = 0


_CONTENT_READERS: Final[tuple[Reader, ...]] = (
    ContentConversation._read_content,
    ContentConversation._read_swallowed,
)
