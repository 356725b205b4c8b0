"""A message left in the maildrop, for a server that is away: see valija/receive/maildrop for what it looks at.

    leave("/var/spool/valija/maildrop", message)        # returns when it is on disk; raises OSError

The file is written with mode 0600, marked as its owner's, and opened to the server by its last change of mode. Its
name is a secret that only the server can find out. What breaks off before is nothing, and is cleared away one day.

Known weakness: the folder's own entry is not synced, as nobody but the server may open the folder. Common file systems
write it with the file.
"""

import contextlib
import os
from typing import Final

from valija.faults.points import fault_point
from valija.sendmail.message import HELLO, Message

MARK: Final = "user.valija.maildrop"
RECIPIENTS: Final = 1000  # in one file, which is one transaction
_write_point = fault_point("drop.write")
_complete = fault_point("drop.complete")
_synced = fault_point("drop.synced")
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def leave(folder: str, message: Message) -> None:
    """Leave a message, in as many files as its recipients need. Raises OSError; nothing is left then."""
    left: list[str] = []
    try:
        for start in range(0, len(message.recipients), RECIPIENTS):
            left.append(os.path.join(folder, os.urandom(16).hex()))
            _write(left[-1], message.to(message.recipients[start : start + RECIPIENTS]))
    except BaseException:
        for name in left:
            with contextlib.suppress(OSError):
                os.unlink(name)
        raise


def _write(name: str, message: Message) -> None:
    opened = os.open(name, _FLAGS, 0o600)
    try:
        _write_point()
        rcpts = b"".join(map(message.rcpt, message.recipients))
        _write_all(opened, HELLO + message.mail() + rcpts + message.chunk())
        _write_all(opened, message.content)
        os.setxattr(opened, MARK, str(os.fstat(opened).st_ino).encode())
        os.fchmod(opened, 0o644)
        _complete()
        os.fsync(opened)
        _synced()
    finally:
        os.close(opened)


def _write_all(opened: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(opened, view) :]
