"""The client's side of SMTP and LMTP, against a peer that says anything.

An input has pieces, parted by form feeds: words that say how the session goes (`lmtp`, `chunks`, `stream`, `tls`,
`login` and the cuts, numbers), the content to send, and the peer's replies in turn, the banner first.
"""

import itertools
from collections.abc import Hashable, Sequence

from tests.fuzz.engine import Target
from tests.fuzz.peer import Peer, Taken
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.reply import Reply
from valija.smtp.client import ClientMachine
from valija.smtp.client_content import Unclean
from valija.smtp.client_events import ContentWanted, LoggedIn, Ready, SessionEnded, TlsReady, TransactionEnded
from valija.smtp.client_login import Login
from valija.smtp.client_sasl import Secret
from valija.smtp.client_transaction import Transaction, plan
from valija.smtp.lmtp import LmtpMachine
from valija.smtp.replies import KEPT_TEXT, ReplyParser, Unreadable

_RECIPIENTS = tuple(Recipient(f"r{number}@remote.example", 4, "rfc822;a@b") for number in range(3))
_ENVELOPE = Envelope("alice@local.example", _RECIPIENTS, envid="x+2By", ret="HDRS")
_TRANSACTIONS = 3
_LOST = Reply(450, "4.4.2", "lost")


class Session:
    """Does what a session does, against a Peer; replies come in pieces of these sizes."""

    def __init__(self, words: Sequence[bytes], content: bytes, replies: Sequence[bytes], sizes: Sequence[int]) -> None:
        self.peer = Peer(replies, is_lmtp=b"lmtp" in words)
        self.machine: ClientMachine = LmtpMachine("me") if b"lmtp" in words else ClientMachine("me")
        self.record: list[object] = []
        self.begun: list[Transaction] = []
        self.ended: list[Transaction] = []
        self.ends = 0
        self.sent = b""
        self._words = words
        self._content = content
        self._sizes = itertools.cycle(sizes)
        self._may_begin = False
        while not self.machine.ended and (said := self.peer.hear(self._output())):
            self._hear(said)
        self._output()
        self.machine.end(_LOST)
        self._advance()

    def _output(self) -> bytes:
        output = self.machine.take_output()
        self.sent += output
        return output

    def _hear(self, said: bytes) -> None:
        while said:
            size = next(self._sizes)
            self.machine.receive(said[:size])
            said = said[size:]
            self._advance()

    def _advance(self) -> None:
        machine = self.machine
        while (event := machine.next_event()) is not None:
            self.record.append(type(event).__name__)
            match event:
                case Ready() if b"tls" in self._words and not machine.tls_active and event.capabilities.starttls:
                    machine.start_tls()
                    continue
                case Ready() if b"login" in self._words and not self._may_begin:
                    machine.log_in(Login("LOGIN", Secret("alice@local.example", b"secret")))
                    continue
                case Ready() | LoggedIn():
                    self._may_begin = True
                case TlsReady():
                    machine.tls_started()
                case ContentWanted():
                    for start in range(0, len(self._content), 7):
                        machine.send(self._content[start : start + 7])
                    machine.end_content()
                case TransactionEnded(transaction=transaction):
                    self._note(transaction)
                case SessionEnded(unfinished=unfinished):
                    self.ends += 1
                    for transaction in unfinished:
                        self._note(transaction)
            self._begin()

    def _begin(self) -> None:
        machine = self.machine
        while self._may_begin and machine.can_begin and len(self.begun) < _TRANSACTIONS:
            head = Content.of(self._content)
            content = Content(self._content, len(self._content), "file") if b"stream" in self._words else head
            transaction = plan(
                _ENVELOPE, _RECIPIENTS, content, machine.capabilities,
                chunks=b"chunks" in self._words, kind=machine.transaction_kind,
            )  # fmt: skip
            self.begun.append(transaction)
            machine.begin(transaction)

    def _note(self, transaction: Transaction) -> None:
        self.ended.append(transaction)
        self.record.append([str(transaction.verdict(place)) for place in range(len(_RECIPIENTS))])

    def claims(self) -> list[tuple[int, ...]]:
        """Return, for each transaction of which any is delivered, the places of those recipients."""
        verdicts = [[each.verdict(place) for place in range(len(_RECIPIENTS))] for each in self.ended]
        found = [
            tuple(place for place, reply in enumerate(one) if reply is not None and 200 <= reply.code < 300)
            for one in verdicts
        ]
        return [places for places in found if places]


