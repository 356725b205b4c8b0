"""Mail servers that can't be installed beside Postfix: Debian's packages, unpacked by scripts/test-packages.

binary = unpacked.FOLDER / "exim" / "usr/sbin/exim4"
unpacked.MISSING          # why the tests with them are skipped, "" where they are there
"""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.private_machine import MISSING as NO_MACHINES

FOLDER: Final = Path(os.environ.get("VALIJA_TEST_SERVERS", "/var/cache/valija-tests"))
EXIM: Final = FOLDER / "exim/usr/sbin/exim4"
OPENSMTPD: Final = FOLDER / "opensmtpd/usr/sbin/smtpd"
DEADLINE: Final = 20.0  # seconds

_ABSENT: Final = [str(binary) for binary in (EXIM, OPENSMTPD) if not binary.exists()]
MISSING: Final = NO_MACHINES or (f"not unpacked: {', '.join(_ABSENT)} (scripts/test-packages)" if _ABSENT else "")


def wait_until(condition: Callable[[], bool], why: Callable[[], str]) -> None:
    """Wait for something that tells nobody when it comes about."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.02)


def end(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Stop a server that runs in the foreground, and show what it wrote."""
    process.terminate()
    try:
        process.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    print(f"--- {log.name}\n{log.read_text(errors='backslashreplace') if log.exists() else ''}")


def open_port(machine_has: Callable[..., "subprocess.CompletedProcess[str]"], port: int) -> bool:
    """Whether somebody listens on a port of a machine."""
    return f":{port} " in machine_has("ss", "-Hltn").stdout
