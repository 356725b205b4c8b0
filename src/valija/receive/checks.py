"""What may look at a message on its way in and say no: the Check protocol, and the facts it is told.

A check is made for one session, when its client says hello, and lives until the session ends. It hears of each step
before the client is answered, and says nothing (None), a Reply that refuses, or, on the content, a Verdict:

    class NoMailOnMondays(Check):
        def on_mail(self, client: Client, mail: Mail) -> Reply | None:
            return Reply(450, "4.7.1", "Not on Mondays") if self._is_monday() else None

    offer = Offer("mondays", lambda client: NoMailOnMondays(), Stage.MAIL)
    checks = Checks([offer])

- An Offer names the stages at which its check wants to be heard; at others it costs nothing.
- A method that has to wait returns a coroutine of its answer; what it knows at once it returns. So a check can begin
  its look-ups early (`begin`, `on_mail`) and be awaited late.
- Checks are asked in the order of their offers. The first refusal ends the asking. Each sees the header, the body and
  the envelope as those before it left them, with their fields on top.
- A check bounds its own waiting, and says itself what its failure means. One that raises costs the client a 451: see
  receive/examination.
- Clients in `mynetworks` and logged-in users are examined only by offers with `of_users`.

Known weakness: what a check says at MAIL or RCPT is only ever a refusal. One that wants a message held or thrown away
keeps that in mind until the content is there.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from enum import Flag, auto
from typing import Any, Protocol

import msgspec

from valija.mail.envelope import Envelope, Recipient
from valija.mail.job import QueueId
from valija.mail.origin import Role, TlsFacts
from valija.mail.reply import Reply
from valija.receive.body import Body
from valija.smtp.events import Mail


class Stage(Flag):
    """At which steps a check wants to be heard. CONNECT is heard once, before the session's first MAIL is answered."""

    NONE = 0
    CONNECT = auto()
    MAIL = auto()
    RCPT = auto()
    CONTENT = auto()


class Client(msgspec.Struct, frozen=True):
    """Who is there, as far as it is known now. An address that is not known is `""`, and so is a login or HELO.

    `mechanism` is how it logged in (SASL). `is_trusted`: it is in `mynetworks`. `protocol` is the `with` keyword of
    RFC 3848. The own end is known on the listeners of mail users only. `session` is the id to name in the log.
    """

    role: Role
    address: str
    port: int
    helo: str = ""
    login: str = ""
    mechanism: str = ""
    is_trusted: bool = False
    protocol: str = ""
    tls: TlsFacts | None = None
    local_address: str = ""
    local_port: int = 0
    session: str = ""


class Candidate(msgspec.Struct, frozen=True):
    """A content that has come whole, before it is queued under `queue_id`.

    `header` are its fields without the blank line, as the check before left them; `received_header` as they came.
    `body_size` in octets; `read_body` gives the body's octets in pieces, from memory or from a file, as often as it is
    called, and may raise OSError. `received_at` is in epoch seconds.

    A check that wants another body has it from `new_body`, and need not discard it. `size_limit` is how large a content
    may be, in octets, 0 for no limit.
    """

    queue_id: QueueId
    received_at: float
    header: bytes
    received_header: bytes
    body_size: int
    read_body: Callable[[], Iterator[bytes]]
    new_body: Callable[[], Body]
    size_limit: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """What a check says of a content.

    `refusal` ends it. `header` is the header as it is to be instead, `fields` are whole fields to put on top of it.
    `body`, `reverse_path` and `recipients` take the place of what was there; without recipients nobody gets it.
    `hold` and `junk` say why the message is kept for a human, or is put where its reader looks for unwanted mail.
    `discards` accepts the message and throws it away. `findings` are names and words for the log and for whoever asks
    later: `(("spf", "pass"), ("dkim", "fail"))`.
    """

    refusal: Reply | None = None
    fields: bytes = b""
    header: bytes | None = None
    body: Body | None = None
    reverse_path: str | None = None
    recipients: tuple[Recipient, ...] | None = None
    hold: str = ""
    junk: str = ""
    discards: bool = False
    findings: tuple[tuple[str, str], ...] = ()


Answer = Reply | Coroutine[Any, Any, Reply | None] | None
ContentAnswer = Verdict | Coroutine[Any, Any, Verdict | None] | None


class Check:
    """One session's check. What it does not override says nothing."""

    def on_connect(self, client: Client) -> Answer:
        """Judge a client, once, when it comes to its first MAIL."""
        return None

    def on_mail(self, client: Client, mail: Mail) -> Answer:
        """Judge a transaction's beginning."""
        return None

    def on_rcpt(self, client: Client, mail: Mail, recipient: Recipient) -> Answer:
        """Judge a recipient, whom the relay policy has allowed."""
        return None

    def on_content(self, client: Client, envelope: Envelope, content: Candidate) -> ContentAnswer:
        """Judge a message."""
        return None

    def on_header(self, client: Client, header: bytes) -> "Sequence[BodyWatcher]":
        """Return who wants to see the body while it arrives; the header is complete, the body is yet to come.

        It may be called in a thread (for a binary content), and so may those it returns: no waiting and no tasks here.
        """
        return ()

    def on_reset(self) -> None:
        """The transaction is over, whatever became of it."""

    def close(self) -> None:
        """The session is over."""


class BodyWatcher(Protocol):
    """Sees the octets of a body in order, cut anywhere."""

    def update(self, data: bytes) -> None:
        """Take the next octets."""


class Offer(msgspec.Struct, frozen=True):
    """A check that is switched on: `begin` makes it for one session. `of_users`: it examines them too."""

    name: str
    begin: Callable[[Client], Check]
    stages: Stage
    of_users: bool = False


class Checks:
    """The checks that are switched on, in their order."""

    __slots__ = ("of_strangers", "of_users")

    def __init__(self, offers: Sequence[Offer] = ()) -> None:
        self.of_strangers = tuple(offers)
        self.of_users = tuple(offer for offer in offers if offer.of_users)


NO_CHECKS = Checks()
