"""Oddities within a message: whatever is sent is answered in a second, and costs little."""

import time
from typing import Final

import pytest

from tests.abuse.world import PATIENCE, TRUSTED, World, needs_root
from tests.cases.conftest import ALICE, SECRETS
from tests.cases.talk import Talk
from tests.tally import Tally

pytestmark = needs_root

KIB, MIB = 1024, 1024 * 1024
FROM: Final = b"From: Alice <alice@local.example>\r\n"
END: Final = b"\r\nhello\r\n"
MOST_KIB: Final = 40 * KIB  # for a content that is kept in a file from 256 KiB on


def nested(depth: int) -> bytes:
    """Return a MIME message of so many levels, none of which ends."""
    part = b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n'
    return b"MIME-Version: 1.0\r\n" + b"".join(part % (level, level) for level in range(depth))


def chain(sets: int) -> bytes:
    """Return an ARC chain of so many sets."""
    one = (
        b"ARC-Seal: i=%d; a=rsa-sha256; d=d.example; s=s; cv=pass; b=AAAA\r\n"
        b"ARC-Message-Signature: i=%d; a=rsa-sha256; d=d.example; s=s; h=from; bh=AAAA; b=AAAA\r\n"
        b"ARC-Authentication-Results: i=%d; x.example; spf=pass\r\n"
    )
    return b"".join(one % (number, number, number) for number in range(1, sets + 1))


