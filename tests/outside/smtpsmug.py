"""smtpsmug, run against valija: no odd end of data may be taken for one.

for name in tests_of(checkout):
    verdict = run(checkout, name, port, recipient)
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.live import HOST

DEADLINE: Final = 60.0  # seconds
_OUTSIDER: Final = "outsider@remote.example"
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_BAD: Final = ("(bad!)", "Successfully sent a mail", "Unsure", "Did not accept")


def tests_of(checkout: Path) -> list[str]:
    """Return the names of the tests that the program lists. Raises FileNotFoundError where it is not there."""
    if not (checkout / "smtpsmug").is_file():
        raise FileNotFoundError(f"no smtpsmug in {checkout}: is this a checkout of smtpsmug?")
    listed = subprocess.run(_command(checkout, "--list-tests"), capture_output=True, text=True, timeout=20, check=True)
    return re.findall(r'^"(\w+):"', listed.stdout, re.MULTILINE)


def run(checkout: Path, name: str, port: int, recipient: str) -> str:
    """Run one of the tests; return what it found wrong, `""` for nothing."""
    arguments = (HOST, "--port", str(port), "-f", _OUTSIDER, "-t", recipient, "-c", name)
    done = subprocess.run(_command(checkout, *arguments), capture_output=True, text=True, timeout=DEADLINE, check=False)
    said = _COLOURS.sub("", done.stdout)
    if done.returncode != 0:
        return f"it ended with status {done.returncode}: {done.stderr.strip() or said}"
    return next((line for line in said.splitlines() if any(bad in line for bad in _BAD)), "")


def _command(checkout: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(checkout / "smtpsmug"), *arguments]
