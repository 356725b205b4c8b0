"""A stolen account on a running server: how the attack is stopped, what the owner hears, and the commands after it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cases.talk import Talk, plain, submitter
from tests.live import LiveServer
from tests.ports import free_port

ALICE: Final = "alice@local.example"
BOB: Final = "bob@local.example"
CONTACT: Final = "privately@local.example"
POSTMASTER: Final = "postmaster@local.example"
SECRET: Final = "open sesame"
HOME: Final = "127.0.1.1"
NETWORKS: Final = 50
MESSAGES: Final = 1000
AT_MOST: Final = 30


@pytest.fixture
def server() -> Iterator[LiveServer]:
    """Two workers, users, and no way out: what is accepted stays in the queue."""
    settings = {
        "hostname": "mail.local.example",
        "domains": ["local.example"],
        "mynetworks": [],
        "workers": 2,
        "smtp": {"relayhost": f"[127.0.0.1]:{free_port()}"},
        "submissions": {"greet_pause": "0s"},
    }
    with LiveServer(settings) as running:
        for address in (ALICE, BOB, CONTACT):
            running.add_user(address, SECRET)
        yield running


def send(talk: Talk, recipient: str, sender: str = ALICE) -> str:
    """Send a small message; return the reply that decided."""
    for line in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA"):
        answer = talk.say(line)
        if answer[0] not in "23":
            return answer
    talk.send(f"From: {sender}\r\nTo: {recipient}\r\nSubject: x\r\n\r\nhello\r\n.\r\n".encode())
    return talk.reply() or "closed"


class Thief:
    """One network of an attack: messages to strangers, as fast as they go, each on its own."""

    def __init__(self, server: LiveServer, number: int) -> None:
        self._server = server
        self._number = number
        self.answers: list[str] = []

    def run(self) -> None:
        each = MESSAGES // NETWORKS
        with suppress(AssertionError, OSError):
            talk = submitter(self._server.submissions, ALICE, SECRET, tls=True, source=f"127.10.{self._number}.7")
            with talk:
                for number in range(each):
                    self.answers.append(send(talk, f"victim{self._number}.{number}@remote.example"))


def attack(server: LiveServer) -> list[str]:
    """Attack from all networks at once; return all answers to messages."""
    thieves = [Thief(server, number) for number in range(NETWORKS)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(Thief.run, thieves))
    return [answer for thief in thieves for answer in thief.answers]


def user_list(server: LiveServer) -> dict[str, Any]:
    return {each["address"]: each for each in json.loads(server.valija("user", "list", "--json").stdout)}


def mail_of(server: LiveServer, address: str) -> list[str]:
    local, _, domain = address.partition("@")
    return [file.read_text() for file in Path(server.data_dir, "mail", domain, local).rglob("new/*")]


def log_in(server: LiveServer, source: str = HOME) -> str:
    with Talk(server.submissions, tls=True, source=source) as talk:
        talk.hello()
        return talk.say(f"AUTH PLAIN {plain(ALICE, SECRET)}")


def test_a_stolen_account_is_stopped_and_its_owner_told_why(server: LiveServer) -> None:
    assert server.valija("user", "contact", ALICE, CONTACT).returncode == 0
    home = submitter(server.submissions, ALICE, SECRET, tls=True, source=HOME)
    assert send(home, "friend@remote.example").startswith("250")
    answers = attack(server)
    accepted = [answer for answer in answers if answer.startswith("250")]
    assert 10 <= len(accepted) <= AT_MOST
    frozen = server.wait_for_log(rf'account frozen .*login={ALICE} .*reason="?it looks stolen: ([^"]*)')

    # The owner, at home: the open session and the next login tell why, and whom to ask.
    for answer, code in ((send(home, "friend@remote.example"), "550"), (log_in(server), "525")):
        assert answer.startswith(f"{code} 5.7.13 This account is frozen since "), answer
        assert frozen[1] in answer
        assert POSTMASTER in answer
    home.socket.close()
    with submitter(server.submissions, BOB, SECRET, tls=True, source=HOME) as bob:
        assert send(bob, "friend@remote.example", BOB).startswith("250"), "others go on"

    # Told once, to the postmaster and out of band.
    for address in (POSTMASTER, CONTACT):
        server.wait_for_log(rf"attempt .*recipient={address} .*outcome=delivered")
        (notice,) = mail_of(server, address)
        assert ALICE in notice
        assert frozen[1] in notice
    assert not mail_of(server, ALICE)

    # What it had queued is on hold, in both workers; nothing of others is.
    server.wait_for_log(rf"held .*login={ALICE}")
    listed = user_list(server)
    assert frozen[1] in listed[ALICE]["frozen"]["reason"]
    assert listed[ALICE]["contact"] == CONTACT
    assert "frozen" not in listed[BOB]

    done = server.valija("user", "unfreeze", ALICE, "--purge", "--json")
    assert done.returncode == 0, done.stderr
    purged = json.loads(done.stdout)
    assert len(purged["deleted"]) == len(accepted)
    left = {recipient["address"] for message in server.queue() for recipient in message["recipients"]}
    assert left == {"friend@remote.example"}
    assert not any(message["hold"] for message in server.queue())
    assert log_in(server).startswith("235")
    with submitter(server.submissions, ALICE, SECRET, tls=True, source=HOME) as home:
        assert send(home, "friend@remote.example").startswith("250")


def test_frozen_by_hand_and_released(server: LiveServer) -> None:
    with submitter(server.submissions, ALICE, SECRET, tls=True, source=HOME) as home:
        assert send(home, "friend@remote.example").startswith("250")
        done = server.valija("user", "freeze", ALICE, "--reason", "the bill is not paid", "--json")
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["on_hold"]) == 1
        assert "the bill is not paid" in send(home, "friend@remote.example")
    assert log_in(server).startswith("525 5.7.13")
    assert [message["hold"] for message in server.queue()] == [True]
    assert server.valija("user", "freeze", ALICE).returncode == 1, "it is frozen already"
    done = server.valija("user", "unfreeze", ALICE, "--release")
    assert done.returncode == 0, done.stderr
    assert "1 message released" in done.stdout
    assert log_in(server).startswith("235")
    assert [message["hold"] for message in server.queue()] == [False]
    assert server.valija("user", "unfreeze", ALICE).returncode == 1, "it is not frozen"


def test_a_limit_of_one_s_own_holds_for_all_workers(server: LiveServer) -> None:
    done = server.valija("user", "limit", ALICE, "--recipients-per-day", "5", "--no-circuit-breaker")
    assert done.returncode == 0, done.stderr
    answers = []
    for number in range(8):  # sessions are spread over the workers
        with submitter(server.submissions, ALICE, SECRET, tls=True, source=HOME) as talk:
            answers.append(send(talk, f"friend{number}@remote.example"))
    assert [answer[:3] for answer in answers] == ["250"] * 5 + ["450"] * 3, answers
    assert "limit of 5 recipients a day is reached: go on from " in answers[-1]
    assert POSTMASTER in answers[-1]
    assert server.log.text.count("account limit reached") == 1
    assert server.valija("user", "limit", ALICE, "--default").returncode == 0
    with submitter(server.submissions, ALICE, SECRET, tls=True, source=HOME) as talk:
        assert send(talk, "friend9@remote.example").startswith("250")


def test_what_was_delegated_can_be_sent_as(server: LiveServer) -> None:
    boss, news = "boss@local.example", "anybody@news.example"
    server.add_user(boss, SECRET)
    with submitter(server.submissions, ALICE, SECRET, tls=True, source=HOME) as talk:
        assert send(talk, "x@remote.example", boss).startswith(f"550 5.7.1 {boss} is not yours to use as the sender")
        assert server.valija("user", "allow", ALICE, boss).returncode == 0
        assert server.valija("user", "allow", ALICE, "@news.example").returncode == 0
        assert user_list(server)[ALICE]["may_send_as"] == ["@news.example", boss]
        for sender in (boss, news):
            assert send(talk, "x@remote.example", sender).startswith("250")
        assert server.valija("user", "disallow", ALICE, "@news.example").returncode == 0
        assert send(talk, "x@remote.example", news).startswith("550 5.7.1")
    assert server.valija("user", "allow", "nobody@local.example", boss).returncode == 1
