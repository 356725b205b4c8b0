"""What `valija init` does to the machine: the configuration's file, the service's user, and its folder.

    steps = Steps(Path("/etc/valija/valija.toml"), text, user="valija", data_dir=Path("/var/lib/valija"))
    for done in carry_out(steps, machine, run):
        print(done)

Each step looks first whether there is anything to do: a second call does nothing. The file is written anew beside the
old one and put in its place; where there was one, it is kept under a name of its own.
"""

import grp
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from valija.folders import make_open
from valija.privileges import Account, PrivilegeError, find_account, prepare_data_dir

_SHELLS: Final = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")
_FOR_THE_GROUP: Final = 0o640
_FOR_ALL: Final = 0o644

Run = Callable[[Sequence[str]], None]


class CannotWrite(Exception):
    """A step could not be done; the message says which, why, and what to do."""


class Steps(msgspec.Struct, frozen=True):
    """What is wanted. `text` is None where the configuration that is there stays."""

    path: Path
    text: str | None
    user: str
    data_dir: Path


def carry_out(steps: Steps, *, is_root: bool, run: Run) -> Iterator[str]:
    """Do what is to be done, and yield it in words. `run` runs a command. Raises CannotWrite, PrivilegeError."""
    if is_root:
        yield from _make_user(steps, run)
    account = _account_of(steps.user) if is_root else None
    if steps.text is not None:
        yield from _write(steps.path, steps.text, account)
    if account:
        yield from _make_folder(steps.data_dir, account)


def user_command(user: str, data_dir: Path) -> list[str]:
    """Return the command that makes the service's user: of the system, without a home, a shell or a password."""
    shell = next((shell for shell in _SHELLS if os.path.exists(shell)), _SHELLS[-1])
    if not shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin") and shutil.which("adduser"):  # BusyBox
        return ["adduser", "-S", "-D", "-H", "-h", str(data_dir), "-s", shell, user]
    group = ["--gid", user] if _has_group(user) else ["--user-group"]
    return ["useradd", "--system", *group, "--no-create-home", "--home-dir", str(data_dir), "--shell", shell, user]


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _account_of(user: str) -> Account | None:
    try:
        return find_account(user)
    except PrivilegeError:
        return None


def _make_user(steps: Steps, run: Run) -> Iterator[str]:
    if _account_of(steps.user):
        return
    command = user_command(steps.user, steps.data_dir)
    run(command)
    if not _account_of(steps.user):
        raise CannotWrite(f"user {steps.user!r} is still not there after: {' '.join(command)}")
    yield f"user {steps.user} made: {' '.join(command)}"


def _write(path: Path, text: str, account: Account | None) -> Iterator[str]:
    place = Path(os.path.realpath(path))  # a link stays one
    try:
        if _text_of(place) == text:
            return
        make_open(place.parent)
        kept = _keep_old(place)
        new = place.with_name(f".{place.name}.new")
        _write_whole(new, text, account)
        os.replace(new, place)
    except OSError as error:
        remedy = "run this as root, or name another file with -c"
        raise CannotWrite(f"{path} cannot be written ({error.strerror}); {remedy}") from None
    if kept:
        yield f"{kept} is the one that was there"
    yield f"{path} written, {_readers(account)}"


def _readers(account: Account | None) -> str:
    return f"readable for root and {account.name} (0640)" if account else "readable for all (0644)"


def _write_whole(new: Path, text: str, account: Account | None) -> None:
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if account:
            os.fchown(descriptor, 0, account.gid)
        # It names no secrets but may hold one, in the words of a hook; without a group to give it to, all may read it.
        os.fchmod(descriptor, _FOR_THE_GROUP if account else _FOR_ALL)
        os.fsync(descriptor)


def _keep_old(place: Path) -> Path | None:
    """Give the file that is there one more name; return it."""
    if not place.exists():
        return None
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    names = (place.with_name(f"{place.name}.{stamp}{more}") for more in ("", *(f".{n}" for n in range(1, 1000))))
    kept = next(name for name in names if not os.path.lexists(name))
    os.link(place, kept)
    return kept


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _make_folder(data_dir: Path, account: Account) -> Iterator[str]:
    if data_dir.exists():
        prepare_data_dir(data_dir, account)
        return
    prepare_data_dir(data_dir, account)
    yield f"{data_dir} made, for {account.name} alone (0700)"
