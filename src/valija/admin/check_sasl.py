"""What `valija check` finds about logins: can the service's user reach who judges them, and what is offered then."""

import os
import pickle
from collections.abc import Callable, Iterator
from typing import TypeVar

from valija.admin.findings import Finding, failure, fine
from valija.auth.dovecot_socket import why_not
from valija.config import Config
from valija.privileges import PrivilegeError, drop, find_account, running_as_root

T = TypeVar("T")


def check_sasl(config: Config) -> Iterator[Finding]:
    """Yield the findings. Dovecot is asked, for some seconds at most."""
    if not (config.submission.listen or config.submissions.listen):
        return
    if config.sasl.type != "dovecot":
        yield fine("logins", f'judged by {config.sasl.type}: [sasl] type = "{config.sasl.type}"')
        return
    try:
        mechanisms, why = _as_service_user(config.user, lambda: why_not(config.sasl.path))
    except PrivilegeError:
        return  # said already, of the user
    if why:
        yield failure("logins", f"Dovecot can't be asked: {why}")
    else:
        yield fine("logins", f"judged by Dovecot at {config.sasl.path}: {', '.join(mechanisms)}")


def _as_service_user(user: str, ask: Callable[[], T]) -> T:
    """Return what `ask` returns when the service's user asks: in a process of its own, where this one is root's."""
    if not running_as_root():
        return ask()
    account = find_account(user)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            drop(account)
            os.write(writable, pickle.dumps(ask()))
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise PrivilegeError(f"nothing can be asked as user {user!r}")
    found: T = pickle.loads(answer)  # noqa: S301 - written above, by ourselves
    return found
