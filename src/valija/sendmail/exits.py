"""How a mail program ends: the exit statuses of sysexits(3), and the failure that carries one.

Programs that call sendmail look at little else: cron writes it to the log, PHP's mail() tells true from false by it.
"""

from enum import IntEnum


class Exit(IntEnum):
    """An exit status."""

    OK = 0
    USAGE = 64
    DATAERR = 65
    NOUSER = 67
    NOHOST = 68
    UNAVAILABLE = 69
    OSERR = 71
    TEMPFAIL = 75
    NOPERM = 77


class Failure(Exception):
    """The message was not taken; why, for people, and the exit status."""

    def __init__(self, status: Exit, reason: str) -> None:
        super().__init__(reason)
        self.status = status


_BY_STATUS_CODE = {
    "5.1.1": Exit.NOUSER,
    "5.1.2": Exit.NOHOST,
    "5.1.3": Exit.DATAERR,
    "5.1.7": Exit.DATAERR,
    "5.3.4": Exit.DATAERR,
    "5.6.0": Exit.DATAERR,
    "5.7.1": Exit.NOPERM,
}


def exit_for(code: int, enhanced: str) -> Exit:
    """Return the exit status that tells what a reply told."""
    if code < 400:
        return Exit.OK
    return Exit.TEMPFAIL if code < 500 else _BY_STATUS_CODE.get(enhanced, Exit.UNAVAILABLE)
