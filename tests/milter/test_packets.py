"""Frames of the milter protocol."""

import struct

import pytest

from valija.milter.packets import LONGEST, Nonsense, Packet, Packets, packet, strings


def test_a_packet_and_back() -> None:
    packets = Packets()
    packets.receive(packet(b"H", b"mail.example.org\0") + packet(b"Q"))
    assert packets.next() == Packet(b"H", b"mail.example.org\0")
    assert packets.next() == Packet(b"Q", b"")
    assert packets.next() is None


def test_a_packet_that_is_not_complete_is_waited_for() -> None:
    packets = Packets()
    for octet in packet(b"H", b"name\0"):
        assert packets.next() is None
        packets.receive(bytes([octet]))
    assert packets.next() == Packet(b"H", b"name\0")


@pytest.mark.parametrize("length", [0, LONGEST + 1, 0xFFFFFFFF])
def test_no_packet_is_larger_than_one_may_be(length: int) -> None:
    packets = Packets()
    packets.receive(struct.pack("!I", length))
    with pytest.raises(Nonsense, match=f"a packet of {length} octets"):
        packets.next()


def test_the_largest_packet() -> None:
    packets = Packets()
    packets.receive(packet(b"b", b"x" * (LONGEST - 1)))
    found = packets.next()
    assert found is not None
    assert len(found.data) == LONGEST - 1


def test_texts() -> None:
    assert strings(b"") == []
    assert strings(b"\0") == [b""]
    assert strings(b"a\0\0b\0") == [b"a", b"", b"b"]
    with pytest.raises(Nonsense):
        strings(b"a\0b")
