"""One message of a user: its recipients are counted as they come, and the whole when it is to be queued.

    spending = overseer.begin("alice@example.org", "192.0.2.7")     # at MAIL
    refusal = spending.add("bob@example.net")                       # at RCPT: 450, where a limit is reached
    refusal = spending.take(received_at)                            # before it is queued; None: go on

What was known of the account when the message began is good enough for RCPT. `take` is exact where it matters: near a
limit the ledger is asked for each message, and foreign mail is judged there, over all workers (see policy/misuse). Then
it has to be waited for, and is a coroutine; most messages are far from all that.
"""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from valija.conduct.account import Account
from valija.mail.reply import Reply
from valija.policy.limits import Spent, first_over

if TYPE_CHECKING:
    from valija.conduct.overseer import Overseer


class Spending:
    """What one message comes to."""

    __slots__ = ("_account", "_client", "_first_time", "_login", "_looked_up", "_overseer", "_recipients")

    def __init__(self, overseer: "Overseer", account: Account, login: str, client: str) -> None:
        self._overseer = overseer
        self._account = account
        self._login = login
        self._client = client
        self._recipients: list[str] = []
        self._looked_up = 0  # so many of them were looked for among the known ones,
        self._first_time = 0  # and so many of those were not there

    def add(self, address: str) -> Reply | None:
        """Count a recipient; return why it can't be one now."""
        recipients = self._recipients
        recipients.append(address)
        if self._account.has_room(len(recipients)):
            return None
        refusal = self._over()
        if refusal is not None:
            recipients.pop()
        return refusal

    def take(self, received_at: float) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """Count the message; return why it can't be taken."""
        account, recipients = self._account, self._recipients
        refusal = self._overseer.refusal(self._login)
        if refusal is not None:
            return refusal
        if not account.has_room(len(recipients)) or not account.is_home(self._client, received_at):
            return self._take_slowly(received_at)
        account.count(len(recipients), self._overseer.known.note(self._login, recipients))
        return None

    async def _take_slowly(self, received_at: float) -> Reply | None:
        overseer, account, recipients = self._overseer, self._account, self._recipients
        first_time = overseer.known.strangers(self._login, recipients)
        if account.has_room(len(recipients)):
            account.count(len(recipients), first_time)
        elif refusal := await overseer.reserve(self._login, account, Spent(1, len(recipients), first_time)):
            return refusal
        if not account.is_home(self._client, received_at):
            await overseer.judge(self._login, account, self._client, received_at, first_time)
        refusal = overseer.refusal(self._login)  # somebody else may have found out meanwhile
        if refusal is None:
            overseer.known.note(self._login, recipients)
        return refusal

    def _over(self) -> Reply | None:
        """Return the refusal of what would pass a limit, by what is known."""
        overseer, account, recipients = self._overseer, self._account, self._recipients
        if not account.is_known:
            return None
        accepted = len(recipients) - 1
        self._first_time += overseer.known.strangers(self._login, recipients[self._looked_up : accepted])
        self._looked_up = accepted
        first_time = self._first_time + overseer.known.strangers(self._login, recipients[accepted:])
        more = Spent(1, len(recipients), first_time)
        spent = account.shared(overseer.clock()) + account.unshared
        over = first_over(spent, more, overseer.limits_of(self._login))
        return overseer.refuse(self._login, account, over, more) if over else None
