"""Sealing with ARC: dkimpy and our own validation accept the chains, and what can't be continued is left alone."""

import dkim  # type: ignore[import-untyped]  # dkimpy comes without types
import pytest

from tests.content.test_arc import MESSAGE, NOW, evaluate, key, sealed
from valija.content.arc_seal import key_to_seal_with, seal
from valija.content.dkim import sign
from valija.content.dkim_canonical import body_hash
from valija.content.dkim_key import DkimKey, dns_record, generate
from valija.content.header import split

US = "forward.example"
SEEN = (
    b"Authentication-Results: forward.example;\r\n\tspf=pass smtp.mailfrom=x@a.example;\r\n"
    b"\tdmarc=pass header.from=a.example\r\n"
)
SEEN_CHAIN = b"Authentication-Results: forward.example; dmarc=fail header.from=a.example; arc=pass\r\n"


def with_seal(message: bytes, keys: DkimKey | None = None) -> bytes:
    header, body = split(message)
    return seal(header, body_hash(body), keys or key(US), NOW, US) + message


def dkimpy_says(message: bytes) -> str:
    published = dict(dns_record(key(domain)) for domain in ("lists.example", US, "last.example"))
    verdict, _, _ = dkim.arc_verify(
        message, dnsfunc=lambda name, timeout=5: published[name.decode().rstrip(".")].encode()
    )
    return str(verdict.decode())


def test_a_first_set_is_good() -> None:
    message = with_seal(SEEN + MESSAGE)
    assert dkimpy_says(message) == "pass"
    assert evaluate(message).verdict == "pass"
    assert evaluate(message).vouched_by({US})
    assert message.startswith(b"ARC-Seal: i=1; a=rsa-sha256; t=1700000000; cv=none;\r\n\td=forward.example; s=arc;")
    assert b"ARC-Authentication-Results: i=1; forward.example;\r\n\tspf=pass" in message


def test_a_set_on_top_of_others_is_good_and_so_is_one_on_top_of_it() -> None:
    second = with_seal(SEEN_CHAIN + sealed(MESSAGE, "lists.example"))
    assert dkimpy_says(second) == evaluate(second).verdict == "pass"
    assert [domain for domain, _ in evaluate(second).sealers] == ["lists.example", US]
    third = sealed(second, "last.example")
    assert dkimpy_says(third) == evaluate(third).verdict == "pass"


def test_a_signature_below_is_covered() -> None:
    header, body = split(MESSAGE)
    signature = sign(header, body_hash(body), [key("last.example")], NOW)
    message = with_seal(SEEN + signature + MESSAGE)
    assert dkimpy_says(message) == "pass"
    assert evaluate(message.replace(b"DKIM-Signature: v=1;", b"DKIM-Signature: v=2;")).verdict == "fail"


@pytest.mark.parametrize(
    "change", [(b"Subject: hello", b"Subject: hallo"), (b"\r\nbody", b"\r\nBody"), (b"spf=pass", b"spf=none")]
)
def test_a_change_breaks_it(change: tuple[bytes, bytes]) -> None:
    assert evaluate(with_seal(SEEN + MESSAGE).replace(*change)).verdict == "fail"


def test_trace_fields_put_on_top_do_not_break_it() -> None:
    message = b"Delivered-To: a@example.org\r\nReceived: from x by y; Tue, 25 Nov 2025 02:26:00 +0000\r\n"
    assert dkimpy_says(message + with_seal(SEEN + MESSAGE)) == "pass"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Authentication-Results: somebody.example; dmarc=pass\r\n",
        b"Authentication-Results: \xff\r\n",
    ],
)
def test_without_results_of_ours_there_is_nothing_to_say(header: bytes) -> None:
    message = header + MESSAGE
    assert with_seal(message) == message


@pytest.mark.parametrize("arc", [b"arc=fail", b"arc=temperror", b"arc=pass; arc=fail", b"dmarc=pass"])
def test_a_chain_that_was_not_found_good_is_left_alone(arc: bytes) -> None:
    message = b"Authentication-Results: forward.example; " + arc + b"\r\n" + sealed(MESSAGE, "lists.example")
    assert with_seal(message) == message


def test_a_chain_with_a_gap_is_left_alone() -> None:
    message = SEEN_CHAIN + sealed(MESSAGE, "lists.example").replace(b"ARC-Seal: i=1", b"ARC-Seal: i=2")
    assert with_seal(message) == message


def test_a_key_of_rsa_is_taken_where_there_is_one() -> None:
    rsa, ed25519 = key(US), DkimKey.load(US, "ed", generate("ed25519"))
    assert key_to_seal_with([ed25519, rsa]) is rsa
    assert key_to_seal_with([ed25519]) is ed25519
    assert key_to_seal_with([]) is None
