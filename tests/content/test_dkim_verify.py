"""The verifier: standard vectors, what dkimpy signs, and every way in which a signature is worth less than a pass."""

import base64
import hashlib
import itertools
import time
from collections.abc import Sequence

import dkim as dkimpy  # type: ignore[import-untyped]  # dkimpy comes without types
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.content.dkim_world import HEADER, NOW, key, pem, record, results, signed, verdicts
from tests.content.test_dkim import BODIES, CRAFTED, GOLDEN
from valija.content.dkim import sign_octets
from valija.content.dkim_canonical import relaxed_fields, signed_octets
from valija.content.dkim_key import DkimKey, dns_record
from valija.content.dkim_signature import MOST_SIGNATURES, parse_signature, signatures
from valija.content.dkim_verify import BodyHashes, verify
from valija.content.header import split

# RFC 6376 appendix C; the message of appendix A.2 is in golden/, with errata 3192 (one blank in "game. Are") and 4926
# (its indentation), without which its own signature does not verify.
RFC_6376_RECORD = (
    "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4j"
    "YfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)
# RFC 8463 appendix A.2
RFC_8463_RECORDS = {
    "brisbane": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "test": "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2j"
    "LQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kr"
    "yOTIKT+l/K4w3QIDAQAB",
}


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes().replace(b"\n", b"\r\n")


@pytest.mark.parametrize("step", [0, 1, 7])
def test_the_example_of_rfc_6376(step: int) -> None:
    (result,) = results(golden("rfc6376.eml"), [RFC_6376_RECORD], step=step)
    assert (result.verdict, result.reason) == ("pass", "")
    assert (result.domain, result.selector) == ("example.com", "brisbane")
    assert (result.identity, result.value_start) == ("joe@football.example.com", "AuUoFEfD")
    (changed,) = results(golden("rfc6376.eml").replace(b"lost the game", b"won the game "), [RFC_6376_RECORD])
    assert (changed.verdict, changed.reason) == ("fail", "the body was changed")


def test_the_examples_of_rfc_8463() -> None:
    header, body = split(golden("rfc8463.eml"))
    found = signatures(header)
    bodies = BodyHashes(found)
    bodies.update(body)
    told = [verify(each, header, bodies, [RFC_8463_RECORDS[each.selector]], NOW) for each in found]
    assert [(each.verdict, each.algorithm) for each in told] == [("pass", "ed25519-sha256"), ("pass", "rsa-sha256")]


FORMS = list(itertools.product((b"simple", b"relaxed"), repeat=2))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("forms", FORMS, ids=lambda forms: b"-".join(forms).decode())
@pytest.mark.parametrize("with_length", [False, True], ids=["whole", "length"])
def test_what_dkimpy_signs_verifies(body: bytes, forms: tuple[bytes, bytes], with_length: bool) -> None:
    message = HEADER + b"\r\n" + body
    field = dkimpy.sign(
        message,
        b"s-rsa",
        b"local.example",
        pem("rsa"),
        canonicalize=forms,
        length=with_length,
        identity=b"a@x.local.example",
    )
    for step in (0, 1, 3):
        (result,) = results(field + message, now=time.time(), step=step)
        assert (result.verdict, result.reason) == ("pass", "")
    # The line end that the simple form adds to a body without one is covered by the length.
    longer = message if body.endswith(b"\r\n") or (not body and forms[1] == b"relaxed") else message + b"\r\n"
    (result,) = results(field + longer + b"more\r\n", now=time.time())
    assert result.verdict == ("policy" if with_length else "fail")


def test_what_ed25519_and_rsa_sign_together_verifies() -> None:
    assert verdicts(signed(CRAFTED, b"body\r\n", key(), key("ed25519"))) == ["pass", "pass"]


def test_a_length_that_leaves_something_unsigned_is_no_pass() -> None:
    message = HEADER + b"\r\nhello\r\n"
    field = dkimpy.sign(message, b"s-rsa", b"local.example", pem("rsa"), length=True)
    (result,) = results(field + message + b"forged\r\n", now=time.time())
    assert (result.verdict, result.reason) == ("policy", "8 octets at the end of the body are not signed (l=)")
    (result,) = results(field + message[:-3], now=time.time())
    assert (result.verdict, result.reason) == ("fail", "the body is shorter than what was signed (l=)")


def changed(old: bytes, new: bytes) -> bytes:
    message = signed()
    assert old in message
    return message.replace(old, new, 1)


@pytest.mark.parametrize(
    ("message", "verdict", "words"),
    [
        (changed(b"Subject: hi", b"Subject: ho"), "fail", "the header was changed"),
        (changed(b"hello", b"hullo"), "fail", "the body was changed"),
        (changed(b"a=rsa-sha256", b"a=rsa-sha1"), "permerror", "rsa-sha1 is too weak"),
        (changed(b"a=rsa-sha256", b"a=rsa-md5"), "neutral", "rsa-md5 is not known"),
        (changed(b"a=rsa-sha256", b"a=ed25519-sha256"), "permerror", "of another kind, rsa"),
        (changed(b"v=1", b"v=2"), "neutral", "unknown version, v=2"),
        (changed(b"v=1; ", b""), "neutral", "has no v="),
        (changed(b"v=1; ", b"v=1; v=1; "), "neutral", "v= stands in it twice"),
        (changed(b"v=1; ", b"v=1; nonsense; "), "neutral", "is not name=value"),
        (changed(b"h=from:from:", b"h="), "permerror", "From is not signed"),
        (changed(b"h=from:", b"h=from::"), "neutral", "empty name"),
        (changed(b"d=local.example", b"d=local..example"), "neutral", "no name the DNS could have"),
        (changed(b"s=s-rsa", b"s=s rsa"), "neutral", "no name the DNS could have"),
        (changed(b"c=relaxed/relaxed", b"c=relaxed/nofws"), "neutral", "canonical form nofws"),
        (changed(b"v=1; ", b"v=1; i=@other.example; "), "permerror", "not of the domain that signs"),
        (changed(b"v=1; ", b"v=1; i=@xlocal.example; "), "permerror", "not of the domain that signs"),
        (changed(b"v=1; ", b"v=1; i=nobody; "), "neutral", "no address"),
        (changed(b"v=1; ", b"v=1; q=http; "), "neutral", "unknown way"),
        (changed(b"v=1; ", b"v=1; l=-1; "), "neutral", "no number"),
        (changed(b"v=1; ", "v=1; l=\u0661; ".encode()), "neutral", "no number"),
        (changed(b"v=1; ", b"v=1; l=" + b"9" * 76 + b"; "), "neutral", "beyond reason"),
        (changed(b"v=1; ", b"v=1; x=5; "), "neutral", "expires before it was made"),
        (changed(b"\tbh=", b"\tbh=_"), "neutral", "bh= is no base64"),
        (changed(b"\tbh=", b"\tbh=AAAA"), "neutral", "bh= has 35 octets"),
        (changed(b"\tb=", b"\tb=;\r\n\tz="), "neutral", "b= has 0 octets"),
    ],
)
def test_what_is_no_pass(message: bytes, verdict: str, words: str) -> None:
    (result,) = results(message)
    assert result.verdict == verdict, result
    assert words in result.reason


OTHER = rsa.generate_private_key(65537, 2048)


def rsa_record(private: rsa.RSAPrivateKey) -> str:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return dns_record(DkimKey.load("local.example", "x", pem))[1]


@pytest.mark.parametrize(
    ("records", "verdict", "words"),
    [
        (None, "temperror", "could not be looked up"),
        ([], "permerror", "not published"),
        (["v=spf1 -all"], "permerror", "no DKIM record"),
        (["google-site-verification=x", record()], "pass", ""),
        ([record(), record()], "permerror", "several keys"),
        ([record().replace("p=", "p=;x=")], "permerror", "revoked"),
        ([record().partition("p=")[0]], "permerror", "has no key"),
        ([record()[:-20]], "permerror", "no rsa key"),
        ([record().replace("; p=", '; p="')], "permerror", "no rsa key"),
        ([record().replace("k=rsa", "k=ed25519")], "permerror", "no ed25519 key"),
        ([record().replace("k=rsa", "k=dsa")], "permerror", "unknown kind"),
        ([record().replace("k=rsa; ", "")], "pass", ""),
        ([record().removeprefix("v=DKIM1; ")], "pass", ""),
        ([record() + ";"], "pass", ""),
        ([record().replace("p=", "p= \t ")], "pass", ""),
        ([record("ed25519")], "permerror", "another kind, ed25519"),
        ([record().replace("k=rsa", "h=sha1; k=rsa")], "permerror", "forbids SHA-256"),
        ([record().replace("k=rsa", "h=sha1 : sha256; k=rsa")], "pass", ""),
        ([record().replace("k=rsa", "s=tlsrpt; k=rsa")], "permerror", "not for mail"),
        ([record().replace("k=rsa", "s=tlsrpt:email; k=rsa")], "pass", ""),
        ([record().replace("v=DKIM1; k=rsa", "k=rsa; v=DKIM1")], "permerror", "v=DKIM1 has to stand first"),
        ([rsa_record(OTHER)], "fail", "another key signed it"),
        ([rsa_record(OTHER).replace("k=rsa", "k=rsa; t=y")], "neutral", "marked as a test"),
    ],
)
def test_what_the_record_makes_of_it(records: list[str] | None, verdict: str, words: str) -> None:
    header, body = split(signed())
    found = signatures(header)
    bodies = BodyHashes(found)
    bodies.update(body)
    result = verify(found[0], header, bodies, records, NOW)
    assert (result.verdict, bool(result.reason)) == (verdict, bool(words)), result
    assert words in result.reason


def test_a_key_that_is_strict_signs_for_its_own_domain_alone() -> None:
    strict = record().replace("k=rsa", "k=rsa; t=s")
    message = HEADER + b"\r\nhello\r\n"
    for identity, verdict in ((b"a@local.example", "pass"), (b"a@sub.local.example", "permerror")):
        field = dkimpy.sign(message, b"s-rsa", b"local.example", pem("rsa"), identity=identity)
        assert verdicts(field + message, [strict], time.time()) == [verdict]


def test_an_rsa_key_in_the_form_that_rfc_6376_speaks_of() -> None:
    public = key().private.public_key()
    bare = base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()
    assert verdicts(signed(), [f"v=DKIM1; p={bare}"]) == ["pass"]


@pytest.mark.parametrize("bits", [1024, 4096])
def test_the_sizes_of_keys_that_are_believed(bits: int) -> None:
    private = rsa.generate_private_key(65537, bits)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    message = signed(HEADER, b"x\r\n", DkimKey.load("local.example", "big", pem))
    assert verdicts(message, [rsa_record(private)]) == ["pass"]


def test_a_key_that_would_keep_us_computing_is_not_believed() -> None:
    huge = rsa.RSAPublicNumbers(65537, (1 << 16383) + 1).public_key()
    published = base64.b64encode(huge.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    (result,) = results(signed(), [f"v=DKIM1; p={published}"])
    assert (result.verdict, "16384 bits" in result.reason) == ("policy", True)


def test_a_weak_key_is_not_believed() -> None:
    # 768 bits, made by openssl genrsa: its record, and a signature of another key, as it must not come to that.
    weak = (
        "v=DKIM1; k=rsa; p=MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhALMSg0M5SpMbB9FfN2Pli2BZt7vgyTQ+1CQcqB4RURW5tRtvv2s0ZTC5"
        "EP8e6EI9zmEDXOwIb12B7qNlRPaBvqTgETT538kfwm5hs3DAd/6pgm832vO1PGCGfXTf3GSaAQIDAQAB"
    )
    (result,) = results(signed(), [weak])
    assert result.verdict == "policy"
    assert "768 bits" in result.reason


@pytest.mark.parametrize(
    ("tags", "now", "verdict"),
    [
        (b"t=1000; x=2000", 1500, "pass"),
        (b"t=1000; x=2000", 2299, "pass"),  # clocks differ
        (b"t=1000; x=2000", 2301, "policy"),
        (b"t=1000", 701, "pass"),
        (b"t=1000", 699, "policy"),
        (b"x=2000", 2301, "policy"),
    ],
)
def test_the_time_in_which_a_signature_holds(tags: bytes, now: float, verdict: str) -> None:
    assert verdicts(resigned(b"v=1; " + tags + b"; "), now=now) == [verdict]


def resigned(tags: bytes = b"v=1; ", header: bytes = HEADER, names: Sequence[bytes] = (b"from", b"subject")) -> bytes:
    """Return a message whose signature has tags and names of the test's own, by the rules alone."""
    digest = base64.b64encode(hashlib.sha256(b"hello\r\n").digest())
    tags += b"a=ed25519-sha256; c=relaxed/relaxed; d=local.example; s=s-ed25519; h=" + b":".join(names)
    start = b"DKIM-Signature: " + tags + b"; bh=" + digest + b"; b="
    own = relaxed_fields(start + b"\r\n")[b"dkim-signature"][0][:-2]
    octets = signed_octets(relaxed_fields(header), names) + own
    return start + base64.b64encode(sign_octets(key("ed25519"), octets)) + b"\r\n" + header + b"\r\nhello\r\n"


def test_internationalised_domains_and_quoted_identities_are_read() -> None:
    named = "v=1; a=rsa-sha256; d=B\u00fccher.example; s=A; i=a=3Db@b\u00fccher.example; h=From"
    signature = parse_signature(f"DKIM-Signature: {named}; bh={'A' * 43}=; b=AAAA\r\n".encode())
    assert (signature.domain, signature.selector) == ("xn--bcher-kva.example", "a")
    assert signature.identity == "a=b@xn--bcher-kva.example"
    assert signature.key_name == "a._domainkey.xn--bcher-kva.example"
    assert signature.fault is None


def test_only_so_many_signatures_are_looked_at() -> None:
    header, _ = split(signed())
    field = header[: header.index(b"From:")]
    assert len(signatures(field * 50 + header)) == MOST_SIGNATURES


def test_a_field_whose_name_ends_in_the_signatures_hides_nothing() -> None:
    """A copy under X-DKIM-Signature must not be taken for the signature, and swallow the field below it."""
    message = signed()
    field = message[: message.index(b"From:")]
    assert verdicts(message) == ["pass"]
    assert verdicts(b"X-" + field + b"From: forged@evil.example\r\n" + message) == ["fail"]


def test_more_than_was_signed_may_stand_above() -> None:
    assert verdicts(b"Received: from a by b; x\r\nX-Spam: no\r\n" + signed()) == ["pass"]
    assert verdicts(b"Subject: forged\r\n" + signed()) == ["fail"]


def test_a_signature_that_signs_others_leaves_itself_out() -> None:
    header, _ = split(signed())
    names = [b"from", b"dkim-signature", b"dkim-signature"]  # the one below, and that there is no other
    assert verdicts(resigned(header=header, names=names)) == ["pass", "pass"]
    assert verdicts(resigned(header=header, names=names).replace(b"t=1764", b"t=1765")) == ["fail", "fail"]
