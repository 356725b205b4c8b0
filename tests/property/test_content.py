"""Whatever comes in: no octet of a content is lost, no output has a bare CR or LF, no hostile text adds a field."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from valija.content.addresses import addresses_of
from valija.content.bounce import Reported, ReportKind, report
from valija.content.compose import field, printable, readable
from valija.content.dkim_canonical import BodyHasher, body_hash, relaxed_fields
from valija.content.header import HeaderCollector, check, fields, names, split, without
from valija.content.options import ReportOptions
from valija.content.submission import author_addresses, check_once, fix_up
from valija.content.trace import received_field, return_path_field
from valija.mail.envelope import Envelope, Recipient
from valija.mail.origin import Origin, TlsFacts
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply

# Texts that bite: line ends, controls, field-like words, octets that are no UTF-8.
hostile_text = st.lists(
    st.sampled_from(
        ["\r\n", "\n", "\r", "\0", "\x1b[0m", " ", "\t", "X-Forged: 1", "--=_u", "(", ")", "<", ">", ";", "\\"]
    )
    | st.text(st.characters(exclude_categories=[]), max_size=8),
    max_size=20,
).map("".join)

octet_pieces = st.sampled_from(
    [
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"From: a@b.example",
        b"Subject:",
        b"x",
        b":",
        b"From ",
        b"\xff",
        b"Bcc: c@d.example",
    ]
)
contents = st.lists(
    octet_pieces | st.binary(max_size=6).map(lambda piece: re.sub(rb"[\r\n\0]", b"", piece)), max_size=30
).map(b"".join)


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(octets) + 1) for place in places} | {0, len(octets)})
    return [octets[start:end] for start, end in pairwise(marks)]


def collect(chunks: list[bytes]) -> tuple[bytes, bytes, Reply | None]:
    collector = HeaderCollector()
    body = b"".join(map(collector.feed, chunks)) + collector.finish()
    return collector.header, body, collector.refusal


def has_only_crlf(octets: bytes) -> bool:
    return octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r")


@given(contents, st.lists(st.integers(0, 10_000), max_size=8))
def test_the_cut_of_a_content_does_not_matter(content: bytes, places: list[int]) -> None:
    assert collect(cut(content, places)) == collect([content])


@given(contents)
def test_split_and_join_is_the_same_content(content: bytes) -> None:
    header, body, refusal = collect([content])
    if refusal is not None:
        return
    joined = header + b"\r\n" + body
    # Only what no reader takes for text is ever supplied: a missing blank line, or the end of the last line.
    assert joined in (content, content + b"\r\n", content + b"\r\n\r\n", b"\r\n" + content)
    assert check(header) is None
    assert b"".join(found.raw for found in fields(header)) == header
    assert [found.name for found in fields(header)] == names(header)
    assert split(joined) == (header, body)


@given(contents)
def test_a_submitted_header_gets_what_it_lacks_and_loses_blind_copies_only(content: bytes) -> None:
    header, _, refusal = collect([content])
    if refusal is not None or check_once(header) is not None or isinstance(author_addresses(header), Reply):
        return
    mended = fix_up(header, user_address="u@l.example", hostname="h.example", now=0.0, unique="1")
    assert check(mended) is None
    assert mended.startswith(without(header, b"bcc"))
    present = names(mended)
    assert b"bcc" not in present
    assert [present.count(name) for name in (b"from", b"date", b"message-id")] == [1, 1, 1]
    assert has_only_crlf(mended)


@given(hostile_text)
def test_texts_for_people_stay_on_their_line(text: str) -> None:
    assert printable(text, 10_000).isascii()
    assert printable(text, 10_000).isprintable()
    assert readable(text, 10_000).isprintable()
    octets = field("X", readable(text, 10_000))
    assert len(fields(octets)) == 1
    assert fields(octets)[0].raw == octets


@given(hostile_text, hostile_text, hostile_text, hostile_text)
def test_trace_fields_are_one_field_each(address: str, helo: str, recipient: str, cipher: str) -> None:
    origin = Origin("smtpd", 0.0, address, helo, "ESMTP", helo, recipient, TlsFacts(cipher, cipher))
    for octets in (
        received_field(origin, hostname="h.example", queue_id="1", recipients=(Recipient(recipient),)),
        return_path_field(recipient.encode("utf-8", "replace").decode()),
    ):
        assert check(octets) is None
        assert len(fields(octets)) == 1
        assert has_only_crlf(octets)
        assert max(map(len, octets.split(b"\r\n"))) <= 998


@given(
    hostile_text, hostile_text, hostile_text, hostile_text, st.binary(max_size=200), st.sampled_from(ReportKind),
    st.sampled_from([ReportOptions("en"), ReportOptions("es"), ReportOptions()]),
)  # fmt: skip
def test_a_report_is_sound_whatever_peers_say(
    words: str, remote: str, address: str, xtext: str, content: bytes, kind: ReportKind, options: ReportOptions
) -> None:
    recipient = Recipient(f"x{address}", orcpt=xtext, given="")
    outcome = Outcome(0, State.FAILED, Reply(550, words, words), remote, remote)
    envelope = Envelope(f"r{address}", (recipient,), envid=xtext)
    octets = report(
        kind, envelope, content, 0.0, "1", (Reported(recipient, outcome),),
        hostname="h.example", now=0.0, unique="u", full_content=content, options=options,
    )  # fmt: skip
    assert has_only_crlf(octets)
    header = split(octets).header
    assert not {b"x-forged", b"cc"} & set(names(header))
    assert len(names(header)) == len(set(names(header)))
    status = octets.split(b"delivery-status\r\n", 1)[1].partition(b"\r\n--=_u")[0]
    status = status.removeprefix(b"Content-Transfer-Encoding: 8bit\r\n").removeprefix(b"\r\n")
    assert status.isascii() or b"message/global-delivery-status" in octets
    assert status.count(b"\r\n\r\n") == 1
    assert b"\nX-Forged:" not in status
    assert status.count(b"\nFinal-Recipient:") == status.count(b"\nDiagnostic-Code:") == 1


bodies = st.lists(
    st.sampled_from([b"\r\n", b" ", b"\t", b" \r\n", b"a", b"b c", b"\xff", b".\r\n", b"  "]), max_size=40
).map(b"".join)


@given(bodies, st.lists(st.integers(0, 10_000), max_size=8))
def test_the_cut_of_a_body_does_not_matter_to_its_hash(body: bytes, places: list[int]) -> None:
    hasher = BodyHasher()
    for chunk in cut(body, places):
        hasher.update(chunk)
    assert hasher.digest() == body_hash(body)


@given(bodies)
def test_the_hash_is_blind_to_what_relaxed_form_forgives(body: bytes) -> None:
    assert body_hash(body + b"\r\n\r\n") == body_hash(body + b"\r\n")
    assert body_hash(body.replace(b" ", b"\t ")) == body_hash(body)
    assert body_hash(body + b"x\r\n") != body_hash(body + b"y\r\n")


@given(contents)
def test_relaxed_fields_are_single_lines(content: bytes) -> None:
    header, _, refusal = collect([content])
    if refusal is not None:
        return
    relaxed = relaxed_fields(header)
    assert sum(map(len, relaxed.values())) == len(names(header))
    for octets in (octets for instances in relaxed.values() for octets in instances):
        assert octets.endswith(b"\r\n")
        assert octets.count(b"\r\n") == 1
        assert not re.search(rb"\t|  | \r\n", octets)


atoms = st.text("abcXYZ019!#$%&'*+/=?^_`{|}~-\u00e9\u4f60", min_size=1, max_size=8)
dot_atoms = st.lists(atoms, min_size=1, max_size=3).map(".".join)
quoted = st.text(st.sampled_from('ab@,;:<>()[]. \\"'), max_size=8).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
comments = st.recursive(
    st.text("ab@,;:<>. ", max_size=5), lambda inner: inner.map(lambda text: f"({text})"), max_leaves=3
).map(lambda text: f"({text})")
blanks = st.sampled_from(["", " ", "\t", "\r\n ", " \r\n\t"]) | comments
domains = (
    st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True), min_size=1, max_size=3)
    .map(".".join)
    .filter(lambda domain: "--" not in domain)
)
addresses = st.tuples(dot_atoms | quoted, domains).map("@".join)
phrases = st.lists(dot_atoms | quoted | st.just("=?utf-8?q?a=40b?=") | st.just("Q."), min_size=1, max_size=3).map(
    " ".join
)


@st.composite
def mailboxes(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Return a mailbox as it is written, with its address."""
    address = draw(addresses)
    local, _, domain = address.rpartition("@")
    pads = [draw(blanks) for _ in range(6)]
    spec = f"{pads[0]}{local}{pads[1]}@{pads[2]}{domain}{pads[3]}"
    if draw(st.booleans()):
        return spec, [address]
    return f"{pads[4]}{draw(phrases)}{pads[5]}<{spec}>", [address]


@st.composite
def address_lists(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Return a well-formed list and the addresses in it."""
    texts, found = [], []
    for boxes in draw(st.lists(st.lists(mailboxes(), max_size=3), min_size=1, max_size=3)):
        inner = ",".join(text for text, _ in boxes)
        grouped = not boxes or draw(st.booleans())
        texts.append(f"{draw(phrases)}:{inner};" if grouped else inner)
        found += [address for _, addresses in boxes for address in addresses]
    return ",".join(texts), found


@given(address_lists())
def test_well_formed_lists_are_understood(given_list: tuple[str, list[str]]) -> None:
    text, expected = given_list
    assert addresses_of(text.encode()) == expected


@given(hostile_text | st.text('ab@,;:<>()[]." \\', max_size=30))
def test_any_list_is_understood_or_refused(text: str) -> None:
    found = author_addresses(b"From: " + text.encode("utf-8", "replace") + b"\r\n")
    if isinstance(found, Reply):
        assert found.text.isascii()
        assert found.text.isprintable()
    else:
        assert all("@" in address and address.isprintable() for address in found)
