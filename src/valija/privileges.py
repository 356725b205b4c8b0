"""Becoming the service's user, for good: shared by the server and by the commands that touch `data_dir`.

    account = find_account("valija")
    prepare_data_dir(path, account)       # as root: made, and the account's
    drop(account)                         # no way back; raises when it did not work

Started by anyone but root, nothing is dropped, and the files are the caller's own.

Known weakness: `unreadable_code` reads mode bits; an access list that forbids or allows more is not seen.
"""

import contextlib
import os
import pwd
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from valija.folders import make_open

_MOST_LINKS: Final = 40  # what Linux follows


class PrivilegeError(Exception):
    """The service's user cannot be used; the message says why and what to do."""


class Account(msgspec.Struct, frozen=True):
    """A user of the system, with all groups that are theirs."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def is_root(self) -> bool:
        """Whether this is the superuser, so that there is nothing to drop."""
        return self.uid == 0


def find_account(name: str) -> Account:
    """Return the system's user `name`. Raises PrivilegeError, with the remedy, where there is none."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        raise PrivilegeError(
            f"there is no user {name!r} on this machine; create it (useradd --system --no-create-home {name}) "
            'or name another one: user = "..."'
        ) from None
    return Account(name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


def running_as_root() -> bool:
    """Whether this process has privileges to drop."""
    return os.geteuid() == 0


def drop(account: Account) -> None:
    """Become `account` for good, groups first, and make sure there is no way back.

    Does nothing for root itself, or where this process is not root's. Raises PrivilegeError.
    """
    if account.is_root or not running_as_root():
        return
    try:
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
    except OSError as error:
        raise PrivilegeError(f"cannot become user {account.name!r}: {error.strerror}") from None
    if os.getresuid() != (account.uid,) * 3 or os.getresgid() != (account.gid,) * 3 or _root_again():
        raise PrivilegeError(f"became user {account.name!r}, but the way back to root is still open")


def keep_to_ourselves() -> None:
    """Have what this process writes from now on be its user's alone, whatever umask it was started with."""
    os.umask(0o077)


def _root_again() -> bool:
    try:
        os.setuid(0)
    except PermissionError:
        return False
    return True


def prepare_data_dir(path: Path, account: Account) -> None:
    """Make `path` where it is missing (0700, parents 0755), and the account's where it is empty and root's.

    Raises PrivilegeError where it cannot be made or is no folder.
    """
    try:
        make_open(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        if running_as_root() and not account.is_root:
            _give_if_fresh(path, account)
    except OSError as error:
        raise PrivilegeError(f"{_setting(path)}: the folder cannot be made ({error.strerror}); {_way(error)}") from None


def _setting(path: Path) -> str:
    return f'data_dir = "{path}"'


def _way(error: OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "something else lies there: move it away, or name a folder"
    if isinstance(error, PermissionError):
        return "start valija as root, or name a folder that its user may write to"
    return "name another folder"


def _give_if_fresh(path: Path, account: Account) -> None:
    # By descriptor, so that what is looked at is what is given away.
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.fstat(folder).st_uid == 0 and not os.listdir(folder):
            os.fchown(folder, account.uid, account.gid)
    finally:
        os.close(folder)


def check_data_dir(path: Path, needed: Iterable[Path] = ()) -> None:
    """Make sure this process can use `path`, what lies in it, and those of the `needed` files deeper in that are there.

    Raises PrivilegeError naming what it cannot use.
    """
    try:
        path.stat()
    except OSError as error:
        me = _name_of(os.geteuid())
        raise PrivilegeError(
            f"{_setting(path)}: user {me!r} cannot reach it ({error.strerror}); "
            f"choose a folder all of whose parents {me!r} may enter"
        ) from None
    for entry in (*_data_entries(path), *filter(_is_there, needed)):
        if not os.access(entry, os.R_OK | os.W_OK | (os.X_OK if entry.is_dir() else 0), effective_ids=True):
            raise PrivilegeError(_not_ours(path, entry))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder on the way to it is barred, and named itself
        return False


def _data_entries(path: Path) -> Iterator[Path]:
    yield path
    try:
        # A socket is another process's to open and close.
        yield from (entry for entry in path.iterdir() if entry.is_dir() or entry.is_file())
    except OSError:
        return


def _not_ours(path: Path, entry: Path) -> str:
    owner = _name_of(entry.stat().st_uid)
    me = _name_of(os.geteuid())
    return (
        f"{_setting(path)}: user {me!r} cannot use {str(entry)!r}, which belongs to {owner!r}; "
        f"run this as root or as {owner!r}, or give the folder away: chown -R {me} {path}{_and_mode(entry)}"
    )


def _and_mode(entry: Path) -> str:
    """Return the rest of the remedy, where it is not (only) the owner that bars the way."""
    mode = entry.stat().st_mode
    wanted = stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR | stat.S_IWUSR
    return "" if mode & wanted == wanted else f" && chmod -R u+rwX {entry}"


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def enter_data_dir(path: Path, user: str) -> None:
    """Make `path` usable and become its user: what a command does before it opens anything in there.

    Raises PrivilegeError.
    """
    if running_as_root():
        account = find_account(user)
        if not account.is_root and (reason := unreadable_code(account)):
            raise PrivilegeError(reason)
        prepare_data_dir(path, account)
        drop(account)
    elif not path.exists():
        prepare_data_dir(path, Account(user, os.geteuid(), os.getegid(), ()))
    keep_to_ourselves()
    check_data_dir(path)


def unreadable_code(account: Account) -> str | None:
    """Return why `account` could not run this program from where it lies, None if it can.

    An interpreter or checkout in root's home breaks every import that comes after the drop.
    """
    checked: set[tuple[str, int]] = set()
    for path in _code_paths():
        for spelling in {path, os.path.realpath(path)}:
            if blocked := _first_blocked(spelling, account, checked):
                return (
                    f"user {account.name!r} cannot read {blocked}, which this program runs from ({path}); "
                    "install it where all can read, such as below /opt, with an interpreter of the system's packages"
                )
    return None


def first_barred(path: Path, account: Account) -> str | None:
    """Return the first part of `path` that keeps `account` from reading it, None where nothing does."""
    return _first_blocked(os.path.abspath(path), account, set())


def first_changeable(path: str | os.PathLike[str], account: Account) -> str | None:
    """Return the first part of `path` that `account` could replace or rewrite, None where nothing is.

    Symbolic links are followed part by part, and what they pass through counts. What is not there counts as its folder.
    """
    for part in _parts_passed(os.path.abspath(path)):
        try:
            status = os.lstat(part)
        except OSError:
            return None
        # A link's mode means nothing. In a sticky folder everybody may write, and replace only what is theirs.
        is_open = not stat.S_ISLNK(status.st_mode) and not status.st_mode & stat.S_ISVTX
        if status.st_uid == account.uid or (is_open and _may_write(status, account)):
            return part
    return None


def _parts_passed(path: str) -> Iterator[str]:
    """Yield every folder and link that the kernel passes on its way to `path`, and what it finds at the end."""
    waiting = [part for part in reversed(path.split("/")) if part]
    at, links = "/", 0
    yield at
    while waiting:
        part = waiting.pop()
        if part == "..":
            at = os.path.dirname(at)
            continue
        here = os.path.join(at, part)
        yield here
        if not os.path.islink(here):
            at = here
            continue
        links += 1
        if links > _MOST_LINKS:
            return
        target = os.readlink(here)
        at = "/" if target.startswith("/") else at
        waiting += [part for part in reversed(target.split("/")) if part and part != "."]


def _may_write(status: os.stat_result, account: Account) -> bool:
    if status.st_gid in account.groups or status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IWGRP)
    return bool(status.st_mode & stat.S_IWOTH)


def _code_paths() -> Iterator[str]:
    yield sys.executable
    yield sysconfig.get_path("stdlib")
    yield str(Path(__file__).parent)
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and os.path.isabs(file):
            yield file


def _first_blocked(path: str, account: Account, checked: set[tuple[str, int]]) -> str | None:
    """Return the first part of `path` that stops the account: a folder it may not enter, an end it may not read."""
    for part in [*reversed(Path(path).parents), Path(path)]:
        name = str(part)
        wanted = stat.S_IXOTH if name != path else stat.S_IROTH
        if (name, wanted) in checked:
            continue
        checked.add((name, wanted))
        with contextlib.suppress(OSError):
            if not _allows(part.stat(), account, wanted):
                return name
    return None


def _allows(status: os.stat_result, account: Account, wanted: int) -> bool:
    if stat.S_ISDIR(status.st_mode):
        wanted |= stat.S_IXOTH
    if status.st_uid == account.uid:
        return status.st_mode >> 6 & wanted == wanted
    if status.st_gid in account.groups or status.st_gid == account.gid:
        return status.st_mode >> 3 & wanted == wanted
    return status.st_mode & wanted == wanted
