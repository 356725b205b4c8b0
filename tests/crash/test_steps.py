"""A kill at each step of a message's way, one by one: nothing is lost, and a second copy comes where it has to.

The client tries until it has its 250. Copies that arrive are counted exactly: a try that was stored and not answered is
one more, and so is an attempt that the peer had answered and that is made again. Elsewhere there is never a second one.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import pytest

from tests.cases.refusing_sink import RefusingSink
from tests.crash.accounting import LmtpSink, failing, in_mailbox, listed, send, wait_until_empty
from tests.live import LiveServer, message
from tests.tally import Tally
from valija.faults.plan import POINTS

Way = Literal["small", "large", "mailbox", "bounce", "lmtp"]

SENDER: Final = "postmaster@example.org"
RECIPIENT: Final[dict[Way, str]] = {
    "small": "bob@remote.example",
    "large": "bob@remote.example",
    "mailbox": "postmaster@example.org",
    "bounce": "gone@remote.example",
    "lmtp": "postmaster@example.org",
}
LARGE: Final = ("x" * 70 + "\n") * 6000


class Step(NamedTuple):
    """A kill at `point` while a message goes a `way`.

    `answered` says whether the client has its 250 by then, or may have; `stored` whether the message is in the queue;
    `again` how many copies more come of an attempt that is made again; `orphans` whether a file is left to sweep.
    """

    point: str
    way: Way
    stored: bool = True
    answered: bool = True
    again: int = 0
    orphans: bool = False


STEPS: Final = (
    Step("content.create", "large", stored=False, answered=False),
    Step("content.write", "large", stored=False, answered=False, orphans=True),
    Step("content.sync", "large", stored=False, answered=False, orphans=True),
    Step("content.synced", "large", stored=False, answered=False, orphans=True),
    Step("queue.write", "small", stored=False, answered=False),
    Step("queue.write", "large", stored=False, answered=False, orphans=True),
    Step("queue.committed", "small", answered=False),
    Step("reply.accepted", "large", answered=False),
    Step("attempt.begun", "small"),
    Step("attempt.replied", "large", again=1),
    Step("attempt.ended", "small", again=1),
    Step("settlement.write", "small", again=1),
    Step("settlement.write", "large", again=1),
    Step("settlement.recorded", "small"),
    Step("settlement.recorded", "large", orphans=True),
    Step("content.removed", "large"),
    Step("maildir.write", "mailbox"),
    Step("maildir.sync", "mailbox"),
    Step("maildir.rename", "mailbox"),
    Step("maildir.renamed", "mailbox", again=1),
    Step("maildir.delivered", "mailbox", again=1),
    Step("attempt.begun", "lmtp"),
    Step("attempt.replied", "lmtp", again=1),
    Step("attempt.ended", "bounce"),
    Step("report.write", "bounce"),
    Step("settlement.recorded", "bounce"),
)


def _cases() -> Iterator[object]:
    """Yield each point on its first way; on others too where there is time."""
    seen: set[str] = set()
    for step in STEPS:
        marks = [pytest.mark.soak] if step.point in seen and step.way in ("small", "large") else []
        seen.add(step.point)
        yield pytest.param(step, marks=marks, id=f"{step.point}-{step.way}")


@pytest.mark.parametrize("step", list(_cases()))
def test_a_kill_at(step: Step, tally: Tally) -> None:
    mail = message("steps", SENDER, RECIPIENT[step.way])
    if step.way == "large":
        mail.set_content(LARGE)
    with RefusingSink(dsn=False) as sink, LmtpSink() as lmtp, failing(f"{step.point}:kill"):
        mailbox = {"transport": f"lmtp:inet:127.0.0.1:{lmtp.port}"} if step.way == "lmtp" else {}
        settings = {"mynetworks": ["127.0.0.1/32"], "smtp": {"relayhost": sink.relayhost}, "mailbox": mailbox}
        with LiveServer(settings) as server:
            tries = send(server.smtpd, SENDER, RECIPIENT[step.way], mail.as_bytes())
            server.wait_for_log(rf"fault {re.escape(step.point)}: kill in pass 1\b")
            server.wait_for_log("queue opened", since=_place_of(server, "worker died"))
            send(server.smtpd, SENDER, "next@remote.example", message("next", SENDER).as_bytes())
            wait_until_empty(server)
            arrived = Counter(recipient for each in sink.caught + lmtp.caught for recipient in each.recipients)
            copies = in_mailbox(server) if step.way in ("mailbox", "bounce") else arrived[RECIPIENT[step.way]]
            orphans = sum(map(int, re.findall(r"orphans=(\d+)", server.log.text)))
    stored_unanswered = tries.cut_off if step.stored else 0
    assert step.answered or tries.cut_off == 1, "the kill came too late to be this step"
    assert copies == 1 + stored_unanswered + step.again
    assert bool(orphans) == step.orphans
    assert arrived["next@remote.example"] == 1
    tally("crash", kills=1, accepted=2, delivered=2, duplicates=copies - 1, lost=0)


def _place_of(server: LiveServer, words: str) -> int:
    """Return the number of the first line that has these words, once it is there."""
    server.wait_for_log(words)
    return next(number for number, line in enumerate(server.log.text.splitlines()) if words in line)


def test_three_crashes_in_attempts_put_a_message_on_hold_and_the_rest_runs_on(tally: Tally) -> None:
    plan = "attempt.begun:kill@1,queue.claimed:kill@1,attempt.begun:kill@2-3"
    with RefusingSink(dsn=False) as sink, failing(plan):
        with LiveServer({"mynetworks": ["127.0.0.1/32"], "smtp": {"relayhost": sink.relayhost}}) as server:
            send(server.smtpd, SENDER, "bob@remote.example", message("one", SENDER).as_bytes())
            queue_id = server.wait_for_log(r"put on hold  queue_id=(\w+)")[1]
            send(server.smtpd, SENDER, "next@remote.example", message("next", SENDER).as_bytes())
            sink.wait_for(1)
            assert [each.queue_id for each in listed(server) if each.hold] == [queue_id]
            server.valija("queue", "release", queue_id)
            wait_until_empty(server)
        assert sink.caught[0].recipients == ("next@remote.example",)
        copies = [recipient for each in sink.caught for recipient in each.recipients].count("bob@remote.example")
        assert server.log.text.count("worker died") == 4
    tally("crash", kills=4, accepted=2, delivered=2, held_meanwhile=1, duplicates=copies - 1, lost=0)


# Points that other tests pass: at a start, in the maildrop, in the adoption of a queue, below SQLite.
ELSEWHERE: Final = {
    "queue.claimed",  # above
    "drop.write",
    "drop.complete",
    "drop.synced",
    "maildrop.queued",
    "adoption.linked",
    "adoption.taken",
    "adoption.forgotten",
    "recovery.counted",
    "recovery.aside",
    "disk.write",
    "disk.sync",
}


def test_each_point_has_its_step() -> None:
    assert {step.point for step in STEPS} | ELSEWHERE == set(POINTS)