SIGNATURE: Final = b"DKIM-Signature: v=1; a=rsa-sha256; d=d%d.example; s=s; h=from; bh=AAAA; b=AAAA\r\n"
TAKEN: Final = {
    "20,000 levels of MIME": FROM + nested(20_000),
    "300,000 empty parts": FROM + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 300_000,
    "40,000 parameters": FROM + b"Content-Type: text/plain" + b"; a=b" * 40_000 + b"\r\n" + END,
    "huge References": FROM + b"References:" + b"\r\n <a@b.example>" * 16_000 + b"\r\n" + END,
    "a thousand fields": FROM + b"".join(b"X-%d: y\r\n" % number for number in range(990)) + END,
    "a hundred thousand folds": FROM + b"Subject: x" + b"\r\n y" * 60_000 + b"\r\n" + END,
    "encoded words": FROM + b"Subject: " + b"=?utf-8?q?=41?= " * 15_000 + b"\r\n" + END,
    "900 signatures": b"".join(SIGNATURE % number for number in range(900)) + FROM + END,
    "a long list of signed fields": SIGNATURE.replace(b"h=from", b"h=from" + b":from" * 45_000) % 1 + FROM + END,
    "300 ARC sets": chain(300) + FROM + END,
    "results of others": b"Authentication-Results: mail.local.example; spf=pass\r\n" * 990 + FROM + END,
    "comments in comments": b"Authentication-Results: " + b"(" * 100_000 + b"\r\n" + FROM + END,
    "a line of 10 MB": FROM + b"\r\n" + b"y" * (10 * MIB) + b"\r\n",
    "10 MB of blank lines": FROM + b"\r\n" + b"\r\n" * (5 * MIB),
    "10 MB of blanks": FROM + b"\r\n" + b" \t" * (5 * MIB) + b"\r\n",
    "10 MB of dots": FROM + b"\r\n" + b"..\r\n" * (5 * MIB // 2),
}
REFUSED: Final = {
    "a header of 10 MB": FROM + b"X-Large: " + b"y" * (10 * MIB) + b"\r\n" + END,
    "5,000 fields": FROM + b"".join(b"X-%d: y\r\n" % number for number in range(5000)) + END,
    "10 MB of bare LF": FROM + b"\r\n" + b"\n" * (10 * MIB) + b"\r\n",
    "10 MB of NUL": FROM + b"\r\n" + b"\0" * (10 * MIB) + b"\r\n",
}
FORGED: Final = {  # fields that tell whose name a message bears: read closely, so bounded in length
    "a long list": b"alice@local.example, " * 12_000 + b"alice@local.example",
    "empty groups": b"a:;, " * 50_000 + b"alice@local.example",
    "empty quotes": b'""' * 120_000 + b" <alice@local.example>",
    "brackets": b"<" * 240_000 + b"alice@local.example>",
    "nested comments": b"(" * 120_000 + b")" * 120_000 + b" alice@local.example",
}


def alice(world: World) -> Talk:
    client = world.client(TRUSTED, port=465)
    client.hello()
    client.log_in(ALICE, SECRETS[ALICE])
    return client


def stranger(world: World) -> Talk:
    client = world.client("198.18.60.1")
    client.hello()
    return client


@pytest.mark.parametrize("content", TAKEN.values(), ids=TAKEN)
def test_odd_but_lawful(world: World, content: bytes, tally: Tally) -> None:
    with world.measured() as cost:
        for who, sender in ((stranger, "a@remote.example"), (alice, ALICE)):
            with who(world) as client:
                assert send(world, client, sender, content).startswith("250 2.0.0 Ok: queued")
    assert cost.kib < MOST_KIB
    tally("abuse", contents=2, honest_served=2)


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_too_much_of_it(world: World, content: bytes, tally: Tally) -> None:
    with world.measured() as cost, stranger(world) as client:
        assert send(world, client, "a@remote.example", content)[:3] in ("552", "554")
        assert client.say("NOOP").startswith("250")
    assert cost.kib < MOST_KIB // 4
    tally("abuse", contents=1, honest_served=1)


@pytest.mark.parametrize("value", FORGED.values(), ids=FORGED)
def test_a_from_field_that_is_long(world: World, value: bytes, tally: Tally) -> None:
    content = b"From: " + value + b"\r\n" + END
    with world.measured() as cost, alice(world) as client:
        reply = send(world, client, ALICE, content)
        assert reply == "550 5.6.0 The From field is not understood: it is longer than 16384 octets"
    assert cost.kib < MOST_KIB // 4
    assert cost.cpu < 0.3
    tally("abuse", contents=1, honest_served=1)


def send(world: World, client: Talk, sender: str, content: bytes) -> str:
    """Send a content, and have an honest client come meanwhile; return the reply, which must be there in time."""
    client.begin(sender, ALICE)
    client.send(content.replace(b"\r\n.", b"\r\n.."))
    began = time.monotonic()
    client.send(b"\r\n.\r\n")
    world.honest(1)
    reply = client.reply() or "closed"
    assert time.monotonic() - began < 2 * PATIENCE
    return reply


CHUNKS: Final = {"18446744073709551616": "552", "99999999999999": "552", "9" * 500: "552", "-1": "501"}


@pytest.mark.parametrize(("size", "code"), CHUNKS.items(), ids=["2 to the 64th", "100 TB", "500 digits", "negative"])
def test_chunks_of_announced_sizes_that_nobody_sends(world: World, size: str, code: str) -> None:
    with stranger(world) as client, world.measured() as cost:
        client.say("MAIL FROM:<a@remote.example>", f"RCPT TO:<{ALICE}>")
        assert client.say(f"BDAT {size}").startswith(code)
    assert cost.kib < KIB


def test_a_content_in_chunks_of_one_octet(world: World, tally: Tally) -> None:
    content = FROM + b"\r\n" + b"one by one\r\n" * 2000
    with world.measured() as cost, stranger(world) as client:
        client.say("MAIL FROM:<a@remote.example>", f"RCPT TO:<{ALICE}>")
        for start in range(0, len(content), 1000):
            piece = content[start : start + 1000]
            client.send(b"".join(b"BDAT 1\r\n%c" % octet for octet in piece))
            assert all((client.reply() or "").startswith("250") for _ in piece)
        assert client.say("BDAT 0 LAST").startswith("250 2.0.0 Ok: queued")
    assert cost.kib < 2 * KIB
    tally("abuse", chunks=len(content), honest_served=world.honest(1))
