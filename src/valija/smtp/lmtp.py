"""The client's side of LMTP, without I/O: SMTP with a reply per recipient behind the content (RFC 2033).

    machine = LmtpMachine("mail.example.org")                   # like smtp/client.ClientMachine
    machine.begin(plan(..., kind=machine.transaction_kind))

What differs:

- LHLO in place of EHLO; there is nothing to fall back to (section 4.1).
- Behind the final dot comes a reply for each recipient that was taken, in the order of RCPT (section 4.2): a mailbox
  that is full says nothing of the others.
- DATA without a recipient that was taken gets 503; 354 there has no meaning, and ends the session.

BDAT is not used, whatever is announced: it would save a round trip to a server that stands beside this one.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec

from valija.mail.reply import Reply
from valija.smtp.client import ClientMachine
from valija.smtp.client_events import Step
from valija.smtp.client_transaction import Transaction

_SERVICE_CLOSING: Final = 421
_IGNORED: Final = frozenset({"CHUNKING"})


class LmtpTransaction(Transaction, eq=False, gc=False):
    """A transaction whose content has a reply for each recipient: `final_replies`."""

    final_replies: list[Reply] = msgspec.field(default_factory=list)

    @property
    def taken(self) -> int:
        """How many recipients were taken."""
        return sum(reply.is_positive for reply in self.rcpt_replies)

    def verdict(self, place: int) -> Reply | None:
        """Return the reply that decided the recipient at `place`, None while nothing has."""
        decided = super().verdict(place)
        if decided is not None:
            return decided
        among_taken = sum(reply.is_positive for reply in self.rcpt_replies[:place])
        return self.final_replies[among_taken] if among_taken < len(self.final_replies) else None


class LmtpMachine(ClientMachine):
    """One session. The transactions that it begins are LmtpTransactions."""

    transaction_kind: ClassVar[type[Transaction]] = LmtpTransaction

    __slots__ = ()

    def __init__(self, hostname: str) -> None:
        super().__init__(hostname, ignored_keywords=_IGNORED)

    def _hello(self) -> None:
        self._send(f"LHLO {self._hostname}\r\n".encode(), Step.EHLO)

    def _on_lhlo(self, reply: Reply) -> None:
        if reply.is_permanent:
            self._refused(reply)
        else:
            self._on_ehlo(reply)

    def _on_data_reply(self, reply: Reply) -> None:
        if reply.is_positive and not self._open[0].has_recipients:
            self._cannot_understand(f"{reply.code} to DATA without a recipient")
        else:
            self._on_data(reply)

    def _finish_content(self, octets: bytes) -> None:
        super()._finish_content(octets)
        self._awaited.extend((Step.FINAL,) * (self._transaction.taken - 1))

    def _on_final_reply(self, reply: Reply) -> None:
        transaction = self._transaction
        if reply.code // 100 == 3:
            self._cannot_understand(f"{reply.code} to the final dot")
            return
        transaction.final_replies.append(reply)
        if len(transaction.final_replies) == transaction.taken:
            self._ended(transaction)
        if reply.code == _SERVICE_CLOSING:
            self.end(reply, by_peer=True)

    @property
    def _transaction(self) -> LmtpTransaction:
        transaction = self._open[0]
        assert isinstance(transaction, LmtpTransaction)
        return transaction

    _handlers: ClassVar[Mapping[Step, Callable[[Any, Reply], None]]] = {
        **ClientMachine._handlers,
        Step.EHLO: _on_lhlo,
        Step.DATA: _on_data_reply,
        Step.FINAL: _on_final_reply,
    }
