"""What `valija check` finds about `data_dir`: the disk it lies on, the room there, and whose it is.

    for finding in check_data(config.data_dir, account, message_size_limit=52_428_800):
        print(finding)

`account` is whose the folder has to be. Known weakness: access lists beyond the mode bits are not seen.
"""

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from valija.admin.findings import Finding, failure, fine, unknown, warning
from valija.privileges import Account, first_barred

MINIMUM_FREE: Final = 8 * 1024 * 1024  # octets; with less the server takes no mail
MINIMUM_INODES: Final = 64
_FEW_INODES: Final = 10_000
_ROOM_FOR: Final = 10  # largest messages that should find room

MOUNTS: Final = Path("/proc/self/mountinfo")
_VOLATILE: Final = ("tmpfs", "ramfs")
_OVERLAID: Final = ("overlay", "aufs")
_REMOTE: Final = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph")


def check_data(path: Path, account: Account, *, message_size_limit: int) -> Iterator[Finding]:
    """Yield the findings. Sizes in octets."""
    present = next(part for part in (path, *path.parents) if os.path.lexists(part))
    if not present.is_dir():
        yield failure("data", f'data_dir = "{path}": {present} is not a folder', "move it away, or name a folder")
        return
    yield from _disk(path, filesystem_of(present))
    yield from _room(present, message_size_limit)
    if present == path:
        yield from _ownership(path, account)
    elif os.access(present, os.W_OK | os.X_OK):
        yield fine("data", f"{path} is made at the first start")
    else:
        yield unknown("data", f"{path}: only root can look or make it there", "run the check as root")
    barred = first_barred(path, account) if os.geteuid() == 0 else None
    if barred and barred != str(path):
        text = f"user {account.name!r} cannot reach {path}: it may not enter {barred}"
        yield failure("data", text, "name a folder all of whose parents the user may enter")


# The disk


def filesystem_of(folder: Path) -> str:
    """Return the type of the file system a folder lies on, `""` where that cannot be known."""
    try:
        table = MOUNTS.read_text()
    except OSError:
        return ""
    found = ""
    deepest = -1
    whole = os.path.realpath(folder)
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        place = before.split()[4].encode().decode("unicode_escape")  # a blank stands there as \040
        if whole == place or whole.startswith(place.rstrip("/") + "/"):
            depth = len(place)
            if depth >= deepest:  # of two mounts on one place the later one counts
                found, deepest = after.split()[0], depth
    return found


def _disk(path: Path, kind: str) -> Iterator[Finding]:
    if kind in _VOLATILE:
        text = f"{path} lies in memory ({kind}): a restart of the machine loses all queued and stored mail"
        yield failure("data", text, "name a folder on a disk: data_dir")
    elif kind in _OVERLAID:
        text = f"{path} lies in a container's own layer ({kind}): queued and stored mail goes away with the container"
        yield warning("data", text, "mount a volume there")
    elif kind in _REMOTE:
        text = f"{path} lies on a network file system ({kind}), whose locks and syncs the queue cannot rely on"
        yield warning("data", text, "name a folder on a local disk: data_dir")
    elif kind:
        yield fine("data", f"{path} lies on a disk ({kind})")


def _room(folder: Path, message_size_limit: int) -> Iterator[Finding]:
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    text = f"{_megabytes(free)} are free for {folder}"
    remedy = "make room, or name a folder on a larger disk"
    if free < MINIMUM_FREE:
        yield failure("data", f"{text}: no mail is taken", remedy)
    elif free - MINIMUM_FREE < _ROOM_FOR * message_size_limit:
        yield warning("data", f"{text}, less than {_ROOM_FOR} messages of the largest size need", remedy)
    else:
        yield fine("data", text)
    if found.f_files and found.f_favail < MINIMUM_INODES:
        yield failure("data", f"only {found.f_favail} files more fit on its disk: no mail is taken", remedy)
    elif found.f_files and found.f_favail < _FEW_INODES:
        yield warning("data", f"only {found.f_favail} files more fit on its disk", remedy)


def _megabytes(octets: int) -> str:
    return f"{octets / 1e9:.1f} GB" if octets >= 1e9 else f"{octets / 1e6:.0f} MB"


# Owner and modes


def _ownership(path: Path, account: Account) -> Iterator[Finding]:
    status = path.stat()
    if status.st_uid != account.uid and not _is_fresh(path, status):
        owner = _name_of(status.st_uid)
        if os.geteuid() != 0:
            text = f"{path} is {owner}'s: started by you, the server could not use it"
            yield unknown("data", text, f"run the check as root or as {owner}")
            return
        text = f"{path} belongs to {owner}, and the server is {account.name or _name_of(account.uid)}"
        yield failure("data", text, f"give it away: chown -R {account.name or account.uid} {path}")
    if status.st_mode & 0o007:
        text = f"others may look into {path} (mode {stat.S_IMODE(status.st_mode):04o}): mail and keys lie there"
        yield warning("data", text, f"chmod 0700 {path}")
    yield from _foreign_entries(path, account)


def _is_fresh(path: Path, status: os.stat_result) -> bool:
    """Whether the server gives the folder to its user by itself: it is root's, and empty."""
    return status.st_uid == 0 and os.geteuid() == 0 and not os.listdir(path)


def _foreign_entries(path: Path, account: Account) -> Iterator[Finding]:
    """Yield what lies in the folder and is not the user's to read and write; root may have put it there."""
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except PermissionError:
        yield unknown("data", f"you may not look into {path}", "run the check as root or as the service's user")
        return
    foreign = [entry.name for entry in entries if not _is_usable(entry, account)]
    if foreign:
        text = f"{', '.join(foreign[:5])} in {path} cannot be used by {account.name or _name_of(account.uid)}"
        yield failure("data", text, f"chown -R {account.name or account.uid} {path}")
    elif entries:
        yield fine("data", f"what lies in {path} is {account.name or _name_of(account.uid)}'s")


def _is_usable(entry: "os.DirEntry[str]", account: Account) -> bool:
    status = entry.stat(follow_symlinks=False)
    if account.is_root or not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return True
    wanted = 0o7 if stat.S_ISDIR(status.st_mode) else 0o6
    if status.st_uid == account.uid:
        return status.st_mode >> 6 & wanted == wanted
    if status.st_gid == account.gid or status.st_gid in account.groups:
        return status.st_mode >> 3 & wanted == wanted
    return status.st_mode & wanted == wanted


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
