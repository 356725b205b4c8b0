"""Questions put by the service's user: what root can reach need not be what the server can.

answer = asked_as("valija", lambda: ask("/run/dovecot/auth-client"))      # octets
"""

import os
from collections.abc import Callable

from valija.privileges import PrivilegeError, drop, find_account, running_as_root


def asked_as(user: str, ask: Callable[[], bytes]) -> bytes:
    """Return what `ask` returns, run by a user: in a process of its own, where this one is root's.

    Raises PrivilegeError where there is no such user, or nothing came of it.
    """
    if not running_as_root():
        return ask()
    account = find_account(user)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            drop(account)
            os.write(writable, ask())
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        raise PrivilegeError(f"nothing can be asked as user {user!r}")
    return said
