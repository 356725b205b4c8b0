"""How many sessions a worker takes: what its descriptors and a quarter of the machine's memory leave room for.

    session_limit("smtpd", workers=2)       # 4096

The listeners share it, so that a flood on port 25 leaves room for users on the other ports.

Known weakness: memory is looked at once, as the machine or its container has it; what others take of it is not known.
"""

import os
import resource
from pathlib import Path
from typing import Final

from valija.mail.origin import Role

SESSION_MEMORY: Final = 128 * 1024  # octets: an idle one inside TLS
WANTED_DESCRIPTORS: Final = 65_536  # what a worker asks the system for
_DESCRIPTORS_OF_OUR_OWN: Final = 256  # kept for the queue, DNS and outgoing connections
_LEAST: Final = 128
_SHARES: Final[dict[Role, int]] = {"smtpd": 2, "submission": 4, "submissions": 4, "local": 4}  # one part in so many
_CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def session_limit(role: Role, workers: int, descriptors: int = 1) -> int:
    """Return how many sessions a listener of one worker may have open, each of which takes so many descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_LEAST, room(soft, workers, descriptors)) // _SHARES[role]


def room(open_files: int, workers: int, descriptors: int = 1) -> int:
    """Return how many sessions all listeners of one worker have room for, where it may have so many files open."""
    by_descriptors = max(0, open_files - _DESCRIPTORS_OF_OUR_OWN) * 3 // 4 // descriptors
    return min(by_descriptors, memory() // 4 // workers // SESSION_MEMORY)


def memory(container_limit: Path = _CONTAINER_LIMIT) -> int:
    """Return the octets of memory that there are for this machine or container."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(installed, int(container_limit.read_text()))
    except (OSError, ValueError):  # there is none, or it says "max"
        return installed
