"""What filters of others say of a message: milters by packets, rspamd by JSON."""

import re
import struct
from collections.abc import Hashable

from tests.fuzz.engine import Target
from tests.fuzz.reader import replies_in
from valija.content.foreign_field import foreign_field
from valija.content.header import check, fields
from valija.mail.envelope import Recipient
from valija.mail.reply import Reply
from valija.milter.answers import Answer, Continue, Refuse, read
from valija.milter.packets import Nonsense, Packet, Packets, packet
from valija.milter.terms import Action, Terms, agreed
from valija.milter.wishes import Message, Wishes
from valija.rspamd.changes import changed_header
from valija.rspamd.reply import NoOpinion, read_opinion
from valija.rspamd.request import Facts, request_fields
from valija.smtp.commands import split
from valija.smtp.grammar import path
from valija.smtp.reply_lines import broken

_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_HEADER = b"Received: from x\r\n\tby y\r\nFrom: a@b.example\r\nSubject: x\r\nReceived: z\r\n"
_RECIPIENTS = (Recipient("bob@example.org"), Recipient("carol@example.org"))
_EVERYTHING = sum(action.value for action in Action)
_LEADING_BLANK = 0x100000


class _Body:
    def __init__(self) -> None:
        self.octets = b""

    def add(self, data: bytes) -> None:
        self.octets += data


def run_milter(given: bytes) -> Hashable:
    """Hear a filter's packets, a letter and its data each, parted by form feeds; the first has the protocol's bits."""
    bits, *pieces = given.split(b"\f")
    body = _Body()
    terms = Terms(actions=_EVERYTHING, steps=_LEADING_BLANK if b"blank" in bits else 0)
    message = Message(_HEADER, lambda: iter(()), "a@b.example", _RECIPIENTS, lambda: body, 5000)
    wishes = Wishes(message, terms)
    _check_packets([Packet(piece[:1], piece[1:]) for piece in pieces if piece])
    seen: list[Hashable] = []
    try:
        for piece in pieces:
            said = read(Packet(piece[:1], piece[1:]))
            seen.append(type(said).__name__)
            if isinstance(said, Refuse):
                _check_reply(said.reply)
            elif not isinstance(said, Answer):
                wishes.add(said)
        _check_outcome(wishes, body, terms)
    except Nonsense as nonsense:
        assert str(nonsense).isprintable()
        return (*seen[:6], str(nonsense)[:16])
    return tuple(seen[:6])


def _check_outcome(wishes: Wishes, body: _Body, terms: Terms) -> None:
    outcome = wishes.outcome(Continue())
    if outcome.header is not None:
        assert check(outcome.header) is None
        assert not _LONE.search(outcome.header)
    for recipient in outcome.recipients or ():
        _check_path(recipient.address)
        assert recipient.orcpt.isprintable()
    _check_path(outcome.reverse_path or "")
    assert outcome.hold.isprintable()
    if outcome.has_other_body:
        assert not _LONE.search(body.octets)
        assert not body.octets or body.octets.endswith(b"\r\n")


def _check_path(address: str) -> None:
    """An address is one that a client of ours could have named in a command."""
    line = f"RCPT TO:<{address}>".encode()
    assert split(line) == ("RCPT", line.decode().removeprefix("RCPT "))
    assert address in ("", "postmaster") or path(f"<{address}>") == (address, "")


def _check_reply(reply: Reply) -> None:
    assert reply.code // 100 in (4, 5)
    assert {code for code, _ in replies_in(broken(reply))} == {reply.code}


def _check_packets(sent: list[Packet]) -> None:
    stream = b"".join(packet(kind, data) for kind, data in sent)
    for size in (1, 5, 10**9):
        packets, found = Packets(), []
        for start in range(0, len(stream), size):
            packets.receive(stream[start : start + size])
            while (one := packets.next()) is not None:
                found.append(one)
        assert found == sent


def run_frames(given: bytes) -> Hashable:
    """Cut packets out of any octets, cut otherwise; and take them for a filter's answer to the offer."""
    assert _framed(given, 1) == _framed(given, 7) == _framed(given, 10**9)
    try:
        terms = agreed(given)
    except Nonsense as nonsense:
        return str(nonsense)[:20], len(_framed(given, 10**9))
    assert all(isinstance(name, str) for names in terms.macros.values() for name in names)
    return terms.version, len(terms.macros)


