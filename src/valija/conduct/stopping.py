"""What follows when an account is frozen: what it has in the queue is held, and people are told.

    for queue_id in await held_mail(store, login, since): log.info("held", queue_id=queue_id)
    for message in notices(login, freeze, office, now=now, unique=unique): ...      # to be queued

Holding is done in each worker for its own queue. A message that is already at a peer's door goes through.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from valija.auth.standings import Freeze
from valija.content.dkim_key import DkimKey
from valija.content.freeze_notice import HELD_BEFORE, FrozenAccount, Language, notice_to_owner, notice_to_postmaster
from valija.content.tls_report_mail import signed_report
from valija.mail.address import domain_of
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Notify, Recipient
from valija.mail.job import Job, QueueId
from valija.mail.origin import Origin
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.queue.identity import before
from valija.queue.store import Listed, NewMessage, QueueStore

_PAGE: Final = 200  # messages looked at in one turn of the queue's writer
_STOPPED: Final = Reply(450, "4.7.13", "The sender's account was frozen, and this message is on hold")


class Office(msgspec.Struct, frozen=True):
    """Who speaks: the postmaster's address, the server's name, the language owners are told in, and the keys to sign.

    `contact` is where an owner is told, for those who have named a place; `domain` the first hosted one.
    """

    postmaster: str
    hostname: str
    domain: str
    language: Language
    keys: Callable[[str], Sequence[DkimKey]]
    contact: Callable[[str], str | None]


async def hold_mail(store: QueueStore, login: str, began: float) -> list[QueueId]:
    """Hold what a login has in one worker's queue since some time before `began`; return what was not held before."""
    held: list[QueueId] = []
    after = before(began - HELD_BEFORE)
    while page := await store.list(_PAGE, after):
        for queue_id in to_hold(page, login):
            if await store.hold(queue_id):
                held.append(queue_id)
        after = page[-1].queue_id
    return held


def to_hold(page: Sequence[Listed], login: str) -> Iterator[QueueId]:
    """Yield the messages of a login that are not on hold."""
    return (listed.queue_id for listed in page if listed.login == login and not listed.hold)


def stopped(job: Job) -> list[Outcome]:
    """Return the outcomes of an attempt that is not made because the sender's account was frozen."""
    return [Outcome(number, State.DEFERRED, _STOPPED) for number in job.numbers]


def notices(
    login: str, freeze: Freeze, office: Office, *, now: float, unique: Callable[[], str]
) -> Iterator[NewMessage]:
    """Yield the messages to the postmaster and to the account's owner."""
    owner = office.contact(login) or (login if "@" in login else f"{login}@{office.domain}")
    account = FrozenAccount(
        login, office.hostname, office.postmaster, office.postmaster, freeze.reason, freeze.at, freeze.began
    )
    yield _message(office, office.postmaster, notice_to_postmaster(account, now=now, unique=unique()), now)
    if owner != office.postmaster:
        account = msgspec.structs.replace(account, recipient=owner)
        yield _message(office, owner, notice_to_owner(account, now=now, unique=unique(), language=office.language), now)


def _message(office: Office, recipient: str, content: bytes, now: float) -> NewMessage:
    if keys := office.keys(domain_of(office.postmaster)):
        content = signed_report(content, keys, now)
    envelope = Envelope("", (Recipient(recipient, Notify.NEVER),), "8BITMIME")
    return NewMessage(envelope, Content.of(content), Origin("local", now, rule="notice of a frozen account"))
