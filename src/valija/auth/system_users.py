"""The system's users as people who have mail here, beside the accounts and aliases of valija's own.

    users = SystemUsers(is_system_user, time.monotonic)
    users.have_mailbox("Alice+news@example.org")             # True, where the system knows alice
    HostedDirectory(accounts, ["example.org"], is_user=users.have_mailbox)

Every user the system knows has an address in each hosted domain, daemons and root among them, as with Postfix's
`local_recipient_maps`: their mail is what cron and its like send. An alias takes it elsewhere. Names are looked up
in the spelling of the address first, then in ASCII lower case.

Answers are kept for a little while. A lookup that fails (a directory server that is away) raises OSError: that is a
transient refusal, never an unknown user.

Known weakness: a lookup through a slow directory server holds up the worker while it lasts.
"""

import ctypes
import os
import pwd
from collections.abc import Callable
from functools import cache
from typing import Final

from valija.mail.address import fold_case, split, unquote

KNOWN_FOR: Final = 60.0  # seconds
UNKNOWN_FOR: Final = 5.0  # a user just made should not have to wait
_REMEMBERED: Final = 10_000


def is_system_user(name: str) -> bool:
    """Ask the system (NSS) whether it knows a user. Raises OSError where it can't tell."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return _is_known_after_all(name)
    except ValueError:  # a NUL or a surrogate in the name, which is nobody's
        return False
    return True


_RECORD: Final = 256  # octets: more than a struct passwd has anywhere
_ROOM: Final = 64 * 1024  # for the texts it points to


def _is_known_after_all(name: str) -> bool:
    """Ask once more in a way that tells "there is none" from "I can't say", which `pwd` does not.

    getpwnam_r returns 0 and no record for a user that does not exist, an error number where a service did not answer.
    """
    record, room, found = ctypes.create_string_buffer(_RECORD), ctypes.create_string_buffer(_ROOM), ctypes.c_void_p()
    error = _libc().getpwnam_r(os.fsencode(name), record, room, ctypes.c_size_t(_ROOM), ctypes.byref(found))
    if error:
        raise OSError(error, f"the system can't tell whether there is a user {name!r}: {os.strerror(error)}")
    return found.value is not None


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


class SystemUsers:
    """Remembers what the system said about names. `clock` gives monotonic seconds."""

    def __init__(self, ask: Callable[[str], bool], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._answers: dict[str, tuple[bool, float]] = {}

    def canonical(self, local_part: str) -> str | None:
        """Return the user that a local part, without a subaddress, belongs to; None if there is none."""
        for name in dict.fromkeys((local_part, fold_case(local_part))):
            if name and self._is_known(name):
                return name
        return None

    def have_mailbox(self, address: str, delimiter: str = "+") -> bool:
        """Whether an address, in whatever hosted domain, is a user's. Raises OSError."""
        written = unquote(split(address)[0])
        base = written.partition(delimiter)[0] if delimiter else written
        return self.canonical(base or written) is not None

    def _is_known(self, name: str) -> bool:
        now = self._clock()
        found, until = self._answers.get(name, (False, 0.0))
        if now < until:
            return found
        found = self._ask(name)
        if len(self._answers) >= _REMEMBERED:
            self._answers.clear()
        self._answers[name] = (found, now + (KNOWN_FOR if found else UNKNOWN_FOR))
        return found
