"""What is done to messages on their way in: at submission what is missing is added, elsewhere nothing is."""

import email
import email.policy
import email.utils
import re
import time
from collections.abc import Callable
from typing import Final

import pytest

from tests.cases.conftest import ALICE, SECRETS, Site
from tests.cases.talk import Talk, plain, queue_id_of
from tests.live import Settings
from tests.ports import free_port

FROM: Final = b"From: alice@local.example\r\n"
DATE: Final = b"Date: Wed, 25 Nov 2026 03:00:00 +0000\r\n"
ID: Final = b"Message-ID: <1@local.example>\r\n"
ADDED: Final = "from date message-id"
OUTSIDE: Final = "sender@remote.example"
PLAIN: Final = b"Subject: trace\r\n\r\nhello\r\n"


def fields_of(content: bytes) -> list[tuple[str, str]]:
    """Return the header's fields from the top down, as Python's parser reads them."""
    parsed = email.message_from_bytes(content, policy=email.policy.SMTP)
    assert not parsed.defects, parsed.defects
    return [(name.lower(), str(value)) for name, value in parsed.items()]


def names_of(content: bytes) -> list[str]:
    return [name for name, _ in fields_of(content)]


# C102: what is missing

WANTING: Final = {
    "body only": (b"hello\r\n", b"hello\r\n", ADDED),
    "a sentence with a colon": (b"hello world: it is me\r\n", b"hello world: it is me\r\n", ADDED),
    "text, then what looks like a field": (
        b"hello\r\nSubject: x\r\n\r\ny\r\n",
        b"hello\r\nSubject: x\r\n\r\ny\r\n",
        ADDED,
    ),
    "nothing at all": (b"", b"", ADDED),
    "a blank line first": (b"\r\nSubject: body\r\n", b"Subject: body\r\n", ADDED),
    "no Date": (FROM + ID + b"\r\nhello\r\n", b"hello\r\n", ADDED),
    "no Message-ID": (FROM + DATE + b"\r\nhello\r\n", b"hello\r\n", ADDED),
    "no From": (DATE + ID + b"\r\nhello\r\n", b"hello\r\n", ADDED),
    "a header alone": (FROM + b"Subject: x\r\n", b"", f"{ADDED} subject"),
    "Bcc": (
        FROM + b"bcc: z@remote.example,\r\n y@remote.example\r\nTo: x@remote.example\r\n\r\nx\r\n",
        b"x\r\n",
        f"{ADDED} to",
    ),
}


@pytest.mark.parametrize(("content", "body", "names"), WANTING.values(), ids=WANTING)
def test_c102_submission_adds_what_is_missing_and_signs_it(site: Site, content: bytes, body: bytes, names: str) -> None:
    with site.alice() as talk:
        caught = site.caught(talk.send_message(ALICE, "x@remote.example", content))
    found = names_of(caught.content)
    assert found[:2] == ["received", "dkim-signature"]
    assert sorted(found[2:]) == sorted(names.split())
    assert caught.content.partition(b"\r\n\r\n")[2] == body
    assert site.is_signed(caught.content)
    assert re.fullmatch(r"<[^<>@\s]+@local\.example>", caught.field("Message-ID"))
    assert email.utils.parseaddr(caught.field("From"))[1] == ALICE
    assert email.utils.parsedate_to_datetime(caught.field("Date")).tzinfo


def test_c102_each_message_id_is_unique(site: Site) -> None:
    with site.alice() as talk:
        replies = [talk.send_message(ALICE, "x@remote.example", b"hello\r\n") for _ in range(20)]
    assert len({site.caught(reply).field("Message-ID") for reply in replies}) == 20


@pytest.mark.parametrize("content", [case[0] for case in WANTING.values()], ids=WANTING)
@pytest.mark.parametrize("trusted", [False, True], ids=["stranger", "mynetworks"])
def test_c102_nothing_but_the_trace_is_invented_on_smtpd(site: Site, content: bytes, trusted: bool) -> None:
    client = site.trusted() if trusted else site.stranger()
    with client as talk:
        reply = talk.send_message(OUTSIDE, "x@remote.example" if trusted else ALICE, content)
    if trusted:
        message = site.caught(reply).content
        above = ["received", "dkim-signature"] if site.is_signed(message) else ["received"]
    else:
        message = site.delivered(reply).replace(b"\n", b"\r\n")
        above = ["return-path", "delivered-to", "received", "authentication-results"]
    assert names_of(message)[: len(above)] == above
    own = re.search(rb"\r\n(?:[^\t][^\r]*)?" + re.escape(_as_stored(content)) + rb"\Z", message)
    assert own, message
    assert names_of(message)[len(above) :] == names_of(_as_stored(content))


