"""Binary contents become transportable ones; what decodes from their parts stays the same."""

import base64
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.content.binary import MAX_DEPTH, MAX_PARTS, to_transportable
from valija.mail.reply import Reply

BINARY = bytes(range(256)) * 3 + b"\r\n\n\r\0"
TOP = b"From: a@x.example\r\nMIME-Version: 1.0\r\n"


def part(headers: bytes, body: bytes) -> bytes:
    return headers + b"\r\n" + body


def multipart(*parts: bytes, boundary: bytes = b"b1", subtype: bytes = b"mixed", head: bytes = b"") -> bytes:
    header = head + b"Content-Type: multipart/" + subtype + b'; boundary="' + boundary + b'"\r\n'
    header += b"Content-Transfer-Encoding: binary\r\n"
    lines = b"".join(b"\r\n--" + boundary + b"\r\n" + each for each in parts)
    return part(header, b"preamble" + lines + b"\r\n--" + boundary + b"--\r\nepilogue\r\n")


def image(octets: bytes, extra: bytes = b"") -> bytes:
    return part(b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n" + extra, octets)


def converted(content: bytes) -> bytes:
    result = to_transportable(content)
    assert isinstance(result, bytes), result
    assert is_clean(result)
    return result


def refused(content: bytes) -> Reply:
    result = to_transportable(content)
    assert isinstance(result, Reply), result
    assert result.code == 554
    return result


def is_clean(octets: bytes) -> bool:
    return octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r") and b"\0" not in octets


def leaves(content: bytes) -> list[tuple[str, object]]:
    """Return type and decoded octets of each leaf, as the standard library reads them."""
    message = message_from_bytes(content, policy=policy.default)
    return [
        (each.get_content_type(), each.get_payload(decode=True)) for each in message.walk() if not each.is_multipart()
    ]


def test_a_binary_part_becomes_base64() -> None:
    content = multipart(part(b"Content-Type: text/plain\r\n", b"hello"), image(BINARY), head=TOP)
    assert converted(content) == (
        TOP + b'Content-Type: multipart/mixed; boundary="b1"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n'
        b"preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\n"
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(BINARY).replace(b"\n", b"\r\n")
        + b"--b1--\r\nepilogue\r\n"
    )
    assert leaves(converted(content)) == [("text/plain", b"hello"), ("image/png", BINARY)]
    assert b"binary" not in converted(content)


def test_a_large_part_has_lines_of_76_and_decodes_to_itself() -> None:
    octets = BINARY * 400
    result = converted(multipart(image(octets), head=TOP))
    assert leaves(result) == [("image/png", octets)]
    assert result.partition(b"base64\r\n\r\n")[2].startswith(base64.encodebytes(octets).replace(b"\n", b"\r\n"))


def test_a_message_that_is_one_binary_part_ends_its_last_line() -> None:
    content = TOP + image(BINARY)
    assert converted(content).endswith(b"\r\n")
    assert leaves(converted(content)) == [("image/png", BINARY)]


def test_a_mime_message_that_does_not_say_so_says_so_afterwards() -> None:
    assert b"MIME-Version: 1.0\r\n" in converted(image(BINARY))


@pytest.mark.parametrize("label", [b"", b"Content-Transfer-Encoding: 8BIT\r\n"])
def test_text_with_lone_line_ends_becomes_base64_whatever_its_label(label: bytes) -> None:
    text = b"one\ntwo\rthree\0"
    content = multipart(part(b"Content-Type: text/plain\r\n" + label, text), head=TOP)
    assert leaves(converted(content)) == [("text/plain", text)]


@pytest.mark.parametrize(("text", "label"), [(b"hello\r\nyou\r\n", b"7bit"), ("grüß\r\n".encode(), b"8bit")])
def test_text_that_is_binary_by_its_label_only_is_relabelled(text: bytes, label: bytes) -> None:
    content = TOP + part(b"Content-Transfer-Encoding: binary\r\nContent-Type: text/html\r\n", text)
    assert converted(content) == content.replace(b"binary", label)


def test_text_of_overlong_lines_becomes_base64() -> None:
    content = TOP + part(b"Content-Transfer-Encoding: Binary\r\n", b"x" * 999 + b"\r\n")
    assert b"base64" in converted(content)


def test_binary_data_that_looks_like_lines_becomes_base64_all_the_same() -> None:
    assert b"base64" in converted(TOP + image(b"P1\r\n1 1\r\n1\r\n"))


@pytest.mark.parametrize(
    "content",
    [
        TOP + b"\r\nplain text\r\n",
        TOP + b"\r\nno end of line",
        b"no header\r\n\r\nat all\r\n",
        b"",
        b"Subject: no body\r\n",
        TOP + b"Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n",
        TOP + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=00\r\n",
        TOP + b"Content-Transfer-Encoding: x-uuencode\r\n\r\nwhatever\r\n",
        TOP + b"Content-Type: nonsense\r\n\r\nwhatever\r\n",
        TOP + b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 8bit\r\n\r\nwhatever\r\n",
        TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b \t\r\n\r\nx\r\n--b\r\n--b\r\n--bc\r\n--b--",
        TOP + b"Content-Type: multipart/mixed;\r\n boundary=b (comment)\r\n\r\n--b\r\nno header\r\n--b--\r\n",
    ],
)
def test_what_needs_nothing_keeps_every_octet(content: bytes) -> None:
    assert to_transportable(content) == content


def test_messages_within_messages_are_looked_into() -> None:
    inner = TOP + multipart(image(BINARY), boundary=b"inner")
    outer = multipart(
        part(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n", inner),
        part(b"Content-Type: message/global\r\n", TOP + image(b"\0")),
        head=TOP,
    )
    assert leaves(converted(outer)) == [("image/png", BINARY), ("image/png", b"\0")]


def test_the_parts_of_a_digest_are_messages() -> None:
    content = multipart(part(b"", TOP + image(BINARY)), subtype=b"digest", head=TOP)
    assert leaves(converted(content)) == [("image/png", BINARY)]


def test_the_label_of_a_container_tells_the_widest_of_what_is_in_it() -> None:
    text = part(b"Content-Transfer-Encoding: 8bit\r\n", "grüß".encode())
    result = converted(multipart(text, image(BINARY), head=TOP))
    assert result.count(b"Content-Transfer-Encoding: 8bit\r\n") == 2


def test_fields_keep_their_octets_and_places() -> None:
    extra = b"content-DISPOSITION:  attachment;\r\n\tfilename=a\r\nX-Odd:\t \r\n"
    result = converted(multipart(image(b"\0", extra), head=TOP))
    assert b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n" + extra + b"\r\nAA==" in result


def test_a_border_is_a_line_and_no_prefix_of_one() -> None:
    octets = b"\n--b1--\r\0x--b1--\r\n--b1x\r\n"
    assert leaves(converted(multipart(image(octets), head=TOP))) == [("image/png", octets)]


@pytest.mark.parametrize(
    ("content", "enhanced", "words"),
    [
        (multipart(image(b"x"), head=TOP).replace(b"preamble", b"pre\namble"), "5.6.0", "outside of the parts"),
        (multipart(image(b"x"), head=TOP).replace(b"epilogue", b"epi\0logue"), "5.6.0", "outside of the parts"),
        (multipart(image(b"x"), head=TOP).replace(b"--b1--", b""), "5.6.0", "no boundary, or does not end"),
        (multipart(image(b"x"), head=TOP).replace(b'; boundary="b1"', b""), "5.6.0", "no boundary"),
        (multipart(image(b"x"), head=TOP).replace(b'"b1"', b'"b1"; boundary=b2'), "5.6.0", "no boundary"),
        (TOP + b"Content-Type: multipart/mixed; boundary*0=b\r\n\r\n--b\r\n\r\n\0\r\n--b--\r\n", "5.6.0", "boundary"),
        (b"Subject: a\0b\r\n\r\nx", "5.6.0", "header holds a NUL"),
        (b"Subject: a\nb\r\n\r\nx", "5.6.0", "CR or LF alone"),
        (multipart(b"X: \r\r\n\r\nbody", head=TOP), "5.6.0", "CR or LF alone"),
        (multipart(b"X Y: z\r\n\r\n\0", head=TOP), "5.6.0", "contradictory"),
        (multipart(image(BINARY, b"Content-Transfer-Encoding: 8bit\r\n"), head=TOP), "5.6.0", "contradictory"),
        (TOP + b"Content-Transfer-Encoding: base64\r\n\r\nAA\n==", "5.6.3", "a part that is base64 holds"),
        (TOP + b"Content-Transfer-Encoding: x-own\r\n\r\n\0", "5.6.3", "a part that is x-own holds"),
        (TOP + b"Content-Transfer-Encoding: x\r\n 250 Ok\r\n\r\n\0", "5.6.3", r"x\x{D}\x{A} 250 ok holds"),
        (TOP + b"Content-Type: multipart/\xb5; boundary=b\r\n\r\n--b\r\n\r\n\0\r\n--b--\r\n", "5.6.0", "boundary"),
        (TOP + b"Content-Type: multipart/mixed; boundary=b\r\n b\r\n\r\n--b\r\n\0\r\n--b--", "5.6.0", "boundary"),
        (TOP + b"Content-Type: message/delivery-status\r\n\r\n\0", "5.6.3", "a part that is message/delivery-status"),
        (multipart(image(BINARY), subtype=b"signed", head=TOP), "5.6.3", "before signing"),
        (multipart(multipart(image(b"x"), boundary=b"b2"), subtype=b"signed", head=TOP), "5.6.3", "before signing"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused(content: bytes, enhanced: str, words: str) -> None:
    reply = refused(content)
    assert reply.enhanced == enhanced
    assert words in reply.text
    assert reply.text.isprintable()


def test_what_is_signed_and_needs_nothing_stays_signed() -> None:
    signed = multipart(part(b"Content-Type: text/plain\r\n", b"hello"), subtype=b"signed", head=TOP)
    assert to_transportable(signed) == signed.replace(b"binary", b"7bit")


def nested(levels: int) -> bytes:
    content = image(b"\0")
    for level in range(levels):
        content = multipart(content, boundary=b"b%d_" % level)
    return TOP + content


def test_depth_is_bounded() -> None:
    assert leaves(converted(nested(MAX_DEPTH))) == [("image/png", b"\0")]
    assert "levels" in refused(nested(MAX_DEPTH + 1)).text
    letters = TOP
    for _ in range(2000):
        letters = b"Content-Type: message/rfc822\r\n\r\n" + letters
    assert "levels" in refused(letters + b"\r\n\0").text


def test_the_number_of_parts_is_bounded() -> None:
    assert isinstance(to_transportable(multipart(*[b"\r\n"] * (MAX_PARTS - 1), head=TOP)), bytes)
    assert "parts" in refused(multipart(*[b"\r\n"] * MAX_PARTS, head=TOP)).text


binary_parts = st.lists(st.binary(max_size=400), min_size=1, max_size=4)


@given(binary_parts, st.binary(max_size=100))
def test_random_parts_decode_to_themselves(parts: list[bytes], text: bytes) -> None:
    boundary = b"no-such-border"
    letter = part(
        b"Content-Type: message/rfc822\r\n", TOP + multipart(*map(image, parts), boundary=b"inner" + boundary)
    )
    content = multipart(
        *map(image, parts), part(b"Content-Type: text/plain\r\n", text), letter, boundary=boundary, head=TOP
    )
    expected = [*parts, text, *parts]
    found = leaves(converted(content))
    assert len(found) == len(expected)
    for (kind, decoded), octets in zip(found, expected, strict=True):
        # What is left as it was in a text is read by lines, the last of which is the border's.
        assert decoded == octets or (kind == "text/plain" and is_clean(octets))


@given(st.binary(max_size=300))
def test_any_octets_are_made_clean_or_refused(octets: bytes) -> None:
    for content in (octets, TOP + octets, multipart(octets, head=TOP), TOP + b"Content-Type: multipart/x; " + octets):
        result = to_transportable(content)
        assert isinstance(result, Reply) or is_clean(result)


def test_what_the_standard_library_writes_in_binary_comes_through() -> None:
    message = EmailMessage(policy=policy.default.clone(cte_type="8bit", linesep="\r\n"))
    message["Subject"] = "a picture"
    message.set_content("see below\r\n")
    message.add_attachment(BINARY, maintype="application", subtype="octet-stream", cte="binary", filename="a.bin")
    content = message.as_bytes()
    found = leaves(content)
    assert leaves(converted(content))[0] == found[0]
    assert b'filename="a.bin"' in converted(content)
