"""Folders that everybody may enter, whatever umask the caller has.

    make_open(Path("/var/spool/valija"))      # 0755, and its missing parents too

A strict umask would close the way to the service's user, none at all would let strangers in. Known weakness: for the
moment of the call the umask holds for all threads of the process.
"""

import os
from pathlib import Path
from typing import Final

_OPEN_TO_READ: Final = 0o022


def make_open(folder: Path) -> None:
    """Make a folder with mode 0755, and its parents, as far as they are missing. Raises OSError."""
    before = os.umask(_OPEN_TO_READ)
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    finally:
        os.umask(before)
