"""Protocol parsing, end to end: what the dialogues can't show, because it concerns the next hop, memory or the log."""

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest

from tests.cases.conftest import ALICE, Site
from tests.cases.memory import grown
from tests.cases.talk import Talk, plain, queue_id_of
from tests.live import HOST, Settings
from tests.ports import free_port

FLOOD = 200 * 1024 * 1024  # octets
PIECE = 64 * 1024
FROM_ALICE = b"From: alice@local.example\r\n"

Client = Callable[[Site], Talk]
SENDERS: dict[str, Client] = {
    "submissions": lambda site: site.alice(),
    "submission": lambda site: site.alice(tls=False),
    "mynetworks": lambda site: site.trusted(),
}


# C005: the sink takes LF.CRLF as the end of a message, on purpose


@pytest.mark.parametrize("client", SENDERS.values(), ids=SENDERS)
@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
@pytest.mark.parametrize(
    "evil",
    [
        b"line1\nline2\r\n",
        b"x\ry\r\n",
        b"\n.\r\nMAIL FROM:<s@evil.example>\r\nRCPT TO:<v@evil.example>\r\nDATA\r\nboo\r\n",
        b"\r.\r\nMAIL FROM:<s@evil.example>\r\n",
        b"ends with CR\r",
    ],
)
def test_c005_no_lone_line_end_is_relayed(site: Site, client: Client, verb: str, evil: bytes) -> None:
    content = FROM_ALICE + b"Subject: c005\r\n\r\n" + evil
    before = len(site.sink.caught)
    with client(site) as talk:
        if verb == "DATA":
            talk.begin(ALICE, "x@remote.example")
            talk.send(content + b"\r\n.\r\n")
        else:
            assert talk.say(f"MAIL FROM:<{ALICE}>", "RCPT TO:<x@remote.example>").startswith("250")
            talk.send(b"BDAT %d LAST\r\n" % len(content) + content)
        assert (talk.reply() or "").startswith("554 5.6.0")
        fine = talk.send_message(ALICE, "x@remote.example", FROM_ALICE + b"Subject: fine\r\n\r\nfine\r\n")
    caught = site.caught(fine)
    assert len(site.sink.caught) == before + 1
    assert caught.reverse_path == ALICE
    without_ends = caught.content.replace(b"\r\n", b"")
    assert b"\r" not in without_ends
    assert b"\n" not in without_ends
    assert site.is_signed(caught.content)


@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
def test_c005_dots_at_every_border_arrive_as_they_were(site: Site, verb: str) -> None:
    body = b".\r\n..\r\n.x\r\n\r\n.\r\n" * 3 + b"." * 70_000 + b"\r\n.\r\n"
    content = FROM_ALICE + b"Subject: dots\r\n\r\n" + body
    with site.alice() as talk:
        if verb == "DATA":
            talk.begin(ALICE, "x@remote.example")
            talk.send(b"\r\n".join(b"." + line if line[:1] == b"." else line for line in content.split(b"\r\n")))
            talk.send(b".\r\n")
        else:
            talk.say(f"MAIL FROM:<{ALICE}>", "RCPT TO:<x@remote.example>")
            for start in range(0, len(content), 5000):
                talk.send(b"BDAT %d\r\n" % len(content[start : start + 5000]) + content[start : start + 5000])
                assert (talk.reply() or "").startswith("250")
            talk.send(b"BDAT 0 LAST\r\n")
        caught = site.caught(talk.reply() or "")
    assert caught.content.endswith(b"\r\n\r\n" + body)
    assert site.is_signed(caught.content)


# C010, C023: who is no SMTP client, or no patient one


@pytest.fixture(scope="module")
def patient(sites: Callable[[Settings], Site]) -> Site:
    """A site that waits with its banner, as it does by default; so long that no test is too slow to interrupt it."""
    return sites({port: {"greet_pause": "10s"} for port in ("smtpd", "submission")})


@pytest.mark.parametrize("port", ["smtpd", "submission"])
def test_c010_speaking_before_the_banner(patient: Site, port: str) -> None:
    site, since = patient, patient.server.log.mark()
    with Talk(getattr(site.server, port)) as talk:
        talk.send(b"EHLO x\r\nMAIL FROM:<a@remote.example>\r\nRCPT TO:<alice@local.example>\r\n")
        assert (talk.reply() or "").startswith("554 5.5.0")
        assert talk.is_closed()
    site.server.wait_for_log(f"session .*role={port} .*before the banner", since=since)


