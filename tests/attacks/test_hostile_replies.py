"""What hostile servers answer ends up as text in reports, in the log and in what is shown, and adds nothing to them.

Each refused recipient has a reply of its own kind; the report on all of them is read by Python's own parser. Some
replies can't be read as such: then the recipient is deferred, and never bounced for it.
"""

import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.attacks.hostile_texts import TEXTS, octets, unprintable
from tests.cases.conftest import ALICE, Site, starting_sites
from tests.cases.talk import queue_id_of
from tests.cases.test_area_7 import Reports, parts_of
from tests.sink import CatchingSink, _Session
from tests.tally import Tally

FIELDS: Final = b"".join(
    b"550-%b\r\n" % field
    for field in (b"Final-Recipient: rfc822; x@evil.example", b"Action: delivered", b"Status: 2.0.0", b"X-Injected: 1")
)
BOUNDARIES: Final = b"".join(b"550---=_%b\r\n" % (bytes((digit,)) * 32) for digit in b"0123456789abcdef")
PART: Final = b"550---=_0\r\n550-Content-Type: text/html\r\n550-\r\n550-<b>X-Injected</b>\r\n550 --=_0--\r\n"
REPLIES: Final = {  # what is said to RCPT
    **{f"text, {name}": b"550 5.1.1 " + octets(text) + b"\r\n" for name, text in TEXTS.items() if "\n" not in text},
    **{f"lines, {name}": b"550-5.1.1 x\r\n550 " + octets(text) + b"\r\n"
       for name, text in TEXTS.items() if "\n" not in text},
    "fields": FIELDS + b"550 last\r\n",
    "an empty line, then fields": b"550-x\r\n550-\r\n" + FIELDS + b"550 \r\n",
    "a part of its own": PART,
    "any boundary": BOUNDARIES + b"550 x\r\n",
    "a dot": b"550-x\r\n550-.\r\n550 .\r\n",
    "From at the line's start": b"550-x\r\n550-From evil@evil.example Thu Jan  1 00:00:00 1970\r\n550 >From x\r\n",
    "encoded words": b"550 5.1.1 =?utf-8?q?x=0D=0AX-Injected=3A_1?= =?utf-8?b?WC1JbmplY3RlZA==?=\r\n",
    "soft line breaks": b"550 5.1.1 x=\r\n",
    "hex characters of xtext": b"550 5.1.1 x+0D+0AX-Injected:+201\r\n",
    "comments": b"550 5.1.1 ((((\\) x (\r\n",
    "code alone": b"550\r\n",
    "a hundred lines": b"550-%b\r\n" % (b"y" * 70) * 100 + b"550 end\r\n",
    "another enhanced code": b"550 2.0.0 fine; 5.7.1 x\r\n",
    "an address of the next line": b"550 5.1.1 <h0@remote.example> X-Injected <alice@local.example>\r\n",
}  # fmt: skip
OF_SEVERAL_LINES: Final = {  # LF alone ends a reply too; what follows is none, and ends the session
    name: b"550 5.1.1 " + octets(text) + b"\r\n" for name, text in TEXTS.items() if "\n" in text
}
UNREADABLE: Final = {
    "no code": b"X-Injected: 1\r\n",
    "two codes": b"550-x\r\n250 X-Injected\r\n",
    "a success of several": b"550-x\r\n550-y\r\n250 z\r\n",
    "digits of another script": "\u0665\u0665\u0660 x\r\n".encode(),
    "no end": b"550-x\r\n" * 40_000,
    "an endless line": b"550 " + b"x" * 300_000 + b"\r\n",
    "NULs": b"\0\0\0 x\r\n",
}


OF_A_GROUP: Final = ("Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date")


class HostileSink(CatchingSink):
    """Answers RCPT by the number in the local part: `h3` gets the fourth of its replies."""

    def __init__(self) -> None:
        super().__init__()
        self.replies = [*REPLIES.values()]
        self._server.RequestHandlerClass = _HostileSession