def _as_stored(content: bytes) -> bytes:
    """Return a content with the blank line that parts header and body, where it had none."""
    if content.startswith(b"hello"):
        return b"\r\n" + content
    return content if b"\r\n\r\n" in content or content.startswith(b"\r\n") else content + b"\r\n"


# C104: the trace field

RECEIVED: Final = re.compile(
    r"from (?P<helo>\S+) \(\[(?P<address>[^\]]+)\]\)( \((?P<tls>TLSv1\.\d \w+)\))? by mail\.local\.example"
    r" with (?P<keyword>\S+) id (?P<id>\w+)( for <(?P<recipient>[^>]+)>)?; (?P<date>.+)"
)
KEYWORDS: Final = {
    # port, greeting, TLS, SMTPUTF8
    ("smtpd", "HELO", False, False): "SMTP",
    ("smtpd", "HELO", True, False): "SMTP",
    ("smtpd", "EHLO", False, False): "ESMTP",
    ("smtpd", "EHLO", True, False): "ESMTPS",
    ("smtpd", "EHLO", False, True): "UTF8SMTP",
    ("smtpd", "EHLO", True, True): "UTF8SMTPS",
    ("submission", "EHLO", True, False): "ESMTPSA",
    ("submission", "EHLO", True, True): "UTF8SMTPSA",
    ("submissions", "EHLO", True, False): "ESMTPSA",
    ("submissions", "EHLO", True, True): "UTF8SMTPSA",
}


def connect(site: Site, port: str, greeting: str, tls: bool) -> Talk:
    """Return a client that has greeted so, logged in where users come."""
    talk = Talk(getattr(site.server, port), source="127.0.0.2", tls=port == "submissions")
    talk.reply()
    if tls and port != "submissions":
        assert talk.say("EHLO before.example", "STARTTLS").startswith("220")
        talk.start_tls()
    assert talk.say(f"{greeting} client.example").startswith("250")
    if port != "smtpd":
        talk.log_in(ALICE, SECRETS[ALICE])
    return talk


@pytest.mark.parametrize("recipients", [1, 3])
@pytest.mark.parametrize(("circumstances", "keyword"), KEYWORDS.items())
def test_c104_the_received_field(
    site: Site, circumstances: tuple[str, str, bool, bool], keyword: str, recipients: int
) -> None:
    port, greeting, tls, utf8 = circumstances
    addresses = [f"x{number}@remote.example" for number in range(recipients)]
    before = b"Received: from elsewhere by nowhere; Wed, 25 Nov 2026 03:00:00 +0000\r\n"
    with connect(site, port, greeting, tls) as talk:
        content = before + FROM + PLAIN
        reply = talk.send_message(ALICE, *_split(addresses, content), parameters=" SMTPUTF8" if utf8 else "")
    caught = site.caught(reply)
    assert [value for name, value in fields_of(caught.content) if name == "received"][1].startswith("from elsewhere")
    assert names_of(caught.content)[0] == "received", "the newest stands on top"
    trace = caught.field("Received")
    found = RECEIVED.fullmatch(trace)
    assert found, trace
    assert found["keyword"] == keyword
    assert found["helo"] == "client.example"
    assert found["address"] == "127.0.0.2"
    assert bool(found["tls"]) == tls
    assert found["id"] == queue_id_of(reply)
    assert found["recipient"] == (addresses[0] if recipients == 1 else None)
    moment = email.utils.parsedate_to_datetime(found["date"])
    assert moment.tzinfo
    assert abs(moment.timestamp() - time.time()) < 60
    assert "alice" not in trace
    assert SECRETS[ALICE] not in caught.content.decode()


def _split(addresses: list[str], content: bytes) -> tuple[str, bytes, *tuple[str, ...]]:
    return addresses[0], content, *addresses[1:]


@pytest.mark.parametrize("recipient", ["sales@local.example", '"a b"@remote.example', "grå@remote.example"])
def test_c104_for_tells_nothing_more_than_the_sender_knew(site: Site, recipient: str) -> None:
    site.server.valija("alias", "add", "sales@local.example", "hidden@remote.example")
    with site.trusted() as talk:
        caught = site.caught(talk.send_message(OUTSIDE, recipient, PLAIN, parameters=" SMTPUTF8"))
    trace = caught.field("Received")
    assert "hidden" not in trace
    assert trace.isascii()
    assert (" for <sales@local.example>;" in trace) == (recipient == "sales@local.example")


def test_c104_an_ipv6_client_is_named_by_its_literal(sites: Callable[[Settings], Site]) -> None:
    site = sites({"mynetworks": ["[::1]/128"], "smtpd": {"listen": [f"[::1]:{(port := free_port('::1'))}"]}})
    with Talk(port, host="::1", source="::1") as talk:
        talk.hello("[IPv6:::1]")
        caught = site.caught(talk.send_message(OUTSIDE, "x@remote.example", PLAIN))
    assert caught.field("Received").startswith("from [IPv6:::1] ([IPv6:::1]) by mail.local.example with ESMTP id ")


