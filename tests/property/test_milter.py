"""The milter protocol under any cutting of the octets, and under any octets."""

import struct
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tally import Tally
from valija.content.header import check, fields
from valija.mail.envelope import Recipient
from valija.milter.answers import AddField, Answer, Change, ChangeField, InsertField, Refuse, folded, read
from valija.milter.edits import Lines, header_after, recipients_after, reverse_path_after
from valija.milter.packets import Nonsense, Packet, Packets, packet
from valija.milter.terms import agreed

KINDS = st.sampled_from([bytes([octet]) for octet in b"carts4dpfyhim+2-ebqOx\0\xff"])
TEXTS = st.sampled_from([b"X-A", b"a@b.example", b"<a@b.example>", b"550 5.7.1 No", b"\r\n", b"\n ", b": ", b"\xff"])
DATA = (
    st.binary(max_size=60)
    | st.lists(TEXTS | st.binary(max_size=8), max_size=6).map(b"".join)
    | st.lists(TEXTS, max_size=3).map(lambda texts: b"".join(each + b"\0" for each in texts))
    | st.lists(TEXTS, max_size=3).map(lambda texts: b"\0\0\0\x01" + b"".join(each + b"\0" for each in texts))
)
PACKETS = st.builds(Packet, KINDS, DATA)


def cut_out(pieces: Sequence[bytes]) -> tuple[list[Packet], str]:
    """Return the packets in what arrives, and the nonsense that ended them."""
    packets, found = Packets(), []
    for piece in pieces:
        packets.receive(piece)
        try:
            while (each := packets.next()) is not None:
                found.append(each)
        except Nonsense as nonsense:
            return found, str(nonsense)
    return found, ""


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[start:end] for start, end in pairwise(edges)]


@settings(max_examples=150)
@given(st.lists(PACKETS, max_size=6), st.lists(st.integers(0, 1000), max_size=10))
def test_any_cutting_gives_the_same_packets(sent: list[Packet], places: list[int]) -> None:
    octets = b"".join(packet(each.kind, each.data) for each in sent)
    assert cut_out(cut(octets, places)) == (sent, "")


@settings(max_examples=150)
@given(st.binary(max_size=200), st.lists(st.integers(0, 1000), max_size=10))
def test_garbage_is_nonsense_or_nothing_however_it_is_cut(octets: bytes, places: list[int]) -> None:
    assert cut_out(cut(octets, places)) == cut_out([octets])


def test_no_packet_raises_anything_but_nonsense(tally: Tally) -> None:
    count = 0

    @settings(max_examples=400)
    @given(PACKETS)
    def look_at(sent: Packet) -> None:
        nonlocal count
        count += 1
        try:
            follow(read(sent))
        except Nonsense:
            return

    look_at()
    tally("fuzzing", milter_packets=count, crashed=0)


def follow(answer: Answer | Change) -> None:
    """Do what an answer says. Raises Nonsense."""
    if isinstance(answer, Refuse):
        lines = answer.reply.encode().split(b"\r\n")
        assert lines.pop() == b""
        assert all(line[:3].isdigit() and line[:1] in b"45" and line.isascii() for line in lines)
        assert not any(octet < 32 for line in lines for octet in line)
    elif isinstance(answer, Change):
        header_after(b"Subject: s\r\n", [answer], leading_blanks=True)
        recipients_after((Recipient("a@b.example"),), [answer])
        reverse_path_after("a@b.example", [answer])


@settings(max_examples=150)
@given(st.binary(max_size=60))
def test_no_terms_raise_anything_but_nonsense(data: bytes) -> None:
    for each in (data, struct.pack("!III", 6, 0, 0) + data):
        try:
            agreed(each)
        except Nonsense:
            continue


VALUES = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b"\t", b"X-Evil: 1", b"x", b"\xc3\xa9", b":"]), max_size=12
).map(b"".join)


@settings(max_examples=400)
@given(VALUES, st.booleans())
def test_one_change_is_one_field_whatever_its_value(value: bytes, leading_blanks: bool) -> None:
    for change in (AddField(b"X-A", value), InsertField(0, b"X-A", value), ChangeField(2, b"Subject", value)):
        header = header_after(b"Subject: s\r\n", [change], leading_blanks=leading_blanks)
        assert check(header) is None
        named = [field.name for field in fields(header)]
        assert len(named) == 2 or (isinstance(change, ChangeField) and not value)
        assert b"x-evil" not in named
        assert b"\r\n\r\n" not in header
    assert folded(folded(value)) == folded(value)


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"yy"]), max_size=20),
    st.lists(st.integers(0, 50), max_size=5),
)
def test_lines_end_alike_however_they_are_cut(parts: list[bytes], places: list[int]) -> None:
    octets = b"".join(parts)
    whole, cutting = Lines(), Lines()
    expected = whole.update(octets) + whole.finish()
    assert b"".join(map(cutting.update, cut(octets, places))) + cutting.finish() == expected
    assert expected.count(b"\r\n") == expected.count(b"\n") == expected.count(b"\r")
    assert not expected or expected.endswith(b"\r\n")
