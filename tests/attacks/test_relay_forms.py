"""Whoever is not trusted makes the server send nothing to elsewhere, however it is asked.

Every form of recipient, from every untrusted address, by every kind of sender; then again with a catch-all alias, that
takes any local part. What is taken is sent on as a message, and must end in a mailbox of this server.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import pytest

from tests.attacks.recipient_forms import INTERNATIONAL, RECIPIENTS
from tests.cases.conftest import ALICE, TRUSTED, Site, starting_sites
from tests.cases.talk import Talk, queue_id_of
from tests.ports import free_port
from tests.tally import Tally
from valija.probe.relay_forms import relay_forms

VICTIM: Final = "victim@remote.example"
OF_THE_PROBE: Final = relay_forms(outside=VICTIM, own="local.example", literal="[127.0.0.1]", sender="")
FORMS: Final = tuple(dict.fromkeys((*(form.recipient for form in OF_THE_PROBE), *RECIPIENTS)))
SENDERS: Final = ("", "a@evil.example", ALICE, VICTIM, "postmaster@local.example", '"a@remote.example"@local.example')
STRANGERS: Final = {  # where they come from; 127.0.0.2 alone is trusted
    "127.0.0.1": "127.0.0.1",
    "a neighbour": "127.0.0.3",
    "its number begins alike": "127.0.0.22",
    "IPv6": "::1",
}
ROUND: Final = 9  # forms a session: fewer than the errors that end one
REFUSALS: Final = r"5(?:0[01]|5[0-5]) 5\.\d+\.\d+ "


@pytest.fixture(scope="module")
def relay() -> Iterator[Site]:
    """A site that listens for both families."""
    port = free_port()
    with starting_sites() as start:
        site = start({"smtpd": {"listen": [f"127.0.0.1:{port}", f"[::1]:{port}"]}})
        site.server.smtpd = port
        site.furnish()
        yield site


def client(site: Site, source: str) -> Talk:
    talk = Talk(site.server.smtpd, host="::1" if ":" in source else "127.0.0.1", source=source)
    talk.hello()
    return talk


def try_all(site: Site, source: str, sender: str, forms: Iterable[str], parameters: str = "") -> tuple[int, list[str]]:
    """Try each form; return how often, and the ids of what was taken."""
    queue, tried = list(forms), 0
    taken: list[str] = []
    while queue:
        with client(site, source) as talk:
            for form in queue[:ROUND]:
                assert talk.say("RSET", f"MAIL FROM:<{sender}>{parameters}").startswith("250")
                answer = talk.say(f"RCPT TO:{form}")
                tried += 1
                if answer.startswith("250"):
                    taken.append(_send(talk, form))
                else:
                    assert re.match(REFUSALS, answer), f"{form}: {answer}"
                    assert talk.say("DATA").startswith("554 5.5.1"), "and so there is nobody to send to"
        del queue[:ROUND]
    return tried, taken


def _send(talk: Talk, form: str) -> str:
    assert talk.say("DATA").startswith("354"), form
    head = "".join(f"{name}: {VICTIM}\r\n" for name in ("To", "Cc", "Bcc", "Resent-To", "Apparently-To", "X-RCPT-TO"))
    return queue_id_of(talk.say(f"{head}Subject: {form.isascii()}\r\n\r\nx\r\n."))


def assert_kept_here(site: Site, taken: Iterable[str]) -> None:
    """What was taken went to mailboxes of this server and to nobody else."""
    for queue_id in taken:
        site.server.wait_for_log(rf"removed .*queue_id={queue_id}\b")
        attempts = re.findall(rf"attempt .*queue_id={queue_id} (.*)", site.server.log.text)
        assert attempts
        for attempt in attempts:
            assert re.match(r'recipient=(\S+@local\.example|".*@local\.example") outcome=delivered next_hop=', attempt)
    assert site.sink.caught == []


@pytest.mark.parametrize("source", STRANGERS.values(), ids=STRANGERS)
def test_c062_no_form_relays(relay: Site, tally: Tally, source: str) -> None:
    attempts = 0
    taken: list[str] = []
    for sender in SENDERS:
        tried, kept = try_all(relay, source, sender, FORMS)
        attempts, taken = attempts + tried, taken + kept
        tried, kept = try_all(relay, source, sender, INTERNATIONAL, " SMTPUTF8")
        attempts, taken = attempts + tried, taken + kept
    assert_kept_here(relay, taken)
    tally("relay", attempts=attempts, taken_for_mailboxes_here=len(taken), relayed=0)


def test_c062_nor_with_a_catch_all(relay: Site, tally: Tally) -> None:
    """It takes any local part, and whatever that says, mail goes to where the alias leads and nowhere else."""
    attempts, taken = 0, 0
    for target in (ALICE, "x@other.example"):
        added = relay.server.valija("alias", "add", "@local.example", target)
        assert added.returncode == 0, added.stdout + added.stderr
        tried, ids = try_all(relay, "127.0.0.1", "", FORMS)
        more, more_ids = try_all(relay, "127.0.0.1", "", INTERNATIONAL, " SMTPUTF8")
        assert relay.server.valija("alias", "remove", "@local.example").returncode == 0
        for queue_id in (ids := [*ids, *more_ids]):
            relay.server.wait_for_log(rf"removed .*queue_id={queue_id}\b")
        assert len(ids) > 30, "the alias takes them"
        attempts, taken = attempts + tried + more, taken + len(ids)
    reached = {recipient for caught in relay.sink.caught for recipient in caught.recipients}
    assert reached == {"x@other.example"}
    relay.sink.caught.clear()
    tally("relay", attempts=attempts, taken_for_an_alias=taken, relayed=0)


HELLOS: Final = (
    "EHLO mail.local.example",
    "EHLO local.example",
    f"EHLO [{TRUSTED}]",
    "HELO localhost",
    f"EHLO {VICTIM}",
)
CLAIMS: Final = {  # what might make a server believe that somebody else is speaking; what it may answer
    f"XCLIENT ADDR={TRUSTED} NAME=localhost": "50[02]",
    f"XCLIENT LOGIN={ALICE}": "50[02]",
    f"XFORWARD ADDR={TRUSTED}": "50[02]",
    f"PROXY TCP4 {TRUSTED} 127.0.0.1 1024 25": "50[02]",
    "AUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAb3BlbiBzZXNhbWU=": "502",
    "AUTH EXTERNAL =": "502",
    "ETRN remote.example": "50[02]",
    "TURN": "50[02]",
    f"SOML FROM:<{ALICE}>": "50[02]",
    f"VRFY {VICTIM}": "252",
    f"MAIL FROM:<{ALICE}> AUTH={ALICE}": "250|555",
    f"MAIL FROM:<{ALICE}> AUTH=<>": "250|555",  # the latter behind HELO
    f"MAIL FROM:<{ALICE}> XOORG=local.example": "555",
}


@pytest.mark.parametrize("hello", HELLOS)
def test_no_claim_makes_a_stranger_trusted(relay: Site, tally: Tally, hello: str) -> None:
    for claim, answer in CLAIMS.items():
        with Talk(relay.server.smtpd) as talk:
            talk.reply()
            assert talk.say(hello).startswith("250")
            assert re.match(answer, talk.say(claim)), claim
            if not claim.startswith("MAIL"):
                assert talk.say(f"MAIL FROM:<{ALICE}>").startswith("250")
            talk.say(f"MAIL FROM:<{ALICE}>")
            assert talk.say(f"RCPT TO:<{VICTIM}>").startswith("554 5.7.1"), claim
    assert relay.sink.caught == []
    tally("relay", attempts=len(CLAIMS), relayed=0)


def test_one_permitted_recipient_opens_no_door_to_others(relay: Site, tally: Tally) -> None:
    """Pipelined, before and behind a good one; and by a second message in the same session."""
    with client(relay, "127.0.0.1") as talk:
        for _ in range(3):
            lines = ("MAIL FROM:<a@evil.example>", f"RCPT TO:<{VICTIM}>", f"RCPT TO:<{ALICE}>", f"RCPT TO:<{VICTIM}>")
            assert talk.say(*lines).startswith("554 5.7.1")
            assert_kept_here(relay, [_send(talk, VICTIM)])
    tally("relay", attempts=6, relayed=0)


def test_who_is_trusted_is_the_only_one(relay: Site) -> None:
    """The same server, asked by the one address of `mynetworks`: so what is refused above is refused for its sender."""
    with Talk(relay.server.smtpd, source=TRUSTED) as talk:
        talk.hello()
        assert talk.say("MAIL FROM:<a@remote.example>", f"RCPT TO:<{VICTIM}>").startswith("250")
