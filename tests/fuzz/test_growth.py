"""No input costs more than its length: four times as much of the same takes about four times as long.

Sixteen times would be quadratic. What is measured is this process's own time, and the bound lies far from both, so
that a busy machine changes nothing.
"""

import gc
import re
import time
from collections.abc import Callable
from typing import Final

import pytest

from valija.content.addresses import AddressListError, addresses_of
from valija.content.authentication_results import authserv_id_of, verdicts_in, without_claims
from valija.content.binary import to_transportable
from valija.content.dkim_canonical import BodyHasher, relaxed_fields
from valija.content.dkim_signature import parse_signature
from valija.content.header import HeaderCollector, check, fields
from valija.content.local_addresses import LocalNames, complete_header
from valija.content.tag_list import parse_tags
from valija.milter.packets import Packets, packet
from valija.policy.spf_record import SpfFault, parse_record
from valija.sendmail import text
from valija.sendmail.text import Text
from valija.smtp.buffer import Buffer
from valija.smtp.client_content import Stuffing
from valija.smtp.intake import DottedContent
from valija.smtp.replies import ReplyParser

MOST: Final = 9.0  # times as long for four times as much
LEAST: Final = 0.02  # seconds that are long enough to be compared
HARMLESS: Final = 0.1  # seconds for the longest input: nothing that grows too fast would have come so far
LONGEST: Final = 1024 * 1024  # octets


def _collected(data: bytes) -> None:
    collector = HeaderCollector(limit=1 << 30)
    for start in range(0, len(data), 50):
        collector.feed(data[start : start + 50])
    collector.finish()


def _dotted(data: bytes) -> None:
    buffer, content = Buffer(), DottedContent(0)
    for start in range(0, len(data), 50):
        buffer.feed(data[start : start + 50])
        content.read(buffer)


def _stuffed(data: bytes) -> None:
    stuffing = Stuffing()
    for start in range(0, len(data) - len(data) % 2, 50):
        stuffing.feed(data[start : start + 50])


def _replies(data: bytes) -> None:
    parser = ReplyParser()
    for start in range(0, len(data), 50):
        parser.feed(data[start : start + 50])
        while parser.next() is not None:
            pass


def _packets(data: bytes) -> None:
    packets = Packets()
    packets.receive(packet(b"b", b"x") * (len(data) // 6))
    while packets.next() is not None:
        pass


def _hashed(data: bytes) -> None:
    hasher = BodyHasher()
    for start in range(0, len(data), 50):
        hasher.update(data[start : start + 50])
    hasher.digest()


def _listed(data: bytes) -> None:
    try:
        addresses_of(data)
    except AddressListError:
        return


def _spf(data: bytes) -> None:
    try:
        parse_record.__wrapped__(data.decode())
    except SpfFault:
        return


def _completed(data: bytes) -> None:
    complete_header(b"To: " + data + b"\r\n", LocalNames("example.org", frozenset()))


def _multipart(data: bytes) -> None:
    to_transportable(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + data + b"\0\r\n--b--\r\n")


# What is repeated, and what it is given to.
SHAPES: Final[dict[str, tuple[bytes, Callable[[bytes], object]]]] = {
    "a header of many fields": (b"X: y\r\n", _collected),
    "a header of folds": (b" x\r\n", lambda data: check(b"X: y\r\n" + data)),
    "a header of blank folds": (b" \r\n", lambda data: fields(b"X: y\r\n" + data)),
    "a header of colons": (b":", lambda data: check(data + b"\r\n")),
    "a header without an end": (b"a", _collected),
    "comments within comments": (b"(", _listed),
    "comments side by side": (b"()", _listed),
    "quoted pairs": (b"\\a", lambda data: _listed(b'"' + data)),
    "quotes that do not end": (b'"a" ', _listed),
    "words of a name": (b"a ", _listed),
    "dots": (b"a.", _listed),
    "addresses": (b"a@b.example,", lambda data: _listed(data + b"a@b.example")),
    "names without a domain": (b"root,", _completed),
    "groups": (b"a:b@c.example;,", _completed),
    "comments of results": (b"(", authserv_id_of),
    "results": (b"; spf=pass", lambda data: verdicts_in(b"x" + data)),
    "claims": (b"Authentication-Results: (x\r\n", lambda data: without_claims(data, "mail.example.org")),
    "encoded words": (b"=?utf-8?q?a?= ", authserv_id_of),
    "tags": (b"a=b;", lambda data: parse_tags(b"v=1;" + data[:60_000].replace(b"a=b", b" "))),
    "blanks in tags": (b" ", lambda data: parse_tags(b"v=1;" + data[:60_000])),
    "folds of a signature": (b"\r\n ", lambda data: parse_signature(b"DKIM-Signature: v=1;" + data + b"\r\n")),
    "blanks of a field": (b" \t", lambda data: relaxed_fields(b"X: y" + data + b"\r\n")),
    "blank lines of a body": (b"\r\n", _hashed),
    "blanks of a body": (b" ", _hashed),
    "dots of a content": (b"\r\n..", _dotted),
    "ends that are none": (b"\r\n.\r", _dotted),
    "returns of a content": (b"\r", _dotted),
    "lines to be stuffed": (b".\r\n", _stuffed),
    "replies": (b"250 x\r\n", _replies),
    "packets": (b"123456", _packets),
    "parts": (b"\r\n--b\r\n\r\n", _multipart),
    "borders that are none": (b"\r\n--b-", _multipart),
    "blanks behind a border": (b"\r\n--b \t \t", _multipart),
    "a text's lines": (b"X: y\n", Text.of),
    "a text's returns": (b"\r", Text.of),
    "a text's mailbox lines": (b"From x\n", Text.of),
    "terms of SPF": (b" a", lambda data: _spf(b"v=spf1" + data)),
    "macros of SPF": (b"%{i}", lambda data: _spf(b"v=spf1 exists:" + data)),
    "slashes of SPF": (b"/1", lambda data: _spf(b"v=spf1 a" + data)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_cost_grows_with_the_length_alone(shape: str) -> None:
    unit, run = SHAPES[shape]
    length = 4096
    while (cost := _cost(run, unit, length)) < LEAST and length < LONGEST:
        length *= 4
    if length >= LONGEST and cost < HARMLESS:
        return
    ratios = (_cost(run, unit, length) / _cost(run, unit, length // 4) for _ in range(5))
    assert any(ratio < MOST for ratio in ratios), f"{cost:.2f} s for {length} octets, and far less for fewer"


def _cost(run: Callable[[bytes], object], unit: bytes, length: int) -> float:
    """Return the seconds of this thread, the better of two runs."""
    data = unit * (length // len(unit))
    best = float("inf")
    gc.disable()  # a large input would pay for a look at all that the tests before have left
    try:
        for _ in range(2):
            began = time.thread_time()
            run(data)
            best = min(best, time.thread_time() - began)
    finally:
        gc.enable()
    return best


def test_what_grows_too_fast_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_LINE_END", re.compile(rb"\r+\n"))
    with pytest.raises(AssertionError, match="far less for fewer"):
        test_the_cost_grows_with_the_length_alone("a text's returns")
