"""Folders of a test that the user of a service gets to, though pytest keeps its own to whom it runs as.

let_all_in(tmp_path)
"""

import os
from pathlib import Path


def let_all_in(folder: Path) -> Path:
    """Let every user enter and list a folder, and get there: its parents too, as far as they are ours."""
    for part in (folder, *folder.parents):
        if part != Path("/") and part.stat().st_uid == os.geteuid():
            part.chmod(part.stat().st_mode | 0o055)
    return folder
