"""Contents on their way in: what is passed on, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.smtp.answers import BARE_LINE_ENDS, TOO_BIG
from valija.smtp.buffer import Buffer
from valija.smtp.commands import Chunk
from valija.smtp.intake import SWALLOW_LIMIT, ChunkedContent, DottedContent

PIECES = st.lists(st.sampled_from([b"a", b"..", b".", b"\r\n", b"\r\n.", b"\r", b"\n", b"\0", b"xyz"]), max_size=12)


def read_dotted(octets: bytes, cuts: list[int], size_limit: int = 0) -> tuple[bytes, DottedContent, int]:
    """Return what was passed on, the content, and how many octets were left behind its end."""
    content, buffer, passed, ended = DottedContent(size_limit), Buffer(), b"", False
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        buffer.feed(octets[start:end])
        if not ended:
            piece, ended = content.read(buffer)
            passed += piece
    assert ended
    return passed, content, len(buffer)


def dotted_by_lines(content: bytes) -> bytes:
    """Stuff dots the slow way."""
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in content.split(b"\r\n"))


@given(PIECES, st.lists(st.integers(0, 40), max_size=6))
def test_dots_come_off_however_the_content_is_cut(pieces: list[bytes], cuts: list[int]) -> None:
    message = b"".join(pieces) + b"\r\n"
    octets = dotted_by_lines(message) + b".\r\nNEXT"
    passed, content, left = read_dotted(octets, sorted(min(cut, len(octets)) for cut in cuts))
    assert left == 4
    assert content.size == len(message)
    bare = message.replace(b"\r\n", b"")
    if any(octet in bare for octet in (b"\r", b"\n", b"\0")):
        assert content.refusal is BARE_LINE_ENDS
    else:
        assert content.refusal is None
        assert passed == message


def test_an_empty_content() -> None:
    assert read_dotted(b".\r\n", [])[0] == b""
    assert read_dotted(b".\r\n", [1, 2])[0] == b""


@pytest.mark.parametrize("ending", [b"\r", b"\n", b"\0", b"\r\r\n", b"\n\r\n"])
@pytest.mark.parametrize("cut", range(8))
def test_bare_line_ends_right_before_the_end(ending: bytes, cut: int) -> None:
    octets = b"ab" + ending + b"\r\n.\r\n"
    _, content, left = read_dotted(octets, [min(cut, len(octets))])
    assert (content.refusal, left) == (BARE_LINE_ENDS, 0)


@pytest.mark.parametrize("cut", range(20))
def test_bare_line_ends_outrank_size(cut: int) -> None:
    octets = b"0123456789\r\nab\ncd\r\n.\r\n"
    assert read_dotted(octets, [cut], size_limit=5)[1].refusal is BARE_LINE_ENDS
    assert read_dotted(octets.replace(b"b\nc", b"b-c"), [cut], size_limit=5)[1].refusal is TOO_BIG


def test_the_size_limit_counts_decoded_octets() -> None:
    octets = b"..234567\r\n..\r\n.\r\n"
    assert read_dotted(octets, [], size_limit=12)[1].refusal is None
    assert read_dotted(octets, [], size_limit=11)[1].refusal is TOO_BIG


def test_nothing_is_passed_on_of_a_refused_content() -> None:
    content, buffer = DottedContent(10), Buffer()
    buffer.feed(b"0123456789abc")
    assert content.read(buffer) == (b"", False)
    buffer.feed(b"d\r\n.\r\n")
    assert content.read(buffer) == (b"", True)


def test_a_content_is_hopeless_far_beyond_its_limit() -> None:
    content = ChunkedContent(100)
    assert not content.is_hopeless(100 + SWALLOW_LIMIT)
    assert content.is_hopeless(101 + SWALLOW_LIMIT)
    assert not ChunkedContent(0).is_hopeless(10**30)


@given(st.lists(PIECES, min_size=1, max_size=4))
def test_chunks_may_cut_a_crlf(series: list[list[bytes]]) -> None:
    chunks = [b"".join(pieces) for pieces in series]
    content, passed = ChunkedContent(0), b""
    for number, chunk in enumerate(chunks):
        content.expect(Chunk(len(chunk), number == len(chunks) - 1))
        buffer = Buffer()
        buffer.feed(chunk + b"NEXT")
        piece, ended = content.read(buffer)
        passed += piece
        assert (ended, len(buffer)) == (True, 4)
    whole = b"".join(chunks)
    bare = whole.replace(b"\r\n", b"")
    if any(octet in bare for octet in (b"\r", b"\n", b"\0")):
        assert content.refusal is BARE_LINE_ENDS
    else:
        assert (content.refusal, passed) == (None, whole)