def _framed(given: bytes, size: int) -> list[Packet | str]:
    packets, found = Packets(), list[Packet | str]()
    try:
        for start in range(0, len(given), size):
            packets.receive(given[start : start + size])
            while (one := packets.next()) is not None:
                found.append(one)
    except Nonsense as nonsense:
        found.append(str(nonsense))
    return found


def run_rspamd(given: bytes) -> Hashable:
    """Take octets for rspamd's opinion, and do what it wants with a header; then ask it in such words."""
    text = given[:2000].decode("utf-8", "surrogateescape")
    facts = Facts(text, text, (text, text), "mx.example.org", text, text, text, text)
    assert all(value.isprintable() for _, value in request_fields(facts))
    octets = foreign_field("X-Words", text)
    assert octets is not None
    assert [field.name for field in fields(octets)] == [b"x-words"]
    assert check(octets) is None
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    try:
        opinion = read_opinion(given)
    except NoOpinion:
        return "none"
    assert opinion.message.isprintable()
    assert opinion.action.isprintable()
    _check_path(opinion.reverse_path or "")
    changed = changed_header(_HEADER, opinion)
    assert check(changed) is None
    assert not _LONE.search(changed)
    removed = {name.lower().encode("utf-8", "replace") for name, _ in opinion.removals} | {b"subject"}
    kept = [field.raw for field in fields(_HEADER) if field.name not in removed]
    assert [raw for raw in (field.raw for field in fields(changed)) if raw in kept] == kept
    return opinion.action, len(opinion.additions), len(opinion.removals)


_MILTER_WORDS = (
    b"\f", b"\fhX-Spam\0yes\0", b"\fi\0\0\0\1X-First\0a\n b\0", b"\fm\0\0\0\1Subject\0new\0",
    b"\fm\0\0\0\2Received\0\0", b"\f+<dave@example.org>\0", b"\f2<dave@example.org>\0NOTIFY=NEVER ORCPT=rfc822;x\0",
    b"\f-<bob@example.org>\0", b"\fq", b"\fe<x@y.example> SMTPUTF8\0", b"\fe<>\0", b"\fbbody\n.\n",
    b"\fy550 5.7.1 no\0", b"\fy451-4.7.1 a\n451 b\0", b"\0", b"\fc", b"\fa", b"\fr", b"\ft", b"\fd", b"\fp", b"\fs",
    b"\f4", b"\ff", b"\r\n", b"\r", b"\nBcc: x@y\n", "ü".encode(), b"\xc2\x85",
)  # fmt: skip
_FRAME_WORDS = (
    b"\0\0\0\1c", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\5hA\0b\0", struct.pack("!III", 6, 0x1FF, 0x1FFFFF),
    b"\0\0\0\3{i} j\0", b"\0\x08\0\0", b"\0\x08\0\1", b"\0\0\0\x63x\0",
)  # fmt: skip
_RSPAMD_WORDS = (
    b'{"action":"add header"}', b'"milter":{', b'"add_headers":{', b'"X-A":', b'{"value":"x","order":0}',
    b'"remove_headers":{"From":0}', b",", b'"subject":"x"', b'"action":"rewrite subject"', b'"change_from":"',
    b'"messages":{"smtp_message":"', b"\\r\\nBcc: x@y", b"\\u0085", b"}", b"]", b'"symbols":{"A":{"score":1e400}}',
    b'"dkim-signature":["v=1"]', b'"spam_header":', b'"order":' + b"9" * 30, b"null", b"\xff", b"[" * 40,
    b'"no_action":true', b'"reject":"quarantine"', b"\\ud800", b'"":', b'"score":NaN',
)  # fmt: skip

TARGETS = (
    Target("milter", run_milter, _MILTER_WORDS, cost=4),
    Target("milter_frames", run_frames, _FRAME_WORDS, largest=600, cost=2),
    Target("rspamd", run_rspamd, _RSPAMD_WORDS, cost=4),
)
