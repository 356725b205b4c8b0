"""What one worker knows of an account: what all had spent when it last asked the ledger, and what it counted since.

account = Account()
account.learn(hours, now, limits, workers=2)     # the ledger's answer
if account.has_room(recipients=3) and account.is_home("192.0.2.7", now):
    account.count(recipients=3, first_time=1)    # a message; nobody has to be asked
tally = account.handed_over()                    # for the ledger; from now on it counts anew
"""

from typing import Final

from valija.conduct.ledger import Hours, Tally, total
from valija.policy.limits import HOUR, HOURS, AccountLimits, Spent, room_of

FRESH_FOR: Final = 5.0  # seconds, after which the ledger is asked again
ROOM_FOR: Final = 30.0  # seconds an answer of the ledger is gone by at most
_MOST_HOMES: Final = 100  # clients


class Account:
    """One account. `asked` is when the ledger last answered (epoch seconds), `is_asking` that it is being asked."""

    __slots__ = ("_homes", "_hour", "_hours", "_room", "_spent", "asked", "is_asking", "tally")

    def __init__(self) -> None:
        self.tally = Tally()
        self.asked = float("-inf")
        self.is_asking = False
        self._hours: Hours = ()
        self._hour = 0
        self._spent = Spent()
        self._room = Spent()
        self._homes: dict[str, float] = {}

    @property
    def is_known(self) -> bool:
        """Whether the ledger has ever answered."""
        return self.asked > float("-inf")

    def begin(self, now: float) -> bool:
        """Whether the ledger has to be asked when a message begins; an answer that is too old gives no room."""
        if not self.asked <= now < self.asked + ROOM_FOR:
            self._room = Spent()
        return not self.asked <= now < self.asked + FRESH_FOR and not self.is_asking

    def learn(self, hours: Hours, now: float, limits: AccountLimits, workers: int) -> None:
        """Take the ledger's answer; it is one of so many workers that share these limits."""
        self._hours = hours
        self.asked = now
        self._sum_up(int(now) // HOUR)
        self._room = room_of(self._spent, limits, workers)

    def has_room(self, recipients: int) -> bool:
        """Whether a message is so far from every limit that nobody has to be asked, though it were all to strangers."""
        tally, room = self.tally, self._room
        return (
            tally.messages < room.messages
            and tally.recipients + recipients <= room.recipients
            and tally.first_time + recipients <= room.first_time
        )

    def is_home(self, client: str, now: float) -> bool:
        """Whether mail from a client's address needs no judging now."""
        return self._homes.get(client, 0.0) > now

    def set_home(self, client: str, until: float) -> None:
        """Have mail from a client's address not be judged for a while."""
        if len(self._homes) >= _MOST_HOMES:
            self._homes.clear()
        self._homes[client] = until

    def count(self, recipients: int, first_time: int) -> None:
        """Count a message."""
        tally = self.tally
        tally.messages += 1
        tally.recipients += recipients
        tally.first_time += first_time

    def handed_over(self) -> Tally:
        """Return what was counted, and count anew."""
        tally, self.tally = self.tally, Tally()
        return tally

    def take_back(self, tally: Tally) -> None:
        """Count what could not be handed over as if it had not been tried."""
        own = self.tally
        own.messages += tally.messages
        own.recipients += tally.recipients
        own.first_time += tally.first_time
        own.ended += tally.ended
        own.refused += tally.refused

    @property
    def is_clean(self) -> bool:
        """Whether nothing was counted since it was handed over."""
        return self.tally == Tally()

    @property
    def unshared(self) -> Spent:
        """What was counted and is not in the ledger yet."""
        return Spent(self.tally.messages, self.tally.recipients, self.tally.first_time)

    def shared(self, now: float) -> Spent:
        """What all had spent by the ledger's last answer, of the hours that still count."""
        if int(now) // HOUR != self._hour:
            self._sum_up(int(now) // HOUR)
        return self._spent

    def hours(self, now: float) -> Hours:
        """What was spent by hour, what is not in the ledger yet included."""
        return [*self._hours, (int(now) // HOUR, self.unshared)]

    def _sum_up(self, hour: int) -> None:
        self._hour = hour
        self._hours = [each for each in self._hours if each[0] > hour - HOURS]
        self._spent = total(self._hours)