def test_c104_a_login_without_a_mail_leaves_no_trace(site: Site) -> None:
    since = site.server.log.mark()
    with connect(site, "submission", "EHLO", True) as talk:
        assert talk.say(f"AUTH PLAIN {plain(ALICE, SECRETS[ALICE])}").startswith("503")
        assert talk.say("QUIT").startswith("221")
    site.server.wait_for_log(f"session .*role=submission .*login={ALICE} messages=0", since=since)


# C105: the border of header and body

CROOKED: Final = {
    "leading blank": b" X: y\r\nFrom: alice@local.example\r\n\r\nbody\r\n",
    "leading tab": b"\tX: y\r\nFrom: alice@local.example\r\n\r\nbody\r\n",
    "no field among fields": FROM + b"Not a header\r\nSubject: x\r\n\r\nbody\r\n",
    "no colon at the end": FROM + b"Subject\r\n\r\nbody\r\n",
    "empty name": FROM + b": x\r\n\r\nbody\r\n",
    "8-bit name": FROM + "Sübject: x\r\n\r\nbody\r\n".encode(),
    "control in a name": FROM + b"Sub\x01ject: x\r\n\r\nbody\r\n",
    "blank before the colon": FROM + b"Subject : x\r\n\r\nbody\r\n",
    "NUL in a value": FROM + b"Subject: a\0b\r\n\r\nbody\r\n",
    "NUL in a name": b"From\0: alice@local.example\r\n\r\nbody\r\n",
    "2,000 fields": FROM + b"".join(b"X-%d: y\r\n" % number for number in range(2000)) + b"\r\nbody\r\n",
    "300 kB in one field": FROM + b"X-Long: " + b"y" * 300_000 + b"\r\n\r\nbody\r\n",
    "300 kB in folds": FROM + b"X-Long: " + b"y\r\n " * 75_000 + b"\r\n\r\nbody\r\n",
    "a mailbox's From line": b"From alice Wed Nov 25 03:00:00 2026\r\n" + FROM + b"\r\nbody\r\n",
    "bare LF as the border": FROM + b"Subject: x\n\nbody\r\n",
    "101 hops": b"Received: from a by b; Wed, 25 Nov 2026 03:00:00 +0000\r\n" * 101 + FROM + b"\r\nbody\r\n",
}


@pytest.mark.parametrize("content", CROOKED.values(), ids=CROOKED)
@pytest.mark.parametrize("port", ["smtpd", "submissions"])
def test_c105_a_crooked_header_is_refused(site: Site, port: str, content: bytes) -> None:
    before = len(site.sink.caught)
    with connect(site, port, "EHLO", port != "smtpd") as talk:
        assert re.match(r"55[024] 5\.\d\.\d ", talk.send_message(ALICE, "x@remote.example", content))
        site.caught(talk.send_message(ALICE, "x@remote.example", FROM + b"\r\nfine\r\n"))
    assert len(site.sink.caught) == before + 1


STRAIGHT: Final = {
    "no blank line": FROM + DATE + ID + b"Subject: x\r\n",
    "a fold of blanks": FROM + DATE + ID + b"Subject: x\r\n  \r\n y\r\n\r\nbody\r\n",
    "fields of no value": FROM + DATE + ID + b"Subject:\r\nX:\r\n\r\nbody\r\n",
    "8-bit values": FROM + DATE + ID + "Subject: grüße\r\n\r\nkörper\r\n".encode(),
    "odd octets": FROM + DATE + ID + b"Subject: \xff\xfe\x80\r\n\r\n\xff\x7f\x01\r\n",
    "990 fields": FROM + DATE + ID + b"".join(b"X-%d: y\r\n" % number for number in range(990)) + b"\r\nbody\r\n",
    "200 kB of header": FROM + DATE + ID + b"X-Long: " + b"y" * 200_000 + b"\r\n\r\nbody\r\n",
    "50 hops": b"Received: from a by b; Wed, 25 Nov 2026 03:00:00 +0000\r\n" * 50 + FROM + DATE + ID + b"\r\nbody\r\n",
    "body only of line ends": FROM + DATE + ID + b"\r\n" + b"\r\n" * 1000,
}


@pytest.mark.parametrize("content", STRAIGHT.values(), ids=STRAIGHT)
@pytest.mark.parametrize("port", ["smtpd", "submissions"])
def test_c105_what_is_only_odd_goes_through_octet_for_octet(site: Site, port: str, content: bytes) -> None:
    with connect(site, port, "EHLO", port != "smtpd") as talk:
        caught = site.caught(talk.send_message(ALICE, "x@remote.example", content))
    expected = content if b"\r\n\r\n" in content else content + b"\r\n"
    assert caught.content.endswith(b"\r\n" + expected)
    assert site.is_signed(caught.content)
