"""Where programs of this machine find the server: a socket, and a folder to leave mail in while it is away.

    prepare(options, account, log)          # as root where there is one: folders are made, and the folder given away
    listening = listen(options, log)        # None where it is off, or can't be
    remove(options, listening)              # at the end

    /run/valija/              0755   root's, or the server's where systemd made it
    /run/valija/sendmail.sock 0666   everybody may connect: the server asks the kernel who did
    /var/spool/valija/        0755   root's
    .../maildrop/             1733   the server's: everybody may leave a file, nobody else can see which there are

None of this keeps the server from starting: where it can't be, the log says why, and mail by SMTP goes on.
"""

import os
import socket
import stat
from pathlib import Path
from typing import Final

from valija.folders import make_open
from valija.logs import Log
from valija.privileges import Account, running_as_root
from valija.receive.options import LocalOptions

MAILDROP_MODE: Final = 0o1733
_SOCKET_MODE: Final = 0o666
_BACKLOG: Final = 1024
_REMEDY: Final = "start valija as root or by its unit (valija systemd install), or name other places in [local]"


class Unusable(Exception):
    """What is there is no place for mail; the message says why."""


def prepare(options: LocalOptions, account: Account, log: Log) -> None:
    """Make the folders that are missing. `account` is who the server is, or will be."""
    try:
        if options.socket:
            make_open(Path(options.socket).parent)
        if options.maildrop:
            make_maildrop(Path(options.maildrop), account)
    except (OSError, Unusable) as error:
        log.warning("programs of this machine can't hand in mail everywhere", reason=str(error), remedy=_REMEDY)


def make_maildrop(folder: Path, account: Account) -> None:
    """Make the folder where programs leave mail, and have it be the server's. Raises OSError, Unusable."""
    make_open(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    # By descriptor, and not through a link, so that what is looked at is what is given away.
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _give(folder, opened, account)
    finally:
        os.close(opened)


def _give(folder: Path, opened: int, account: Account) -> None:
    status = os.fstat(opened)
    if status.st_uid not in (account.uid, os.geteuid()):
        raise Unusable(f"{folder} belongs to user {status.st_uid}: chown it to the server's user, or remove it")
    if stat.S_IMODE(status.st_mode) != MAILDROP_MODE:
        os.fchmod(opened, MAILDROP_MODE)
    if running_as_root() and status.st_uid != account.uid:
        os.fchown(opened, account.uid, account.gid)


def listen(options: LocalOptions, log: Log) -> socket.socket | None:
    """Return the listening socket. Clients wait in it until a worker accepts them."""
    if not options.socket:
        return None
    path = Path(options.socket)
    try:
        if _is_served(path):
            raise Unusable(f"{path}: another server listens there")
        return _bind(path)
    except (OSError, Unusable) as error:
        log.warning("not listening for programs of this machine", reason=str(error), remedy=_REMEDY)
        return None


def _is_served(path: Path) -> bool:
    """Whether a living server listens. Raises Unusable for what is no socket: it is somebody's."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(status.st_mode):
        raise Unusable(f"{path} is no socket: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def _bind(path: Path) -> socket.socket:
    # Bound under another name and moved into place, so that nobody meets it before it can be used.
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(fresh))
        fresh.chmod(_SOCKET_MODE)
        listening.listen(_BACKLOG)
        fresh.rename(path)
    except OSError:
        listening.close()
        fresh.unlink(missing_ok=True)
        raise
    listening.setblocking(False)
    return listening


def remove(options: LocalOptions, listening: socket.socket) -> None:
    """Let go of the socket, and of its name where we may: what nobody listens on is put aside by the next start."""
    listening.close()
    try:
        if not _is_served(Path(options.socket)):
            Path(options.socket).unlink()
    except (OSError, Unusable):
        return