class _HostileSession(_Session):
    sink: HostileSink

    def greeting(self) -> str:
        return (
            super().greeting().replace("250-8BITMIME", "250-8BITMIME\x1b[31m\r\n250-X-INJECTED\u202e\r\n250-8BITMIME")
        )

    def answer(self, verb: str, argument: str) -> None:
        number = re.search(r"<h(\d+)@", argument)
        if verb == "RCPT" and number:
            self.wfile.write(self.sink.replies[int(number[1])])
            self.wfile.flush()
            return
        super().answer(verb, argument)


@pytest.fixture(scope="module")
def hostile() -> Iterator[tuple[Site, HostileSink]]:
    with starting_sites() as start, HostileSink() as sink:
        site = start({"smtp": {"relayhost": sink.relayhost}})
        site.furnish()
        yield site, sink


def test_c082_each_reply_is_one_diagnosis(hostile: tuple[Site, HostileSink], tally: Tally) -> None:
    site, sink = hostile
    sink.replies = [*REPLIES.values()]
    queue_id = assert_harmless(site, list(REPLIES))
    assert_shown_as_text(site, queue_id)
    tally("smuggling", hostile_replies=len(REPLIES), smuggled=0)


def test_c082_nor_is_a_further_line(hostile: tuple[Site, HostileSink], tally: Tally) -> None:
    site, sink = hostile
    for name, reply in OF_SEVERAL_LINES.items():
        sink.replies = [reply]
        queue_id = assert_harmless(site, [name])
    assert_shown_as_text(site, queue_id)
    tally("smuggling", hostile_replies=len(OF_SEVERAL_LINES), smuggled=0)


def test_c081_what_is_no_reply_bounces_nothing(hostile: tuple[Site, HostileSink], tally: Tally) -> None:
    site, sink = hostile
    before = len(sink.caught)
    for reply in UNREADABLE.values():
        sink.replies = [reply]
        queue_id = send(site, ["h0@remote.example"])
        site.server.wait_for_log(rf"attempt .*queue_id={queue_id} .*outcome=deferred")
    assert_shown_as_text(site, queue_id)
    assert len(sink.caught) == before
    assert len(site.server.queue()) == len(UNREADABLE)
    tally("smuggling", hostile_replies=len(UNREADABLE), smuggled=0)


def send(site: Site, recipients: list[str]) -> str:
    """Send a message of alice's; return its queue id."""
    with site.alice() as talk:
        content = b"From: alice@local.example\r\nSubject: outer\r\n\r\nbody\r\n"
        return queue_id_of(talk.send_message(ALICE, recipients[0], content, *recipients[1:]))


def assert_harmless(site: Site, names: list[str]) -> str:
    """Send to a recipient for each reply: the report has for each the fields that it should have, once, and readable.

    Return the queue id.
    """
    recipients = [f"h{number}@remote.example" for number in range(len(names))]
    queue_id = send(site, recipients)
    text, groups, returned = parts_of(Reports(site).report_on(queue_id, "failure"))
    assert returned.get_content_type() == "message/rfc822"
    assert [group["Final-Recipient"] for group in groups[1:]] == [f"rfc822; {each}" for each in recipients]
    for name, group in zip(names, groups[1:], strict=True):
        assert sorted(group.keys()) == sorted(OF_A_GROUP), name
        assert group["Action"] == "failed", name
        assert re.fullmatch(r"5\.\d+\.\d+", group["Status"]), name
        assert group["Diagnostic-Code"].startswith("smtp; 550"), name
        assert not unprintable("".join(group.values())), name
        assert not any("\n" in value for value in group.values()), name
    assert not unprintable(text)
    return queue_id


def assert_shown_as_text(site: Site, queue_id: str) -> None:
    for words in (["why", queue_id], ["queue", "list"], ["queue", "show", queue_id]):
        done = site.server.valija(*words)
        assert not unprintable(done.stdout), words
        assert "\nX-Injected" not in done.stdout
    assert not unprintable(site.server.log.text)
    assert max(map(len, site.server.log.text.encode().splitlines())) <= 8192
