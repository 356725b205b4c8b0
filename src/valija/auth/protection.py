"""The parts of login protection put together: what all workers share, and what one worker has of it.

    shared = SharedLogins(workers=2)                                     # in the supervisor, before it forks
    protection = LoginProtection(shared, worker=0, file=path, log=log)   # in a worker
    protection.use(PaceLimits(login=10), is_shared)                      # and again at each reload
    backend = protection.guard(DovecotBackend(path, log), name=system_name, remembers=True)

The way of a login: auth/guard holds it back, auth/throttle lets it through or not by the rules of policy/login_pace,
auth/good_logins may answer for the back end, and the outcome is counted (valija/occurrences) and remembered
(auth/known_networks).
"""

import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Final

from valija.auth.accounts import canonical_login
from valija.auth.backend import AuthBackend
from valija.auth.desk import Desk
from valija.auth.digests import DigestTable
from valija.auth.good_logins import GoodLogins
from valija.auth.guard import GuardedBackend
from valija.auth.known_networks import RECENT, KnownNetworks
from valija.auth.throttle import Throttle
from valija.logs import Log
from valija.occurrences import OccurrenceTable
from valija.policy.login_pace import WINDOW, PaceLimits

_WRONG_FOR: Final = 2 * WINDOW  # seconds, at most: no shorter than a guess counts
_TOLD_FOR: Final = 1800.0


class SharedLogins:
    """What all workers know of logins, in memory that they share. It begins anew with the server."""

    def __init__(self, workers: int) -> None:
        self.failures = OccurrenceTable.shared(workers, WINDOW)
        self.good = GoodLogins.shared()
        self.wrong = DigestTable.shared(_WRONG_FOR)
        self.recent = DigestTable.shared(RECENT)
        self.told = DigestTable.shared(_TOLD_FOR, places=4096)


class LoginProtection:
    """One worker's part."""

    def __init__(self, shared: SharedLogins, worker: int, file: Path, log: Log) -> None:
        self.good = shared.good
        self._known = KnownNetworks(file, shared.recent, log, time.time)
        self._throttle = Throttle(shared.failures.counter(worker), shared.wrong, shared.told, self._known, log)

    def use(self, limits: PaceLimits, is_shared: Callable[[str], bool]) -> None:
        """Live by these limits; `is_shared` tells of a client's address whether it may stand for many."""
        self._throttle.limits = limits
        self._throttle.is_shared = is_shared

    def guard(
        self, inner: AuthBackend, *, name: Callable[[str], str], remembers: bool, places: int = 0
    ) -> GuardedBackend:
        """Return a back end behind the guard; `remembers`: right logins, for one that does not do so itself.

        `places`: so many passwords of strangers are verified at once; 0 where that costs us nothing.
        """
        good, desk = self.good if remembers else None, Desk(places) if places else None
        return GuardedBackend(inner, self._throttle, name=name, good=good, desk=desk)

    @property
    def refused(self) -> int:
        """How many logins were refused unseen since the worker's start."""
        return self._throttle.refused

    def close(self) -> None:
        """Write what is to be remembered, and leave the file."""
        self._known.close()


def account_name(claimed: str) -> str:
    """Return the spelling that a claimed account's login is counted under: the account's own where it can be one."""
    return canonical_login(claimed) or _folded(claimed)


def system_name(claimed: str) -> str:
    """Return the spelling that a claimed system user's login is counted under: its local part.

    Dovecot may take any domain for the same user, and a guess must not be worth more under another.
    """
    local = claimed.partition("@")[0]
    return _folded(local or claimed)


def _folded(claimed: str) -> str:
    return unicodedata.normalize("NFKC", claimed).casefold().strip()
