"""Delivery, end to end: what comes back later comes back as it was, and what can't be delivered is told at once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.cases.conftest import ALICE, Site, starting_sites
from tests.cases.talk import queue_id_of
from tests.cases.test_area_7 import Reports, parts_of
from tests.fakedns import FakeDns
from tests.live import Settings
from tests.sink import CatchingSink, Caught, _Session

CONTENT = b"From: alice@local.example\r\nSubject: c085\r\n\r\nhello\r\n"


class FickleSink(CatchingSink):
    """Takes a content only at the third attempt.

    At the first the recipient is greylisted; at the second the connection ends behind the dot.
    """

    def __init__(self) -> None:
        super().__init__()
        self.attempts = 0
        self.commands: list[str] = []
        self._server.RequestHandlerClass = _FickleSession


class _FickleSession(_Session):
    sink: FickleSink

    def answer(self, verb: str, argument: str) -> None:
        if verb in ("MAIL", "RCPT"):
            self.sink.commands.append(f"{verb} {argument}")
        if verb == "RCPT":
            self.sink.attempts += 1
            if self.sink.attempts == 1:
                self.reply("451 4.7.1 Greylisted, come back later")
                return
        super().answer(verb, argument)

    def reply(self, text: str) -> None:
        if text == "250 2.0.0 caught" and self.sink.attempts == 2:
            raise ConnectionError("the line is cut")
        super().reply(text)


@pytest.fixture(scope="module")
def fickle() -> Iterator[tuple[Site, FickleSink]]:
    with ExitStack() as stack:
        start = stack.enter_context(starting_sites())
        sink = stack.enter_context(FickleSink())
        site = start({"smtp": {"relayhost": sink.relayhost}})
        site.furnish()
        yield site, sink


def test_c085_c091_what_is_tried_again_is_the_same_message(fickle: tuple[Site, FickleSink]) -> None:
    site, sink = fickle
    with site.alice() as talk:
        queue_id = queue_id_of(talk.send_message(ALICE, "x@remote.example", CONTENT, parameters=" BODY=8BITMIME"))
    since = site.server.log.mark()
    site.server.wait_for_log(rf"attempt .*queue_id={queue_id} .*outcome=deferred .*451 4\.7\.1 Greylisted")
    assert site.server.valija("queue", "retry", queue_id).returncode == 0
    site.server.wait_for_log(rf"possible duplicate .*queue_id={queue_id}", since=since)
    assert site.server.valija("queue", "retry", queue_id).returncode == 0
    site.server.wait_for_log(rf"attempt .*queue_id={queue_id} .*outcome=delivered")
    lost, arrived = sink.wait_for(2)
    assert identity(lost) == identity(arrived)
    assert len(set(sink.commands)) == 2, "the envelope is the same each time"
    assert "report queued" not in site.server.log.text


def identity(caught: Caught) -> tuple[str, str, bytes]:
    return caught.field("Message-ID"), caught.reverse_path, caught.content


def test_c075_a_null_mx_is_told_to_the_sender_at_once(sites: Callable[[Settings], Site]) -> None:
    with FakeDns({"remote.example": ["MX 0 .", "A 127.0.0.1"]}) as dns:
        site = sites({"dns": {"nameservers": [dns.nameserver]}, "smtp": {"relayhost": ""}})
        site.furnish()
        with site.alice() as talk:
            queue_id = queue_id_of(talk.send_message(ALICE, "x@remote.example", CONTENT))
        _, groups, _ = parts_of(Reports(site).report_on(queue_id, "failure"))
        assert groups[1]["Status"] == "5.1.10"
        assert dns.asked("remote.example", "A") == 0
    assert site.sink.caught == []
    assert site.server.queue() == []
