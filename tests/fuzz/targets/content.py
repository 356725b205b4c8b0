"""Contents: headers and what is done to them, MIME structures, and what signatures and chains of others hold."""

import email
import email.policy
import re
from collections.abc import Hashable

from tests.fuzz.engine import Target
from valija.content.arc import read_chain, validate
from valija.content.authentication_results import (
    NAME,
    Result,
    authserv_id_of,
    results_field,
    verdicts_in,
    without_claims,
)
from valija.content.binary import to_transportable
from valija.content.dkim_signature import parse_signature, signatures
from valija.content.dkim_verify import BodyHashes, verify
from valija.content.header import HeaderCollector, check, fields, names, without
from valija.content.local_addresses import LocalNames, complete_header
from valija.content.submission import author_addresses, check_once, fix_up, sender_claims
from valija.content.tls_required import waives_tls
from valija.content.trace import check_hops, was_delivered_to
from valija.mail.reply import Reply

_LOCAL = LocalNames("example.org", frozenset({"localhost"}))
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_NOW = 1_800_000_000.0
_OURS = "mail.example.org"


def _clean(given: bytes) -> bytes:
    """Return octets as the SMTP machine lets them through: in the corpus lines may end in LF alone."""
    return re.sub(rb"\r|\0", b"", given).replace(b"\n", b"\r\n")


def run_header(given: bytes) -> Hashable:
    """Collect a header, cut otherwise; whatever is changed in it, the other fields keep every octet."""
    content = _clean(given)
    header, body, refusal = _collected(content, 10**9)
    assert _collected(content, 1) == _collected(content, 7) == (header, body, refusal)
    if refusal is not None:
        assert refusal.code in (552, 554)
        assert refusal.text.isprintable()
        return refusal.text[:20]
    assert check(header) is None
    assert b"".join(field.raw for field in fields(header)) == header
    _check_names(header)
    _check_edits(header)
    for found in (author_addresses(header), *sender_claims(header).values()):
        assert isinstance(found, Reply) or all("@" in address and address.isprintable() for address in found)
    check_hops(header)
    waives_tls(header)
    was_delivered_to(header, "a@b.example")
    return tuple(names(header)[:6])


def _collected(content: bytes, size: int) -> tuple[bytes, bytes, Reply | None]:
    collector = HeaderCollector()
    body = b"".join(collector.feed(content[start : start + size]) for start in range(0, len(content), size))
    body += collector.finish()
    return collector.header, body, collector.refusal


def _check_names(header: bytes) -> None:
    """Another reader, of Python's library, sees the same fields."""
    read = email.message_from_bytes(header + b"\r\n", policy=email.policy.compat32)
    assert [name.lower().encode() for name in read.keys()] == names(header)  # noqa: SIM118 - a name may stand twice


def _check_edits(header: bytes) -> None:
    raw = [(field.name, field.raw) for field in fields(header)]
    kept = [octets for name, octets in raw if name not in (b"bcc", b"received")]
    assert [field.raw for field in fields(without(header, b"bcc", b"received"))] == kept
    left = without_claims(header, _OURS)
    assert _others(left, NAME) == _others(header, NAME)
    assert all(authserv_id_of(each.value) != _OURS for each in fields(left) if each.name == NAME)
    assert without_claims(left, _OURS) == left
    completed = complete_header(header, _LOCAL)
    assert names(completed) == names(header)
    assert check(completed) is None
    if check_once(header) is None and not isinstance(author_addresses(header), Reply):
        mended = fix_up(header, user_address="u@l.example", hostname="h.example", now=_NOW, unique="1")
        assert check(mended) is None
        dropped = (b"bcc", b"resent-bcc", b"return-path", b"content-length")
        assert mended.startswith(without(header, *dropped))
        assert check_once(mended) is None


def _others(header: bytes, name: bytes) -> list[bytes]:
    return [field.raw for field in fields(header) if field.name != name]


def run_mime(given: bytes) -> Hashable:
    """Make a binary content fit to travel: what comes out is clean, stays as it is, and decodes to the same."""
    made = to_transportable(given)
    if isinstance(made, Reply):
        assert made.code in (552, 554)
        assert made.text.isprintable()
        return made.enhanced, made.text[:20]
    assert not _LONE.search(made)
    assert to_transportable(made) == made
    if not _LONE.search(given.replace(b"\0", b"")) and b"(" not in given:  # Python's reader knows no comments
        assert _decoded(made) == _decoded(given)
    return len(_decoded(made))


def _decoded(content: bytes) -> list[tuple[str, bytes]]:
    """Return the parts' types and octets, by Python's reader; what it makes of the last line's end is left out."""
    parts = email.message_from_bytes(content, policy=email.policy.compat32).walk()
    return [
        (part.get_content_type(), _octets(part.get_payload(decode=True))) for part in parts if not part.is_multipart()
    ]


def _octets(payload: object) -> bytes:
    return payload.rstrip(b"\r\n") if isinstance(payload, bytes) else b""


