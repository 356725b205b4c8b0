"""ARC: chains that dkimpy made hold, and break wherever somebody touches them."""

import re
from functools import lru_cache

import dkim  # type: ignore[import-untyped]  # dkimpy comes without types
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from valija.content.arc import ArcResult, read_chain, validate
from valija.content.dkim_key import DkimKey, dns_record, generate
from valija.content.dkim_verify import BodyHashes
from valija.content.header import split

NOW = 1_700_000_000.0
MESSAGE = b"From: Alice <alice@example.org>\r\nTo: list@lists.example\r\nSubject: hello\r\n\r\nbody\r\n"
HOPS = ("lists.example", "forward.example", "last.example")


@lru_cache
def key(domain: str) -> DkimKey:
    return DkimKey.load(domain, "arc", generate("rsa"))


def pem(domain: str) -> bytes:
    return key(domain).private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def sealed(message: bytes, domain: str, seen: str = "dmarc=pass header.from=example.org") -> bytes:
    """Return a message that went through `domain`, whose server saw `seen` and sealed it."""
    cv = "arc=pass" if b"ARC-Seal" in message else "arc=none"
    message = f"Authentication-Results: {domain}; {seen}; {cv}\r\n".encode() + message
    fields = dkim.arc_sign(
        message,
        b"arc",
        domain.encode(),
        pem(domain),
        domain.encode(),
        include_headers=[b"from", b"to", b"subject"],
        timestamp=int(NOW),
    )
    return b"".join(each + b"" for each in fields) + message


def chain_of(*domains: str) -> bytes:
    message = MESSAGE
    for domain in domains:
        message = sealed(message, domain)
    return message


def evaluate(message: bytes, silent: frozenset[str] = frozenset()) -> ArcResult:
    header, body = split(message)
    chain = read_chain(header)
    bodies = BodyHashes(chain.signatures)
    bodies.update(body)
    published = dict(dns_record(key(domain)) for domain in HOPS)
    records = {
        name: None if name in silent else [published[name]] if name in published else [] for name in chain.key_names
    }
    return validate(chain, header, bodies, records, NOW)


def test_a_message_without_a_chain() -> None:
    assert evaluate(MESSAGE) == ArcResult("none")


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_a_chain_that_dkimpy_made_holds(hops: int) -> None:
    result = evaluate(chain_of(*HOPS[:hops]))
    assert result.reason == ""
    assert result.verdict == "pass"
    assert result.sealers == tuple((domain, frozenset({"pass"})) for domain in HOPS[:hops])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject: hello", b"Subject: Hello!"),
        (b"\r\n\r\nbody", b"\r\n\r\nanother body"),
        (b"i=1; lists.example;\r\n dmarc=pass", b"i=1; lists.example;\r\n dmarc=none"),
        (b"cv=none", b"cv=pass"),
        (b"cv=pass", b"cv=fail"),
        (b"i=2;", b"i=4;"),
        (b"i=1;", b"i=0;"),
        (b"i=1;", b"i=x;"),
    ],
)
def test_what_is_touched_breaks_it(old: bytes, new: bytes) -> None:
    message = chain_of(*HOPS[:2])
    assert old in message
    assert evaluate(message.replace(old, new)).verdict == "fail"


@pytest.mark.parametrize("name", [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_field_that_is_missing_or_there_twice_breaks_it(name: bytes, number: int) -> None:
    message = chain_of(*HOPS[:2])
    field = re.search(rb"^" + name + rb":\s*i=%d;[^\n]*\n(?:[ \t][^\n]*\n)*" % number, message, re.MULTILINE)
    assert field
    assert evaluate(message.replace(field[0], b"")).verdict == "fail"
    assert evaluate(field[0] + message).verdict == "fail"


def test_a_key_that_cannot_be_looked_up_is_nobodys_fault() -> None:
    result = evaluate(chain_of(*HOPS[:2]), frozenset({"arc._domainkey.lists.example"}))
    assert result.verdict == "temperror"
    assert not result.vouched_by({"lists.example", "forward.example"})


def test_a_key_that_is_not_published_proves_nothing() -> None:
    other = sealed(MESSAGE, "unknown.example")
    assert evaluate(other).verdict == "fail"


def test_who_is_trusted_has_to_be_the_last_and_all_back_to_the_one_who_saw_it() -> None:
    result = evaluate(chain_of(*HOPS))
    assert result.vouched_by({"last.example"})
    assert not result.vouched_by({"lists.example", "forward.example"})
    message = sealed(sealed(MESSAGE, "lists.example"), "forward.example", seen="dmarc=fail header.from=example.org")
    assert not evaluate(message).vouched_by({"forward.example"})
    assert evaluate(message).vouched_by({"forward.example", "lists.example"})


def test_a_comment_or_quote_is_no_verdict() -> None:
    message = sealed(MESSAGE, "lists.example", seen='dmarc=fail (dmarc=pass) reason="; dmarc=pass"')
    assert evaluate(message).verdict == "pass"
    assert not evaluate(message).vouched_by({"lists.example"})


def test_more_sets_than_anybody_needs_are_not_looked_at() -> None:
    fields = b"".join(b"ARC-Seal: i=%d; cv=pass\r\n" % number for number in range(1, 50))
    assert "more than" in evaluate(fields + MESSAGE).reason
    assert evaluate(b"ARC-Seal: i=51; cv=pass\r\n" + MESSAGE).verdict == "fail"


@given(st.lists(st.sampled_from([b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"])), st.binary())
def test_no_field_raises(names: list[bytes], junk: bytes) -> None:
    value = junk.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
    header = b"".join(b"%s: i=%d; %s\r\n" % (name, number % 2 + 1, value) for number, name in enumerate(names))
    chain = read_chain(header)
    validate(chain, header, BodyHashes(chain.signatures), {}, NOW)
