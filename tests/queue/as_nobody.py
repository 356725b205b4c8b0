"""Acts done as a user whom the modes of files hold back, as they don't hold root back."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

from tests.reachable import let_all_in
from tests.test_privileges import in_child
from valija.privileges import drop, find_account


def user() -> str:
    """Return who does it."""
    return "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def give(folder: Path) -> None:
    """Make a folder and all in it that user's, and let them get there."""
    if os.geteuid() != 0:
        return
    account = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)
    let_all_in(folder.parent)


def done(act: Callable[[], object]) -> object:
    """Do it in a process of its own; return its value, or `Type: words` of what it raised."""

    def act_as_them() -> object:
        drop(find_account(user()))
        return act()

    return in_child(act_as_them)
