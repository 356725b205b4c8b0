"""DKIM against hostile input: nothing raises, each change of what was signed is seen, the cut of a body is all one."""

import base64
import contextlib
import hashlib
import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from tests.content.dkim_world import HEADER, KINDS, NOW, key, record, results, signed
from valija.content.dkim_canonical import BodyHasher, Form
from valija.content.dkim_key import DkimKey
from valija.content.dkim_published import judge
from valija.content.dkim_record import RecordFault, parse_record
from valija.content.dkim_signature import parse_signature, signatures
from valija.content.dkim_verify import BodyHashes, verify
from valija.content.header import split
from valija.content.tag_list import TagFault, parse_tags

KEYS: tuple[DkimKey, ...] = tuple(key(kind) for kind in KINDS)
MESSAGE = signed(HEADER, b"Dear x,\r\n\r\n  two  words \r\n\r\nalice\r\n", *KEYS)
FIELDS, TEXT = split(MESSAGE)
START = FIELDS.index(b"From:")

_TAGS = "v=1;a=rsa-sha256;d=x.example;s=s;h=from;b=AAAA;l=5;c=relaxed/relaxed;i=@x.example;t=5;x=9;q=dns/txt;=;b=;d=."
tag_pieces = st.sampled_from(
    [*_TAGS.split(";"), "bh=" + "A" * 43 + "=", "d=\u0130.example", ";", "p=", "k=rsa", "v=DKIM1"]
)
tag_texts = st.lists(tag_pieces | st.text(st.characters(exclude_characters="\r\n"), max_size=8), max_size=14).map(
    "; ".join
)


@given(st.binary(max_size=200) | tag_texts.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_list_of_tags_raises_anything_else(octets: bytes) -> None:
    with contextlib.suppress(TagFault):
        assert all(parse_tags(octets))


@given(tag_texts)
@example("v=1; a=rsa-sha256; d=\udcff.example; s=s; h=from; bh=x; b=x")
def test_no_signature_raises(text: str) -> None:
    field = b"DKIM-Signature: " + text.encode("utf-8", "surrogatepass") + b"\r\n"
    signature = parse_signature(field)
    bodies = BodyHashes([signature])
    bodies.update(b"x")
    result = verify(signature, field + HEADER, bodies, [record()], NOW)
    assert result.verdict != "pass"
    assert result.reason.isprintable()


@given(st.binary(max_size=300))
def test_no_header_raises(header: bytes) -> None:
    found = signatures(header)
    bodies = BodyHashes(found)
    for each in found:
        verify(each, header, bodies, [record()], NOW)


# As the DNS is read: octets that are no UTF-8 are surrogates of their own, and there are no others.
record_texts = (tag_texts | st.text(max_size=40)).map(
    lambda text: text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
)


@given(st.lists(record_texts, max_size=3))
def test_no_record_raises(texts: list[str]) -> None:
    for text in texts:
        with contextlib.suppress(RecordFault):
            assert parse_record(text).kind in KINDS
    assert not judge(KEYS[0], texts, KEYS).fits


@given(st.integers(0, len(MESSAGE) - 1), st.integers(1, 255))
def test_any_octet_that_changes_is_seen(place: int, change: int) -> None:
    """Each octet of the message is signed, but for blanks that count as others, and letters' case in names."""
    octet = MESSAGE[place] ^ change
    message = MESSAGE[:place] + bytes([octet]) + MESSAGE[place + 1 :]
    if re.search(rb"(?<!\r)\n|\r(?!\n)|\0", message) or meaning(message) == meaning(MESSAGE):
        return
    try:
        split(message)
    except ValueError:
        return  # refused before anybody verifies
    verdicts = [result.verdict for result in results(message)]
    if place >= START:
        assert "pass" not in verdicts
    else:
        assert verdicts.count("pass") < 2  # a signature does not sign the other one


def meaning(message: bytes) -> bytes:
    """Return a message as the relaxed form has it, and a signature's value decoded."""
    header, _, body = message.partition(b"\r\n\r\n")
    header = re.sub(rb"\r\n[ \t]", b" ", header)
    named = re.sub(rb"(?m)^[^:\r\n]*", lambda name: name[0].lower(), header)
    values = re.sub(rb"(?<=[; ]b=)[^;\r]*", lambda value: decoded(value[0]), named)
    lines = re.sub(rb"[ \t]+(?=\r\n|$)|(?<=:)[ \t]+", b"", re.sub(rb"[ \t]+", b" ", values))
    text = re.sub(rb" (?=\r\n|$)", b"", re.sub(rb"[ \t]+", b" ", body))
    return lines + b"\r\n\r\n" + re.sub(rb"(\r\n)+\Z", b"\r\n", text)


def decoded(value: bytes) -> bytes:
    """Return what base64 stands for: its last letter may have bits that mean nothing."""
    bare = re.sub(rb"[ \t]", b"", value)
    try:
        return base64.b64decode(bare, validate=True).hex().encode()
    except ValueError:
        return bare


lines = st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b"a", b"bc", b"\r\n\r\n", b".", b"\xff"]), max_size=20).map(
    b"".join
)


def canonical(body: bytes, form: Form) -> bytes:
    """Return a body's canonical form, as RFC 6376 sections 3.4.3 and 3.4.4 word them."""
    parts = body.split(b"\r\n")
    if form == "relaxed":
        parts = [re.sub(rb"[ \t]+", b" ", part).removesuffix(b" ") for part in parts]
    while parts and not parts[-1]:
        parts.pop()
    whole = b"".join(part + b"\r\n" for part in parts)
    return whole or (b"" if form == "relaxed" else b"\r\n")


@given(
    lines,
    st.sampled_from(["simple", "relaxed"]),
    st.none() | st.integers(0, 30),
    st.lists(st.integers(0, 99), max_size=5),
)
def test_the_hash_of_a_body_however_it_is_cut(body: bytes, form: Form, length: int | None, places: list[int]) -> None:
    hasher = BodyHasher(form, length)
    marks = sorted({place % (len(body) + 1) for place in places} | {0, len(body)})
    for start, end in pairwise(marks):
        hasher.update(body[start:end])
    whole = canonical(body, form)
    assert hasher.digest() == hashlib.sha256(whole[:length]).digest()
    assert hasher.surplus == (0 if length is None else len(whole) - length)
