"""The site that the cases speak of: local.example is hosted here, everything else lies behind a sink."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import dkim  # type: ignore[import-untyped]  # dkimpy comes without types
import pytest

from tests.cases.talk import Talk, queue_id_of, submitter
from tests.live import HOST, LiveServer, Settings, overlay
from tests.sink import CatchingSink, Caught

ALICE: Final = "alice@local.example"
BOB: Final = "bob@local.example"
SECRETS: Final = {ALICE: "open sesame", BOB: "hunter2"}
TRUSTED: Final = "127.0.0.2"  # in mynetworks; who comes from 127.0.0.1 is a stranger
LOG_LINE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (info|warn|error) ")
SITE: Final[Settings] = {
    "hostname": "mail.local.example",
    "domains": ["local.example"],
    "mynetworks": [f"{TRUSTED}/32"],
    "smtpd": {"greet_pause": "0s"},  # time saved: a stranger is else given 0.1 s to speak out of turn
    "submission": {"greet_pause": "0s"},
}


class Site:
    """A running server, its next hop, and what became of messages."""

    def __init__(self, server: LiveServer, sink: CatchingSink) -> None:
        self.server = server
        self.sink = sink
        self.dkim_record = b""
        self.ed25519_record = ""

    @property
    def worker(self) -> int:
        """The one worker's process id."""
        (pid,) = self.server.pids()[1:]
        return pid

    def furnish(self) -> None:
        """Add the users, and a key to sign their mail with."""
        for address, password in SECRETS.items():
            self.server.add_user(address, password)
        created = self.server.valija("dkim", "create", "local.example", "--json")
        assert created.returncode == 0, created.stderr
        self.dkim_record = json.loads(created.stdout)["value"].encode()

    def stranger(self) -> Talk:
        """Return a client on smtpd that nobody trusts, greeted."""
        client = Talk(self.server.smtpd)
        client.hello()
        return client

    def trusted(self) -> Talk:
        """Return a client on smtpd from mynetworks, greeted."""
        client = Talk(self.server.smtpd, source=TRUSTED)
        client.hello()
        return client

    def alice(self, *, tls: bool = True, source: str = HOST) -> Talk:
        """Return alice, logged in on submissions, or on submission."""
        port = self.server.submissions if tls else self.server.submission
        return submitter(port, ALICE, SECRETS[ALICE], tls=tls, source=source)

    def caught(self, reply: str) -> Caught:
        """Return the message that a 250 was given for, as the sink got it."""
        trace = f"id {queue_id_of(reply)}"
        with self.sink.changed:
            assert self.sink.changed.wait_for(lambda: self._caught(trace), 20), f"nothing with {trace} arrived"
            (message,) = self._caught(trace)
        return message

    def _caught(self, trace: str) -> list[Caught]:
        return [each for each in self.sink.caught if trace in each.field("Received")]

    def delivered(self, reply: str) -> bytes:
        """Return the message that a 250 was given for, as it lies in its one Maildir."""
        queue_id = queue_id_of(reply)
        self.server.wait_for_log(rf"attempt .*queue_id={queue_id} .*outcome=delivered")
        files = (file.read_bytes() for file in self.server.data_dir.rglob("new/*"))
        (message,) = (text for text in files if f"id {queue_id}".encode() in text)
        return message

    def is_signed(self, content: bytes) -> bool:
        """Whether a message is signed for local.example. A signature that does not verify fails the test."""
        if b"DKIM-Signature:" not in content:
            return False
        assert dkim.verify(content, dnsfunc=lambda name, timeout=5: self.dkim_record), content[:2000]
        return True


def assert_only_lines_of_ours(server: LiveServer) -> None:
    """Nothing but the log's own lines was written: no traceback, and nothing that a library had to say."""
    odd = [line for line in server.log.text.splitlines() if not LOG_LINE.match(line)]
    assert not odd, odd


@contextmanager
def starting_sites() -> Iterator[Callable[[Settings], Site]]:
    """Start sites, by what differs from SITE."""
    with ExitStack() as stack:

        def start(settings: Settings) -> Site:
            sink = stack.enter_context(CatchingSink())
            server = LiveServer(overlay({**SITE, "smtp": {"relayhost": sink.relayhost}}, settings))
            stack.callback(assert_only_lines_of_ours, server)  # once it has stopped
            return Site(stack.enter_context(server), sink)

        yield start


@pytest.fixture(scope="module")
def sites() -> Iterator[Callable[[Settings], Site]]:
    """Start sites that live as long as a module's tests."""
    with starting_sites() as start:
        yield start


@pytest.fixture(scope="module")
def site(sites: Callable[[Settings], Site]) -> Site:
    """One site with users and a key, for all cases of a module."""
    site = sites({})
    site.furnish()
    return site


@pytest.fixture
def fresh_site() -> Iterator[Site]:
    """A site of one test's own, with users and a key."""
    with starting_sites() as start:
        site = start({})
        site.furnish()
        yield site