def run_signatures(given: bytes) -> Hashable:
    """Judge signatures and chains of anybody, with what a name server says: `records` behind a form feed."""
    written, _, records = given.partition(b"\f")
    header, body, refusal = _collected(_clean(written), 10**9)
    if refusal is not None:
        return "refused"
    texts = [text.decode("utf-8", "surrogateescape") for text in records.split(b"\n") if text]
    found = signatures(header)
    chain = read_chain(header)
    bodies = BodyHashes([*found, *chain.signatures])
    bodies.update(body)
    verdicts = []
    for signature in found:
        result = verify(signature, header, bodies, texts, _NOW)
        assert result.reason.isprintable()
        verdicts.append(result.verdict)
    arc = validate(chain, header, bodies, dict.fromkeys(chain.key_names, texts), _NOW)
    assert arc.verdict in ("none", "pass", "fail", "temperror")
    arc.vouched_by({"x.example"})
    for field in fields(header)[:5]:
        parse_signature(field.raw)
    return arc.verdict, tuple(verdicts[:4])


def run_results(given: bytes) -> Hashable:
    """Write results of checks that hold anything, and read fields that others wrote."""
    value = _clean(given).replace(b"\r\n", b"\r\n ")
    claimed = authserv_id_of(value)
    assert claimed is None or claimed.isprintable()
    verdicts_in(value)
    text = given.decode("utf-8", "surrogateescape")
    octets = results_field(_OURS, [Result("spf", "fail", (("smtp.mailfrom", text), ("smtp.helo", text)), text)])
    octets.decode("ascii")
    assert check(octets) is None
    assert [field.name for field in fields(octets)] == [NAME]
    assert authserv_id_of(octets[len(NAME) + 1 :]) == _OURS
    assert verdicts_in(octets[len(NAME) + 1 : -2]) == {"spf": ["fail"]}
    assert without_claims(octets, _OURS) == b""
    return claimed


def _words(*more: bytes) -> tuple[bytes, ...]:
    return (
        b"From: a@b.example\n", b"To: c@d.example\n", b"Subject: x\n", b"\n", b"\n\n", b" folded\n", b"\tfolded\n",
        b"Bcc: e@f.example\n", b"Received: from x by y; z\n", b"Return-Path: <>\n", b":", b"From ", b">From x\n",
        *more,
    )  # fmt: skip


_HEADER_WORDS = _words(
    b"Authentication-Results: mail.example.org; spf=pass\n",
    b"Authentication-Results: (a) \"Mail.Example.ORG\" 1; none\n", b"Sender: a@localhost\n", b"Resent-From: a@b\n",
    b"TLS-Required: No\n", b"Delivered-To: a@b.example\n", b"Message-ID: <1@x>\n", b"Date: \n",
    b"=?utf-8?q?mail.example.org?=", b"\xef\xbd\x8d", b"Content-Length: 5\n",
)  # fmt: skip
_MIME_WORDS = (
    b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: text/plain\r\n", b"\r\n\r\n", b"--b\r\n",
    b"--b--\r\n", b"Content-Transfer-Encoding: binary\r\n", b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Type: message/rfc822\r\n", b"Content-Type: multipart/signed; boundary=\"b\"\r\n",
    b"Content-Transfer-Encoding: 8bit\r\n", b"\0", b"\r", b"\n", b"MIME-Version: 1.0\r\n", b"boundary=\"b c\"",
    b"boundary*=utf-8''b", b"boundary=b; boundary=c", b"\xff", b"--b \t\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-Type: message/partial\r\n", b"Content-Type: ;\r\n",
)  # fmt: skip
_SIGNATURE_WORDS = _words(
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=x.example; s=s; h=from:to; bh=AAAA; b=AAAA\n", b"v=1;",
    b"a=ed25519-sha256;", b"a=rsa-sha1;", b"c=simple;", b"l=0;", b"l=99999999999999999999;", b"t=1;", b"x=1;",
    b"i=@x.example;", b"q=dns/txt;", b"h=;", b"d=;", b"s=a..b;", b"z=From:a;",
    b"ARC-Seal: i=1; cv=none; a=rsa-sha256; d=x; s=s; b=AAAA\n",
    b"ARC-Message-Signature: i=1; a=rsa-sha256; d=x; s=s; h=from; bh=AAAA; b=AAAA\n", b"i=2;", b"i=51;", b"cv=fail;",
    b"ARC-Authentication-Results: i=1; x; dmarc=pass\n", b"\fv=DKIM1; k=rsa; p=AAAA", b"p=;", b"k=ed25519;",
    b"t=s:y;", b"h=sha1;",
)  # fmt: skip
_RESULT_WORDS = (
    b"mail.example.org", b"spf=pass", b";", b"(", b")", b'"', b"\\", b"dmarc=pass", b"reason=\"x\"",
    b"smtp.mailfrom=a@b", b" 1", b"=?utf-8?q?mail=2Eexample.org?=", b"/", b"=", b".", b"@", b"arc=pass (i=1)",
    b"none", "ｍail.example.org".encode(),
)  # fmt: skip


TARGETS = (
    Target("headers", run_header, _HEADER_WORDS, cost=4),
    Target("mime", run_mime, _MIME_WORDS, cost=3),
    Target("signatures", run_signatures, _SIGNATURE_WORDS, cost=3),
    Target("results", run_results, _RESULT_WORDS, largest=1000),
)
