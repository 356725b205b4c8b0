"""The queue's promises as clients see them: every content gets an answer, and the answer agrees with what happens."""

import random
import re
import time
from typing import Final

import pytest

from tests.cases.conftest import ALICE, Site, starting_sites
from tests.cases.talk import Talk
from tests.fakedns import FakeDns, Script
from tests.tally import Tally

MANY: Final = 800  # messages; with --soak as many as the case asks for
SOAK: Final = 10_000
PATIENCE: Final = 10.0  # seconds for a verdict here; a client has ten minutes (RFC 5321 section 4.5.3.2.6)
ROUND: Final = 10  # messages a session
FROM: Final = b"From: alice@local.example\r\n"

HEADERS: Final = (
    b"", FROM, FROM + b"Subject: x\r\n", FROM + "Subject: grüße\r\n".encode(), FROM + b"Subject: \xff\xfe\r\n",
    FROM + b"Subject:\r\n a\r\n\tb\r\n  \r\n c\r\n", FROM + b"X: " + b"y" * 3000 + b"\r\n", FROM * 2,
    FROM + b"Not a field\r\n", b" X: y\r\n" + FROM, FROM + b"Subject : x\r\n", FROM + b": x\r\n",
    FROM + b"X:\r\n" * 900, FROM + b"X:\r\n" * 1500, b"From: <>\r\n", b"From: bob@local.example\r\n",
    FROM + b"To: undisclosed-recipients:;\r\nBcc: x@remote.example\r\n", FROM + b"Date: yesterday\r\n",
    FROM + b"Message-ID: <<>>\r\n", FROM + b"Content-Type: multipart/mixed; boundary=\r\n",
    FROM + b"Content-Transfer-Encoding: base64\r\n", FROM + b"DKIM-Signature: v=1; a=x; b=; bh=\r\n",
    FROM + b"Authentication-Results: mail.local.example; spf=pass\r\n",
    b"Received: from a by b; x\r\n" * 45 + FROM, b"Received: from a by b; x\r\n" * 120 + FROM,
)  # fmt: skip
BODIES: Final = (
    b"", b"x\r\n", b"\r\n\r\n\r\n", b"..\r\n...\r\n", b"x" * 998 + b"\r\n", b"x" * 20_000 + b"\r\n", b"8 \xe4 bits\r\n",
    b"lone LF\nx\r\n", b"lone CR\rx\r\n", b"NUL \0\r\n", b"\x1b[31m\x07\r\n", b"line\r\n" * 2000,
    b"\xff" * 500 + b"\r\n", b"--\r\n--x--\r\n", b"From x\r\n", b"y" * 300_000 + b"\r\n", b"= \t \r\n",
)  # fmt: skip


def message(chance: random.Random) -> bytes:
    """Return a content, dot-stuffed, whose header is odd, or its body, or both."""
    header, body = chance.choice(HEADERS), chance.choice(BODIES)
    return header + chance.choice((b"\r\n", b"")) + body


def messages(request: pytest.FixtureRequest) -> int:
    return SOAK if request.config.getoption("--soak") else MANY


@pytest.mark.parametrize("client", ["stranger", "trusted", "alice"])
def test_c112_every_content_gets_an_answer_that_is_true(
    site: Site, tally: Tally, request: pytest.FixtureRequest, client: str
) -> None:
    chance = random.Random(f"c112 {client}")
    sender, recipient = ("a@remote.example", ALICE) if client == "stranger" else (ALICE, "x@remote.example")
    taken: list[str] = []
    slowest, refused, count = 0.0, 0, messages(request) // 3
    sent = 0
    while sent < count:
        with getattr(site, client)() as talk:
            for _ in range(ROUND):
                verdict, seconds = _send(talk, sender, recipient, message(chance), in_chunks=chance.random() < 0.3)
                assert re.match(r"250 2\.0\.0 Ok: queued as |55[024] 5\.\d\.\d ", verdict), verdict
                if verdict.startswith("250"):
                    taken.append(verdict.rpartition(" ")[2])
                else:
                    refused += 1
                sent, slowest = sent + 1, max(slowest, seconds)
    assert slowest < PATIENCE
    for queue_id in taken:
        site.server.wait_for_log(rf"removed .*queue_id={queue_id}\b")
    delivered = re.findall(r"attempt .*queue_id=(\S+) .*outcome=delivered", site.server.log.text)
    assert set(taken) <= set(delivered)
    assert len(set(taken)) == len(taken)
    assert refused > 0
    assert _arrived(site, client) == sorted(taken)
    tally("fuzzing", varied_messages=sent, taken=len(taken), refused=refused, without_an_answer=0, lost=0)


def _send(talk: Talk, sender: str, recipient: str, content: bytes, *, in_chunks: bool) -> tuple[str, float]:
    """Send a content; return the verdict, and how long it took. There is exactly one."""
    if in_chunks:
        assert talk.say(f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>").startswith("250")
        talk.send(b"BDAT %d LAST\r\n" % len(content) + content)
    else:
        talk.begin(sender, recipient)
        end = b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"
        talk.send(re.sub(rb"(\A|\r\n)\.", rb"\1..", content) + end)
    began = time.monotonic()
    verdict = talk.reply() or "closed"
    seconds = time.monotonic() - began
    assert talk.say("RSET") == "250 2.0.0 Ok"
    return verdict, seconds


def _arrived(site: Site, client: str) -> list[str]:
    """Return the ids of the messages that arrived from this client, each as often as it did."""
    if client == "stranger":
        traces = (file.read_bytes().decode("latin-1") for file in site.server.data_dir.rglob("new/*"))
    else:
        traces = (each.field("Received") for each in site.sink.caught)
    found = (re.search(r"by mail\.local\.example\s+with (\S+)\s+id (\w+)", trace) for trace in traces)
    tls = {"trusted": "ESMTP", "alice": "ESMTPSA", "stranger": "ESMTP"}[client]
    return sorted(match[2] for match in found if match and match[1] == tls)


def test_c112_an_answer_also_where_the_dns_is_silent(tally: Tally) -> None:
    """What is asked about a stranger's mail is given up in time, and is no reason to refuse."""
    with FakeDns({}) as dns, starting_sites() as start:
        dns.default = Script(silent=True)
        site = start({"dns": {"nameservers": [dns.nameserver]}, "checks": {"timeout": "1s"}})
        site.furnish()
        with site.stranger() as talk:
            talk.begin("a@remote.example", ALICE)
            signature = b"DKIM-Signature: v=1; a=rsa-sha256; d=remote.example; s=x; h=from; bh=eA==; b=eA==\r\n"
            began = time.monotonic()
            talk.send(signature + b"From: a@remote.example\r\nSubject: x\r\n\r\nx\r\n.\r\n")
            verdict = talk.reply() or "closed"
            assert time.monotonic() - began < PATIENCE
            assert verdict.startswith("250"), verdict
            assert talk.say("NOOP").startswith("250")
            site.delivered(verdict)
    tally("faults", answers_without_dns=1, lost=0)
