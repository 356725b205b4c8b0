"""Signatures, verified by dkimpy, and the example of RFC 8463 appendix A, octet for octet."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

import dkim as dkimpy  # type: ignore[import-untyped]  # dkimpy comes without types
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from valija.content.dkim import sign, sign_octets
from valija.content.dkim_canonical import BodyHasher, body_hash, relaxed_fields, signed_octets
from valija.content.dkim_key import DkimKey, Kind, dns_record, generate
from valija.content.header import fields, split

GOLDEN = Path(__file__).parent.parent / "golden" / "dkim"
NOW = 1764072000.0

HEADER = (
    b"From: Alice <alice@local.example>\r\nTo: x@remote.example\r\nSubject: hi\r\n"
    b"Date: Tue, 25 Nov 2025 12:00:00 +0000\r\nMessage-ID: <1@local.example>\r\n"
)


@cache
def key(kind: Kind = "rsa") -> DkimKey:
    return DkimKey.load("local.example", f"s-{kind}", generate(kind))


def signed(header: bytes, body: bytes, *keys: DkimKey) -> bytes:
    return sign(header, body_hash(body), keys or (key(),), NOW) + header + b"\r\n" + body


def verifies(message: bytes, number: int = 0) -> bool:
    records = {f"{name}.".encode(): value.encode() for name, value in map(dns_record, (key(), key("ed25519")))}
    try:
        return bool(dkimpy.DKIM(message).verify(idx=number, dnsfunc=lambda name, timeout=5: records[name]))
    except dkimpy.ValidationError:
        return False


def relaxed_body(body: bytes) -> bytes:
    """Return the canonical body, line by line, as RFC 6376 section 3.4.4 words it."""
    lines = [re.sub(rb"[ \t]+", b" ", line).removesuffix(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


BODIES = {
    "plain": b"hello\r\n",
    "empty": b"",
    "one empty line": b"\r\n",
    "only empty lines": b"\r\n" * 5,
    "only blanks": b" \t \r\n\t\r\n",
    "empty lines at the end": b"a\r\n\r\n\r\n",
    "blanks at line ends": b"a \t\r\n b\t\tc  \r\n \r\n",
    "dots": b".\r\n..\r\n.x\r\n",
    "8-bit": "Gr\u00fc\u00dfe\r\n".encode() + b"\xff\xfe\r\n",
    "no last line end": b"a\r\nb",
    "a lone blank line first": b" \r\nx\r\n",
    "form feed": b"a\x0c\x0bb \x0c\r\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_kind_of_body_verifies(body: bytes) -> None:
    assert verifies(signed(HEADER, body))
    assert body_hash(body) == hashlib.sha256(relaxed_body(body)).digest()


@pytest.mark.parametrize("length", [998, 999, 1000, 5000])
def test_c026_long_lines_are_signed_as_they_leave(length: int) -> None:
    message = signed(HEADER, b"x" * length + b"\r\n" + b"y z " * (length // 4) + b"\r\n")
    assert verifies(message)
    assert not verifies(message.replace(b"x" * length, b"x" * (length // 2) + b"\r\n" + b"x" * (length - length // 2)))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_cut_of_the_body_does_not_matter(body: bytes) -> None:
    for step in (1, 2, 3):
        hasher = BodyHasher()
        for at in range(0, len(body), step):
            hasher.update(body[at : at + step])
        assert hasher.digest() == body_hash(body)


def test_a_body_of_empty_lines_is_counted_not_kept() -> None:
    hasher = BodyHasher()
    for _ in range(100):
        hasher.update(b"\r\n" * 10_000)
    hasher.update(b"x\r\n")
    assert hasher.digest() == hashlib.sha256(b"\r\n" * 1_000_000 + b"x\r\n").digest()


CRAFTED = (
    b"from:Alice \xc3\x9c <alice@local.example>\r\nTO: x@remote.example,\r\n\t  y@remote.example \t\r\n"
    b"Subject:   a long\t\tsubject\r\n \t \r\n\tgoes  on   \r\n"
    b"Cc:\r\nDate:Tue, 25 Nov 2025 12:00:00 +0000\r\nX-Other: one\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain;\r\n charset=utf-8\r\nMessage-ID: <1@local.example>\r\nSender: bob@local.example\r\n"
)


def test_c122_folds_tabs_blanks_8_bit_and_empty_values_verify() -> None:
    assert verifies(signed(CRAFTED, b"body\r\n"))


@pytest.mark.parametrize(
    "name", ["From", "To", "Cc", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Reply-To"]
)
@pytest.mark.parametrize("header", [HEADER, CRAFTED], ids=["short", "crafted"])
def test_c122_a_prepended_field_breaks_the_signature(name: str, header: bytes) -> None:
    message = signed(header, b"body\r\n")
    assert verifies(message)
    assert not verifies(f"{name}: forged@evil.example\r\n".encode() + message)


def test_c122_an_unsigned_field_may_be_prepended() -> None:
    assert verifies(b"Received: from a by b; x\r\nX-Spam: no\r\n" + signed(HEADER, b"body\r\n"))


def test_c122_no_octet_can_be_appended() -> None:
    message = signed(HEADER, b"body\r\n")
    assert b" l=" not in message
    assert not verifies(message + b"more\r\n")


def test_c122_what_is_listed() -> None:
    value = relaxed_fields(sign(CRAFTED, body_hash(b""), (key(),), NOW))[b"dkim-signature"][0]
    listed = re.search(rb"h=([^;]*);", value)
    assert listed
    names = listed[1].replace(b" ", b"").decode().split(":")
    assert names.count("from") == names.count("subject") == names.count("cc") == 2
    assert names.count("reply-to") == names.count("in-reply-to") == 1
    assert names.count("sender") == 1
    assert "x-other" not in names


def test_fields_that_occur_twice_are_all_signed() -> None:
    header = HEADER + b"List-Id: one\r\nList-Id: two\r\n"
    message = signed(header, b"body\r\n")
    assert verifies(message)
    assert not verifies(message.replace(b"List-Id: one", b"List-Id: eno"))
    assert not verifies(message.replace(b"List-Id: two", b"List-Id: owt"))


def test_c070_without_exactly_one_from_nothing_is_signed() -> None:
    assert sign(HEADER + b"From: bob@local.example\r\n", body_hash(b""), (key(),), NOW) == b""
    assert sign(b"To: x@remote.example\r\n", body_hash(b""), (key(),), NOW) == b""
    assert sign(HEADER, body_hash(b""), (), NOW) == b""


def test_two_keys_make_two_signatures() -> None:
    message = signed(HEADER, b"body\r\n", key(), key("ed25519"))
    found = [field.raw for field in fields(split(message).header) if field.name == b"dkim-signature"]
    assert [b"a=rsa-sha256" in raw for raw in found] == [True, False]
    assert b"a=ed25519-sha256" in found[1]
    assert verifies(message, 0)


def test_an_ed25519_signature_is_over_the_hash_of_the_same_octets() -> None:
    field = sign(CRAFTED, body_hash(b"body\r\n"), (key("ed25519"),), NOW)
    check_by_hand(field, CRAFTED, key("ed25519"))
    with pytest.raises(InvalidSignature):
        check_by_hand(field, CRAFTED.replace(b"goes  on", b"goes off"), key("ed25519"))


def check_by_hand(field: bytes, header: bytes, signer: DkimKey) -> None:
    own = relaxed_fields(field)[b"dkim-signature"][0]
    listed, value = tag(own, b"h").split(b":"), base64.b64decode(tag(own, b"b"))
    octets = signed_octets(relaxed_fields(header), listed) + emptied(own)
    assert isinstance(signer.private, Ed25519PrivateKey)
    signer.private.public_key().verify(value, hashlib.sha256(octets).digest())


def tag(signature: bytes, name: bytes) -> bytes:
    match = re.search(rb"[ :;]" + name + rb"=([^;\r]*)", signature)
    assert match
    return match[1].replace(b" ", b"")


def emptied(signature: bytes) -> bytes:
    """Return a relaxed DKIM-Signature as it is signed: b= empty, no last line end."""
    return re.sub(rb"([ ;]b=)[^;\r]*", rb"\1", signature).removesuffix(b"\r\n")


def test_the_field_is_folded() -> None:
    field = sign(HEADER + b"List-Id: x\r\n" * 30, body_hash(b""), (key(),), NOW)
    assert max(len(line.expandtabs(8)) for line in field.split(b"\r\n")) <= 78
    assert len(fields(field)) == 1


@pytest.mark.parametrize(("number", "selector"), [(0, "brisbane"), (1, "test")])
def test_the_example_of_rfc_8463(number: int, selector: str) -> None:
    message = (GOLDEN / "rfc8463.eml").read_bytes().replace(b"\n", b"\r\n")
    header, body = split(message)
    own = relaxed_fields(header)[b"dkim-signature"][number]
    assert base64.b64decode(tag(own, b"bh")) == body_hash(body)
    octets = signed_octets(relaxed_fields(header), tag(own, b"h").split(b":")) + emptied(own)
    assert sign_octets(rfc8463_key(selector), octets) == base64.b64decode(tag(own, b"b"))


def rfc8463_key(selector: str) -> DkimKey:
    if selector == "test":
        return DkimKey.load("football.example.com", selector, (GOLDEN / "rfc8463-rsa.pem").read_bytes())
    seed = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    return DkimKey("football.example.com", selector, Ed25519PrivateKey.from_private_bytes(seed))


def test_the_records_of_rfc_8463() -> None:
    assert dns_record(rfc8463_key("brisbane")) == (
        "brisbane._domainkey.football.example.com",
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    )
    name, value = dns_record(rfc8463_key("test"))
    assert name == "test._domainkey.football.example.com"
    assert value.startswith("v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08")
