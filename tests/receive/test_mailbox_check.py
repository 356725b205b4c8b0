"""Whether a recipient has a mailbox where others keep them: asked once in a while, and nobody is lost meanwhile."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from valija.mail.envelope import Recipient
from valija.mail.reply import Reply
from valija.receive.checks import Client
from valija.receive.mailbox_check import KNOWN_FOR, UNKNOWN_FOR, MailboxCheck, Mailboxes
from valija.smtp.events import Mail

TAKES, UNKNOWN, FULL = Reply(250, "2.1.5", "OK"), Reply(550, "5.1.1", "nobody"), Reply(552, "5.2.2", "full <now>")
AWAY = Reply(451, "4.4.1", "can't be asked")
CLIENT = Client("smtpd", "192.0.2.1", 25)


class Dovecot:
    """What it says, how often it was asked, and those of ours who live there: accounts and a domain's alias."""

    def __init__(self) -> None:
        self.says: dict[str, Reply] = {}
        self.asked: list[str] = []
        self.now = 1000.0
        self.accounts = {"account@local.example"}
        self.aliases = {"sales@local.example": ("x@local.example",)}
        self.catches: tuple[str, ...] = ()
        self.mailboxes = Mailboxes(self.ask, is_known=self.accounts.__contains__, monotonic=lambda: self.now)
        self.check = MailboxCheck(self.mailboxes, self, {"local.example"})

    async def ask(self, address: str) -> Reply:
        self.asked.append(address)
        return self.says.get(address, UNKNOWN)

    def exists(self, address: str) -> bool:
        return True

    def expand(self, address: str) -> tuple[str, ...]:
        if address in self.aliases:
            return self.aliases[address]
        return (address,) if self.mailboxes.may_exist(address) else self.catches

    def rcpt(self, address: str) -> Reply | None:
        answer = self.check.on_rcpt(CLIENT, cast("Mail", None), Recipient(address))
        if isinstance(answer, Coroutine):

            async def wait(waiting: Coroutine[Any, Any, Reply | None]) -> Reply | None:
                return await waiting

            return asyncio.run(wait(answer))
        return answer


@pytest.fixture
def dovecot() -> Dovecot:
    return Dovecot()


def test_one_question_is_good_for_a_while(dovecot: Dovecot) -> None:
    dovecot.says["bob@local.example"] = TAKES
    for _ in range(3):
        assert dovecot.rcpt("bob@local.example") is None
        assert dovecot.rcpt("BOB@local.example") is None
    assert dovecot.asked == ["bob@local.example"]
    dovecot.now += KNOWN_FOR + 1
    dovecot.says.clear()
    assert dovecot.rcpt("bob@local.example") == Reply(550, "5.1.1", "<bob@local.example>: User unknown")


def test_who_is_made_is_soon_known(dovecot: Dovecot) -> None:
    assert str(dovecot.rcpt("bob@local.example")).startswith("550 5.1.1")
    dovecot.says["bob@local.example"] = TAKES
    assert dovecot.rcpt("bob@local.example") is not None, "asked a moment ago"
    dovecot.now += UNKNOWN_FOR + 1
    assert dovecot.rcpt("bob@local.example") is None


def test_who_is_not_asked_about(dovecot: Dovecot) -> None:
    assert dovecot.rcpt("anybody@elsewhere.example") is None
    assert dovecot.rcpt("sales@local.example") is None
    assert dovecot.asked == []


def test_the_alias_of_the_domain_takes_what_is_no_mailbox(dovecot: Dovecot) -> None:
    dovecot.catches = ("all@elsewhere.example",)
    assert dovecot.rcpt("bob@local.example") is None
    assert dovecot.expand("bob@local.example") == ("all@elsewhere.example",)
    dovecot.now += 100
    assert dovecot.expand("bob@local.example") == ("all@elsewhere.example",), "while its content takes its time"


def test_a_full_mailbox_is_refused_in_its_own_words(dovecot: Dovecot) -> None:
    dovecot.says["bob@local.example"] = FULL
    assert dovecot.rcpt("bob@local.example") == Reply(552, "5.2.2", "<bob@local.example>: full <now>")
    dovecot.catches = ("all@elsewhere.example",)
    assert dovecot.rcpt("bob@local.example") is not None, "it is a mailbox all the same"


@pytest.mark.parametrize("said", [AWAY, Reply(452, "4.2.2", "full for now")])
def test_while_nobody_can_tell_those_who_are_known_are_taken(dovecot: Dovecot, said: Reply) -> None:
    dovecot.says["bob@local.example"] = TAKES
    assert dovecot.rcpt("bob@local.example") is None
    dovecot.now += KNOWN_FOR + 1
    dovecot.says = dict.fromkeys(["bob@local.example", "account@local.example", "ghost@local.example"], said)
    assert dovecot.rcpt("bob@local.example") is None, "once it was known"
    assert dovecot.rcpt("account@local.example") is None
    ghost = dovecot.rcpt("ghost@local.example")
    assert ghost is not None
    assert (ghost.code, ghost.enhanced) == (450, "4.2.0")
    dovecot.says.clear()
    dovecot.now += UNKNOWN_FOR + 1
    assert str(dovecot.rcpt("ghost@local.example")).startswith("550 5.1.1")


def test_memory_is_bounded(dovecot: Dovecot) -> None:
    async def learn() -> None:
        for number in range(25_000):
            await dovecot.mailboxes.learn(f"u{number}@local.example")

    asyncio.run(learn())
    assert len(dovecot.mailboxes._words) <= 10_000
