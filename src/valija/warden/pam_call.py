"""How PAM is asked: one login, in a process of its own, as root.

    load()                                          # once, in the helper: finds the system's libpam
    judge(("Alice", "alice"), b"secret", "valija")  # in a child: Verdict("right", "alice")

The password is verified, and whether the account may be used (pam_authenticate, then pam_acct_mgmt). No session is
opened and no credentials are made: nobody works here. A wrong answer's delay is not waited for: PAM lets a program have
its own function for it (pam_fail_delay(3)), and ours notes how long it would have been.
"""

import contextlib
import ctypes
import os
import pwd
import re
from collections.abc import Sequence
from typing import Any, Final

from valija.auth.pam import Verdict, outcome_of, reason_of
from valija.auth.system_users import is_system_user

_PAM_FAIL_DELAY: Final = 10  # the item, _pam_types.h
_ROOT: Final = 0
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*\$?")
_DelayFunction = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


class NoPam(Exception):
    """The system has no PAM; the text says what to install."""


def load() -> None:
    """Find PAM's library: not for each login, since it starts programs to look. Raises NoPam."""
    try:
        import pam  # type: ignore[import-untyped]  # it has no types

        pam.PamAuthenticator()
    except (ImportError, OSError, AttributeError) as error:
        raise NoPam(f"PAM's library can't be used ({error}); install it (Debian: libpam0g)") from None


def judge(names: Sequence[str], password: bytes, service: str) -> Verdict:
    """Return what PAM says of the first of `names` that the system knows. May take as long as PAM's modules do."""
    try:
        name = next((name for name in names if is_system_user(name)), None)
        if name is not None and pwd.getpwnam(name).pw_uid == _ROOT:
            return Verdict("wrong", detail="root may not log in by mail")
    except (OSError, KeyError) as error:
        return Verdict("unavailable", detail=str(error))
    if name is None and not _PLAIN_NAME.fullmatch(names[0]):
        return Verdict("wrong")  # modules make file names of them
    return _ask(name or names[0], password, service, is_known=name is not None)


def _ask(name: str, password: bytes, service: str, *, is_known: bool) -> Verdict:
    # An unknown name is asked for too: PAM takes as long for it as for a wrong password, and tells the system's log.
    import pam

    authenticator: Any = pam.PamAuthenticator()
    delays = _note_delays(authenticator)
    with contextlib.redirect_stdout(None):
        authenticator.authenticate(name, password, service=service, resetcreds=False)
    code = int(authenticator.code)
    outcome = outcome_of(code)
    if outcome == "right" and not is_known:
        return Verdict("wrong", detail="PAM lets in a user whom the system does not know")
    delay = max(delays, default=0.0) if outcome == "wrong" else 0.0
    return Verdict(outcome, name if outcome == "right" else "", delay, reason_of(code, _words(authenticator.reason)))


def _note_delays(authenticator: Any) -> list[float]:
    """Have a list filled with the seconds that PAM would wait, instead of waiting."""
    delays: list[float] = []
    note = _DelayFunction(lambda _, microseconds, __: delays.append(microseconds / 1e6))
    authenticate = authenticator.pam_authenticate

    def with_our_delay(handle: Any, flags: int) -> int:
        authenticator.pam_set_item(handle, _PAM_FAIL_DELAY, ctypes.cast(note, ctypes.c_void_p))
        return int(authenticate(handle, flags))

    authenticator.pam_authenticate = with_our_delay
    return delays


def _words(reason: object) -> str:
    return reason if isinstance(reason, str) else os.fsdecode(reason) if isinstance(reason, bytes) else ""
