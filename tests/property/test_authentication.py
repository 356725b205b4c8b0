"""Whatever strangers put into headers and the DNS: it is judged, nothing raises, and nothing escapes our field."""

import asyncio
from collections.abc import Sequence
from typing import Any, NoReturn

from hypothesis import given, settings
from hypothesis import strategies as st

from valija.content.header import HeaderCollector, check, fields
from valija.dns.resolver import Answer, MxRecord, Status
from valija.mail.envelope import Envelope, Recipient
from valija.mail.job import QueueId
from valija.receive.authentication import Authentication, Ground
from valija.receive.check_options import CheckOptions
from valija.receive.checks import Candidate, Client, Verdict
from valija.smtp.events import Mail

BODY_HASH = b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
OPTIONS = CheckOptions(spf="reject", timeout=5.0)
WORDS = st.sampled_from(
    [
        "v=spf1",
        "v=DMARC1;",
        "v=DKIM1;",
        "p=reject;",
        "p=",
        "a",
        "mx",
        "-all",
        "include:x.example",
        "redirect=y.example",
        "exists:%{i}.%{l1r-}",
        "%{",
        "%",
        "k=rsa;",
        "p=AAAA;",
        "psd=y;",
        "exp=e.example",
        "\x00",
        "ü",
        "\udcff",
        ";",
        " ",
        "=",
    ]
)
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)
LINES = st.sampled_from(
    [
        b"From: a@x.example",
        b"From: b@y.example, c@z.example",
        b"From: \xff\xfe",
        b"From: <>",
        b"Subject: s",
        b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed; d=x.example; s=s; h=from;bh=" + BODY_HASH + b"; b=AAAA",
        b"DKIM-Signature: v=1; a=ed25519-sha256; d=\xc3\xbc.example; s=..; h=from:from; bh=; b=",
        b"ARC-Seal: i=1; cv=none; a=rsa-sha256; d=x.example; s=s; b=AAAA",
        b"ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=x.example; s=s; h=from;bh="
        + BODY_HASH
        + b"; b=AAAA",
        b"ARC-Authentication-Results: i=1; x.example; dmarc=pass",
        b"Authentication-Results: (((",
        b"Authentication-Results: mail.example.net; dmarc=pass",
    ]
)


class Oracle:
    """Answers every question of a kind alike."""

    def __init__(self, texts: Sequence[str], status: Status) -> None:
        self._texts = tuple(texts)
        self._status = status

    async def lookup(self, name: str, rtype: str) -> Answer[Any]:
        if self._status is not Status.FOUND:
            return Answer(self._status, detail="as it is")
        records: dict[str, tuple[Any, ...]] = {
            "TXT": self._texts,
            "A": ("192.0.2.1",),
            "AAAA": ("2001:db8::1",),
            "MX": (MxRecord(10, "x.example"),),
            "PTR": ("x.example", "y.example"),
        }
        return Answer(Status.FOUND, records[rtype])


def no_other_body() -> NoReturn:
    raise AssertionError("nobody here wants another body")


async def examined(resolver: Any, header: bytes, helo: str, reverse_path: str) -> Verdict:
    client = Client("smtpd", "192.0.2.7", 1024, helo)
    check_ = Authentication(Ground(OPTIONS, resolver, "mail.example.net", lambda: 1.0), client)
    mail = Mail(reverse_path, 0, "7BIT", False, "", "")
    refusal = check_.on_mail(client, mail)
    if refusal is not None:
        await refusal
    for watcher in check_.on_header(client, header):
        watcher.update(b"body\r\n")
    envelope = Envelope(reverse_path, (Recipient("a@example.net"),))
    candidate = Candidate(QueueId("q1"), 1.0, header, header, 6, lambda: iter([b"body\r\n"]), no_other_body)
    try:
        return await check_.on_content(client, envelope, candidate)
    finally:
        check_.close()


@settings(max_examples=150)
@given(
    st.lists(TEXTS, max_size=2),
    st.sampled_from(list(Status)),
    st.lists(LINES, max_size=8),
    st.text(max_size=30),
    st.sampled_from(["", "a@x.example", '"\\"odd"@x.example', "ü@ü.example", "a@[192.0.2.1]", "postmaster"]),
)
def test_nothing_raises_and_nothing_escapes(
    texts: list[str], status: Status, lines: list[bytes], helo: str, reverse_path: str
) -> None:
    collector = HeaderCollector()
    collector.feed(b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    verdict = asyncio.run(examined(Oracle(texts, status), collector.header, helo, reverse_path))
    assert check(verdict.fields) is None
    assert [field.name for field in fields(verdict.fields)] == [b"authentication-results"]
    verdict.fields.decode("ascii")
    if verdict.refusal is not None:
        assert verdict.refusal.code == 550
        assert status is Status.FOUND
        assert verdict.refusal.encode().isascii()