def run(given: bytes) -> Hashable:
    """Hold a session, and once more with other cuts."""
    pieces = given.split(b"\f")
    words, content, replies = pieces[0].split(), pieces[1] if len(pieces) > 1 else b"", pieces[2:]
    clean = content.replace(b"\r\n", b"")
    sizes = [int(word) for word in words if word.isdigit() and 0 < len(word) < 5 and int(word)] or [1]
    try:
        whole = Session(words, content, replies, [10**9])
    except Unclean:
        assert b"\r" in clean or b"\n" in clean, content
        return "unclean"
    _check(whole, content)
    if whole.peer.is_sane:
        cut = Session(words, content, replies, sizes)
        assert cut.record == whole.record
        assert cut.sent == whole.sent
    return tuple(map(str, whole.record[:8]))


def _check(session: Session, content: bytes) -> None:
    expected = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert session.ended == session.begun
    assert session.ends == 1
    assert session.sent.count(b"\r\n") == session.sent.count(b"\r") == session.sent.count(b"\n")
    assert session.peer.commands[:1] in ([], [b"LHLO me"], [b"EHLO me"])
    for each in session.peer.contents:
        assert each in (expected, b"")  # nothing goes to a peer that says 354 to no recipient
    if session.peer.is_sane:
        assert [Taken(places, expected) for places in session.claims()] == session.peer.taken
    else:
        sound = [taken for taken in session.peer.taken if taken.content == expected]
        assert sound == session.peer.taken
    _check_refusals(session)


def _check_refusals(session: Session) -> None:
    """No verdict is made up: what is permanent was said so."""
    for transaction in session.ended:
        for place in range(len(_RECIPIENTS)):
            reply = transaction.verdict(place)
            assert reply is None or len(reply.text) <= 2 * KEPT_TEXT


def read_replies(given: bytes) -> Hashable:
    """Read replies whole and octet by octet."""
    sizes, _, stream = given.partition(b"\f")
    size = int(sizes) if sizes.isdigit() and 0 < len(sizes) < 4 and int(sizes) else 3
    found = _replies(stream, 10**9)
    assert _replies(stream, size) == _replies(stream, 1) == found
    for reply in found:
        if isinstance(reply, Reply):
            assert 200 <= reply.code <= 599
            assert len(reply.text) <= 2 * KEPT_TEXT
            assert not reply.enhanced or reply.enhanced.startswith(f"{reply.code // 100}.")
    return tuple(reply.code if isinstance(reply, Reply) else 0 for reply in found)[:8]


def _replies(stream: bytes, size: int) -> list[Reply | Unreadable]:
    parser, found = ReplyParser(), list[Reply | Unreadable]()
    for start in range(0, len(stream), size):
        parser.feed(stream[start : start + size])
        while (reply := parser.next()) is not None:
            found.append(reply)
            if isinstance(reply, Unreadable):
                return found
    return found


_REPLIES = (
    b"220 mx\r\n", b"250 ok\r\n", b"250 2.1.0 ok\r\n", b"250-a\r\n250 b\r\n", b"354 go\r\n", b"354-go\r\n354 on\r\n",
    b"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-DSN\r\n250-8BITMIME\r\n250 CHUNKING\r\n", b"250\r\n",
    b"250-mx\r\n250 STARTTLS\r\n", b"250-mx\r\n250-AUTH LOGIN\r\n250 LIMITS MAILMAX=2 RCPTMAX=2\r\n",
    b"421 4.3.2 bye\r\n", b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 2.7.0 in\r\n", b"535 5.7.8 no\r\n",
    b"450 4.7.1 later\r\n", b"452 4.5.3 many\r\n", b"550 5.1.1 no\r\n", b"550-5.1.1 no\r\n550 5.1.1 really\r\n",
    b"500 what\r\n", b"502 5.5.1 no\r\n", b"503 5.5.1 order\r\n", b"250-a\r\n550 b\r\n", b"550-a\r\n250 b\r\n",
    b"250 ok\n", b"2", b"999 x\r\n", b"250ok\r\n", b"220 go\r\n220 again\r\n", b"\r\n", b"250 4.0.0 odd\r\n",
    b"250 \xff\r\n", b"354 go\r\n250 done\r\n",
)  # fmt: skip
_PIECES = tuple(b"\f" + reply for reply in _REPLIES)

TARGETS = (
    Target("smtp_client", run, (*_PIECES, b"\f", b" chunks", b" stream", b" lmtp", b" tls", b" login"), cost=6),
    Target("smtp_replies", read_replies, _REPLIES),
)