def test_c010_content_before_354(site: Site) -> None:
    with site.stranger() as talk:
        talk.send(b"MAIL FROM:<a@remote.example>\r\nRCPT TO:<alice@local.example>\r\nDATA\r\nRSET\r\nQUIT\r\n.\r\n")
        answers = [(talk.reply() or "")[:9] for _ in range(3)]
        assert answers == ["250 2.1.0", "250 2.1.5", "554 5.5.0"]
        assert talk.is_closed()


HTTP_POST = (
    b"POST / HTTP/1.1\r\nHost: mail.local.example\r\nContent-Length: 99\r\n\r\nEHLO x\r\nMAIL FROM:<>\r\n"
    b"RCPT TO:<alice@local.example>\r\nDATA\r\nSubject: browser\r\n\r\nboo\r\n.\r\n"
)
FOREIGN = {
    "tls": b"\x16\x03\x01\x01\x1a\x01\x00\x01\x16\x03\x03" + bytes(range(256)),
    "get": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "post": HTTP_POST,
    "long get": b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("port", ["smtpd", "submission"])
@pytest.mark.parametrize("octets", FOREIGN.values(), ids=FOREIGN)
def test_c023_not_smtp_at_all(site: Site, port: str, octets: bytes) -> None:
    with site.alice() as other, Talk(getattr(site.server, port)) as talk:
        assert (talk.reply() or "").startswith("220")
        talk.send(octets)
        assert (talk.reply() or "").startswith("500")
        assert talk.is_closed()
        assert other.say("NOOP").startswith("250")


@pytest.mark.parametrize("octets", [b"EHLO x\r\n", HTTP_POST, b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"a" * 70_000])
def test_c023_clear_text_to_submissions(site: Site, octets: bytes) -> None:
    with site.alice() as other, Talk(site.server.submissions) as talk:
        talk.send(octets)
        heard = talk.socket.recv(100)
        assert heard == b"" or heard[:1] == b"\x15", "an alert at most"
        assert other.say("NOOP").startswith("250")


def test_c023_a_post_in_tls_delivers_nothing(site: Site) -> None:
    with Talk(site.server.submissions, tls=True) as browser:
        browser.send(HTTP_POST)
        first = browser.reply() or ""
        last = browser.reply() if first.startswith("220") else first
        assert re.match("500|554", last or "")
        assert browser.is_closed()


# C020: quoted local parts


def test_c020_quoted_local_parts_reach_the_next_hop_as_they_were(site: Site) -> None:
    quoted = ('"odd user"@remote.example', '"a@b"@remote.example', '""@remote.example', r'"a\"b"@remote.example')
    with site.alice() as talk:
        caught = site.caught(talk.send_message(ALICE, quoted[0], b"Subject: c020\r\n\r\nx\r\n", *quoted[1:]))
    assert caught.recipients == quoted
    with site.trusted() as talk:
        caught = site.caught(talk.send_message('" "@remote.example', quoted[0], b"Subject: c020\r\n\r\nx\r\n"))
    assert caught.reverse_path == '" "@remote.example'


# Clients that leave early


@pytest.mark.parametrize("client", SENDERS.values(), ids=SENDERS)
def test_who_says_goodbye_before_the_250_has_sent_the_message(site: Site, client: Client) -> None:
    before = len(site.sink.caught)
    with client(site) as talk:
        talk.begin(ALICE, "x@remote.example")
        talk.send(FROM_ALICE + b"Subject: bye\r\n\r\nx\r\n.\r\n")
        if isinstance(talk.socket, ssl.SSLSocket):
            talk.socket.unwrap()
        else:
            talk.socket.shutdown(socket.SHUT_WR)
            assert (talk.reply() or "").startswith("250")
            assert talk.is_closed()
    assert site.sink.wait_for(before + 1)[-1].field("Subject") == "bye"


# C024: endless lines


def _before_hello(site: Site) -> Talk:
    talk = Talk(site.server.smtpd)
    assert (talk.reply() or "").startswith("220")
    return talk


def _in_data(site: Site) -> Talk:
    talk = site.trusted()
    talk.begin("a@remote.example", "x@remote.example")
    return talk


def _in_body(site: Site) -> Talk:
    talk = _in_data(site)
    talk.send(b"Subject: x\r\n\r\n")
    return talk


def _in_auth(site: Site) -> Talk:
    talk = Talk(site.server.submissions, tls=True)
    talk.hello()
    assert talk.say("AUTH PLAIN").startswith("334")
    return talk


PLACES: dict[str, tuple[Client, str]] = {
    "before EHLO": (_before_hello, "500 5.5.6"),
    "in a header": (_in_data, "552 5.3.4"),
    "in a body": (_in_body, "552 5.3.4"),
    "in AUTH": (_in_auth, "500 5.5.6"),
}


@pytest.mark.parametrize("octet", [b"\0", b"a"], ids=["NUL", "a"])
@pytest.mark.parametrize(("place", "answer"), PLACES.values(), ids=PLACES)
def test_c024_an_endless_line(site: Site, place: Client, answer: str, octet: bytes) -> None:
    with place(site) as talk, grown(site.worker) as growth, _Meanwhile(site) as others:
        has_all = _flood(talk, octet * PIECE)
        heard = talk.reply()
        assert heard is None or heard.startswith(answer), heard
        assert heard is None or talk.is_closed()
        assert heard or not has_all, "the server cuts it off"
        others.served.wait(20)
    assert others.slowest < 5.0
    assert growth.kib < 20 * 1024


def _flood(talk: Talk, piece: bytes) -> bool:
    """Send FLOOD octets; return whether they could be sent (inside TLS the server swallows some after its end)."""
    try:
        for _ in range(FLOOD // len(piece)):
            talk.socket.sendall(piece)
    except OSError:
        return False
    return True


class _Meanwhile:
    """Other clients, one after another, each of whom the server answers soon."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.served = threading.Event()
        self.slowest = 0.0

    def __enter__(self) -> "_Meanwhile":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        assert self.served.is_set(), "nobody else was served"

    def _run(self) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            with Talk(self._site.server.smtpd, source="127.0.0.2") as talk:
                talk.hello()
                assert talk.say("QUIT").startswith("221")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.served.set()


# C026: long lines


@pytest.mark.parametrize("length", [998, 999, 1000, 5000, 300_000])
def test_c026_a_long_line_stays_whole_and_its_signature_holds(site: Site, length: int) -> None:
    body = b"<p>" + b"x" * (length - 3) + b"\r\nend\r\n"
    content = FROM_ALICE + b"Subject: long\r\n\r\n" + body
    with site.alice() as talk:
        caught = site.caught(talk.send_message(ALICE, "x@remote.example", content))
    assert caught.content.endswith(b"\r\n\r\n" + body)
    assert site.is_signed(caught.content)


def test_c026_a_long_header_line_too(site: Site) -> None:
    content = FROM_ALICE + b"Subject: " + b"x " * 2000 + b"\r\n\r\nbody\r\n"
    with site.alice() as talk:
        caught = site.caught(talk.send_message(ALICE, "x@remote.example", content))
    assert b"Subject: " + b"x " * 2000 + b"\r\n" in caught.content
    assert site.is_signed(caught.content)


# C027, C028: what a client says of itself never begins a line of its own

NAMES = {
    "EHLO [192.0.2.1]": "from [192.0.2.1]",
    "EHLO [IPv6:2001:db8::1]": "from [IPv6:2001:db8::1]",
    "EHLO a_b": "from a_b",
    "EHLO x) (y": "from x___y",
    "HELO x;y": "from x_y",
    "HELO <x>": "from _x_",
    "EHLO x\\": "from x_",
    'EHLO "x': "from _x",
}
REFUSED_NAMES = [
    b"EHLO",
    b"HELO ",
    b"EHLO x\nX-Injected: 1",
    b"EHLO x\rX-Injected: 1",
    b"EHLO x\0y",
    b"EHLO \x1b[31mred",
    "EHLO x\x85y".encode(),
    "EHLO x\u2028y".encode(),
    "EHLO x\u202ey".encode(),
    b"EHLO \xff",
]


@pytest.mark.parametrize(("greeting", "expected"), NAMES.items())
def test_c027_an_odd_name_in_the_trace_field(site: Site, greeting: str, expected: str) -> None:
    with Talk(site.server.smtpd) as talk:
        talk.reply()
        assert talk.say(greeting).startswith("250")
        message = site.delivered(talk.send_message("a@remote.example", ALICE, b"Subject: c027\r\n\r\nx\r\n"))
    (received,) = re.findall(rb"(?m)^Received: .*\n(?:\t.*\n)+", message)
    assert received.decode().startswith(f"Received: {expected} ([127.0.0.1])")
    assert received.count(b"(") == received.count(b")") == 1
    assert b"Subject: c027\n\nx\n" in message


def test_c027_names_that_are_refused(site: Site) -> None:
    since = site.server.log.mark()
    for greeting in REFUSED_NAMES:
        with Talk(site.server.smtpd) as talk:
            talk.reply()
            talk.send(greeting + b"\r\n")
            assert (talk.reply() or "")[:3] in ("500", "501"), greeting
            assert talk.say("NOOP").startswith("250")
            assert talk.say("MAIL FROM:<>").startswith("503"), "it is not greeted"
    site.server.wait_for_log("session ", since=since)
    _assert_clean(site.server.log.text)


HOSTILE = {
    "AUTH": f"MAIL FROM:<{ALICE}> AUTH=x+0AReceived:+20evil",
    "ENVID NUL": "MAIL FROM:<> ENVID=a+00b",
    "ENVID CR": "MAIL FROM:<> ENVID=a+0Db",
    "ENVID lower hex": "MAIL FROM:<> ENVID=a+2b",
    "ENVID =": "MAIL FROM:<> ENVID=a=b",
    "ENVID DEL": "MAIL FROM:<> ENVID=a+7Fb",
    "ENVID long": f"MAIL FROM:<> ENVID={'a' * 101}",
}


def test_c028_what_hides_in_xtext_is_refused(site: Site) -> None:
    with site.alice() as talk:
        for command in HOSTILE.values():
            assert talk.say(command).startswith("501 5.5.4"), command
        talk.say(f"MAIL FROM:<{ALICE}>")
        for orcpt in ("rfc822;a+0Ab@remote.example", "rfc822;a+00b", "rfc822;a+2b", "rfc822;a=b", "", ";", "a;"):
            assert talk.say(f"RCPT TO:<x@remote.example> ORCPT={orcpt}").startswith("501 5.5.4"), orcpt


def test_c027_c028_nothing_begins_a_line_of_its_own(sites: Callable[[Settings], Site]) -> None:
    site = sites({"smtp": {"relayhost": f"[{HOST}]:{free_port()}"}})  # nobody is there: everything stays queued
    odd = ('"a\\ b"@local.example', "a\u202eb@local.example", "\u200f\ufeff@local.example")
    with Talk(site.server.smtpd, source="127.0.0.2") as talk:
        talk.reply()
        assert talk.say("EHLO x'\"`$(id)<b>").startswith("250")
        for sender in odd:
            reply = talk.send_message(
                sender,
                f"{'z' * 60}\u2066\u061c@remote.example",
                b"Subject: x\r\n\r\nx\r\n",
                parameters=" SMTPUTF8 ENVID=a+20b",
            )
            site.server.wait_for_log(rf"attempt .*queue_id={queue_id_of(reply)} .*outcome=deferred")
    for arguments in (["queue", "list"], ["queue", "show", queue_id_of(reply)]):
        shown = site.server.valija(*arguments)
        assert shown.returncode == 0, shown.stderr
        assert "remote.example" in shown.stdout
        _assert_clean(shown.stdout)
    assert [message["reverse_path"] for message in site.server.queue()] == list(odd)
    _assert_clean(site.server.log.text)


def _assert_clean(text: str) -> None:
    """Nothing in a text for people's eyes moves the cursor, turns the writing round or breaks a line."""
    odd = [char for char in text if not char.isprintable() and char != "\n"]
    assert not odd, f"{odd!r} in {text!r}"
    assert "X-Injected" not in text or "\\nX-Injected" in text


def test_no_secret_reaches_the_log(site: Site) -> None:
    with Talk(site.server.submission) as talk:
        talk.hello()
        talk.say(f"AUTH PLAIN {plain(ALICE, 'sent in clear')}")
        talk.say("STARTTLS")
        talk.start_tls()
        talk.ehlo()
        assert talk.say(f"AUTH PLAIN {plain(ALICE, 'mistyped')}").startswith("535")
        assert talk.say(f"AUTH PLAIN {plain(ALICE, 'mistyped')}=").startswith("501")
        talk.log_in(ALICE, "open sesame")
        talk.say("QUIT")
    site.server.wait_for_log("session .*role=submission .*ended=quit")
    for secret in ("sent in clear", "mistyped", "open sesame", plain(ALICE, "mistyped"), plain(ALICE, "sent in clear")):
        assert secret not in site.server.log.text
