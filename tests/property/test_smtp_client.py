"""The client machine under any chunking and any octets: same events, no exception, every recipient accounted for."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.reply import Reply
from valija.smtp.client import ClientMachine
from valija.smtp.client_content import Stuffing, Unclean, stuff
from valija.smtp.client_events import ContentWanted, Ready, SessionEnded, TlsReady, TransactionEnded
from valija.smtp.client_transaction import Transaction, plan
from valija.smtp.replies import ReplyParser, Unreadable

CLEAN = st.lists(st.sampled_from([b".", b"a", b"\r\n", b"..", b"\xff"]), max_size=30).map(b"".join)
LINE = st.sampled_from(
    [
        b"250 2.1.0 ok",
        b"250-PIPELINING",
        b"250 PIPELINING",
        b"250",
        b"354 go",
        b"220 hello",
        b"450 4.7.1 later",
        b"452 4.5.3 many",
        b"550 5.1.1 no",
        b"550-no",
        b"421 4.3.2 bye",
        b"554 4.4.4 odd",
        b"25",
        b"",
    ]
)
REPLY = st.one_of(
    st.sampled_from([b"250 2.1.0 ok\r\n"] * 4 + [b"354 go\r\n"] * 2 + [b"550 5.1.1 no\r\n", b"250-a\r\n250 b\r\n"]),
    st.sampled_from([b"451 4.7.1 later\r\n", b"452 4.5.3 many\r\n", b"421 4.3.2 bye\r\n", b"nonsense\r\n"]),
)
CONVERSATION = st.lists(LINE, max_size=40).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
GARBAGE = st.one_of(
    st.binary(max_size=200), CONVERSATION, st.tuples(CONVERSATION, st.binary(max_size=60)).map(b"".join)
)
CUTS = st.lists(st.integers(0, 400), max_size=12)


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    at = sorted({0, *(place for place in places if place < len(octets)), len(octets)})
    return [octets[start:end] for start, end in itertools.pairwise(at)]


class Driver:
    """Does what a session does: begins three transactions as they become possible, streams what is asked for."""

    def __init__(self, kinds: tuple[str, ...] = ("data", "streamed", "data")) -> None:
        self.kinds = kinds
        self.machine = ClientMachine("me")
        self.record: list[object] = []
        self.sent = b""
        self.begun: list[Transaction] = []
        self.ended: list[Transaction] = []

    def feed(self, octets: bytes) -> None:
        self.machine.receive(octets)
        self.advance()

    def advance(self) -> None:
        machine = self.machine
        while (event := machine.next_event()) is not None:
            self.record.append(type(event).__name__)
            if isinstance(event, ContentWanted):
                machine.send(b"streamed\r\n")
                machine.end_content()
            elif isinstance(event, TransactionEnded):
                self.ended.append(event.transaction)
                self.record.append([str(event.transaction.verdict(place)) for place in range(2)])
            elif isinstance(event, SessionEnded):
                self.ended += event.unfinished
                self.record.append((str(event.reply), event.step, len(event.unfinished)))
            elif isinstance(event, TlsReady | Ready):
                pass
            self.begin()
        self.sent += machine.take_output()

    def begin(self) -> None:
        machine = self.machine
        while machine.can_begin and machine.replies >= 2 and len(self.begun) < 3:
            kind = self.kinds[len(self.begun)]
            commands = [b"MAIL\r\n", b"RCPT\r\n", b"RCPT\r\n"]
            if kind == "chunk" and machine.capabilities.pipelining:
                transaction = Transaction([*commands, b"BDAT 3 LAST\r\n"], b"x\r\n", is_chunk=True)
            else:
                payload = None if kind == "streamed" else b"x\r\n.\r\n"
                transaction = Transaction([*commands, b"DATA\r\n"], payload)
            self.begun.append(transaction)
            machine.begin(transaction)


KINDS = st.tuples(*[st.sampled_from(["data", "streamed", "chunk"])] * 3)


def converse(pieces: list[bytes], kinds: tuple[str, ...] = ("data", "streamed", "data")) -> Driver:
    driver = Driver(kinds)
    for piece in pieces:
        driver.feed(piece)
    return driver


def converse_in_turn(replies: list[bytes], places: list[int], kinds: tuple[str, ...]) -> Driver:
    """A peer that answers what it was asked, a flight at a time, cut at `places`; the last flight may be cut short."""
    driver, answers = Driver(kinds), iter([b"220 mx\r\n", *replies])
    while asked := len(driver.machine._awaited):
        flight = b"".join(itertools.islice(answers, asked))
        if not flight:
            break
        for piece in cut(flight, places):
            driver.feed(piece)
    return driver


@given(st.sampled_from([b"250 mx\r\n", b"250-mx\r\n250 PIPELINING\r\n"]), st.lists(REPLY, max_size=25), CUTS, KINDS)
def test_any_chunking_gives_the_same_session(
    hello: bytes, replies: list[bytes], places: list[int], kinds: tuple[str, ...]
) -> None:
    whole = converse_in_turn([hello, *replies], [], kinds)
    pieces = converse_in_turn([hello, *replies], places, kinds)
    octets = converse_in_turn([hello, *replies], list(range(400)), kinds)
    assert whole.record == pieces.record == octets.record
    assert whole.sent == pieces.sent == octets.sent


@given(GARBAGE, CUTS, KINDS)
def test_every_transaction_ends_once_and_nothing_raises(
    octets: bytes, places: list[int], kinds: tuple[str, ...]
) -> None:
    driver = converse(cut(b"220 mx\r\n250-mx\r\n250 PIPELINING\r\n" + octets, places), kinds)
    driver.machine.end(Reply(450, "4.4.2", "lost"))
    driver.advance()
    assert driver.ended == driver.begun
    assert driver.record.count("SessionEnded") == 1
    assert driver.machine.ended


@given(GARBAGE, CUTS)
def test_replies_in_any_chunking(octets: bytes, places: list[int]) -> None:
    def read(pieces: list[bytes]) -> list[object]:
        parser = ReplyParser()
        found: list[object] = []
        for piece in pieces:
            parser.feed(piece)
            while (reply := parser.next()) is not None:
                found.append(reply)
                if isinstance(reply, Unreadable):
                    return found
        return found

    assert read([octets]) == read(cut(octets, places))


@given(CLEAN, CUTS)
def test_stuffing_in_any_chunking(content: bytes, places: list[int]) -> None:
    stuffing = Stuffing()
    pieces = b"".join(stuffing.feed(piece) for piece in cut(content, places))
    assert pieces + stuffing.finish() == stuff(content)


@given(CLEAN)
def test_an_independent_reader_gets_the_same_content(content: bytes) -> None:
    octets = stuff(content)
    lines = octets.split(b"\r\n")
    end = lines.index(b".")
    assert lines[end + 1 :] == [b""]
    read = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:end])
    assert read == (content if content.endswith(b"\r\n") or not content else content + b"\r\n")


@given(st.lists(st.sampled_from([b".", b"a", b"\r\n", b"\r", b"\n"]), max_size=12).map(b"".join), CUTS)
def test_no_lone_line_end_ever_leaves(content: bytes, places: list[int]) -> None:
    is_clean = content.replace(b"\r\n", b"").translate(None, b".a") == b""
    stuffing, sent = Stuffing(), b""
    try:
        for piece in cut(content, places):
            sent += stuffing.feed(piece)
        sent += stuffing.finish()
    except Unclean:
        assert not is_clean
        assert not sent.endswith(b"\r\n.\r\n")
        return
    assert is_clean
    assert sent.count(b"\r\n") == sent.count(b"\r") == sent.count(b"\n")


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_a_command_is_one_line_whatever_the_envelope_holds(path: str, address: str, orcpt: str, envid: str) -> None:
    recipient = Recipient(address, 2, orcpt)
    driver = converse([b"220 mx\r\n250-mx\r\n250 DSN\r\n"])
    envelope = Envelope(path, (recipient,), envid=envid)
    try:
        commands = plan(envelope, [recipient], Content.of(b""), driver.machine.capabilities).commands
    except Unclean:
        assert set(path + address + orcpt + envid) & {"\r", "\n", "\0"}
        return
    assert all(
        command.endswith(b"\r\n") and len(command.splitlines()) == 1 for command in commands if command.isascii()
    )
    assert all(command.count(b"\n") == command.count(b"\r") == 1 for command in commands)
