"""Packs the files that nobody writes to any more, in a process of its own and with the CPU that nobody else wants.

    python -m valija.history.sealing FOLDER

Each is replaced by its sealed form, whole and synced before the other goes. Prints a line for each that could not be.
"""

import contextlib
import os
import sys
from pathlib import Path

from valija.history.segments import Segment, seal, segments_in


def seal_all(folder: Path) -> list[str]:
    """Seal what is closed; return what went wrong, in words."""
    troubles = []
    for segment in segments_in(folder):
        if segment.kind == "closed":
            try:
                _seal(segment)
            except FileNotFoundError:
                continue  # removed meanwhile, because of its age
            except OSError as error:
                troubles.append(f"{segment.path}: {error.strerror}")
    return troubles


def _seal(segment: Segment) -> None:
    sealed = seal(segment.path.read_bytes())
    times = segment.path.stat().st_mtime_ns
    draft = segment.path.with_suffix(".draft")
    target = segment.path.with_suffix(".sealed")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(descriptor)
        os.utime(draft, ns=(times, times))
        draft.rename(target)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    segment.path.unlink()


if __name__ == "__main__":
    os.nice(19)
    for trouble in seal_all(Path(sys.argv[1])):
        print(trouble)
