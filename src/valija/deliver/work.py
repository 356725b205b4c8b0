"""Where a session gets its errands from: the protocol of a next hop, as its sessions see it."""

from typing import TYPE_CHECKING, Protocol

from valija.deliver.errand import Errand, Failure
from valija.smtp.client_transaction import Transaction

if TYPE_CHECKING:
    from valija.deliver.session import Session


class Work(Protocol):
    """The errands of a next hop; its sessions ask for them, and tell how they fare."""

    def take(self) -> Errand | None:
        """Return the next errand, None if none is waiting."""

    def put_back(self, errand: Errand) -> None:
        """Take an errand back, to be served when its message has its turn."""

    def may_rest(self, session: "Session") -> bool:
        """Hear that the session has nothing to do: `session.wake` makes it look again. False: it is to end."""

    def must_leave(self, session: "Session") -> bool:
        """Whether the session is to take nothing more."""

    @property
    def recipient_limit(self) -> int:
        """How many recipients the next hop takes in a transaction, 0 where that is not known."""

    def took_only(self, recipients: int) -> None:
        """Hear that the peer had enough after so many recipients of a transaction."""

    def concluded(self, errand: Errand, transaction: Transaction) -> None:
        """Hear of a transaction to which all replies came."""

    def throttled(self, errand: Errand, failure: Failure, begun: float) -> None:
        """Take an errand back that was refused by 421 in place of being taken."""
