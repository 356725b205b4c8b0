"""Tests of others, fetched by whoever runs them, against a valija on loopback.

    scripts/outside-tests --chasquid ~/chasquid --smtpsmug ~/smtpsmug

Prints a line for each test, and why an answer differs on purpose. Exit 1 where a test failed, 2 where a checkout isn't.
"""

import argparse
import contextlib
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TextIO

from tests.live import LiveServer
from tests.outside import chasquid, smtpsmug

DOMAIN: Final = "testserver"
USER, PASSWORD = f"user@{DOMAIN}", "secretpassword"
SETTINGS: Final = {
    "hostname": DOMAIN,
    "domains": [DOMAIN],
    "mynetworks": [],
    "message_size_limit": 1024 * 1024,
    "smtpd": {"greet_pause": "0s"},
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/outside-tests", description=__doc__)
    parser.add_argument("--chasquid", type=Path, help="a checkout of chasquid: its minor dialogues are played")
    parser.add_argument("--smtpsmug", type=Path, help="a checkout of smtpsmug: all of its tests are run")
    given = parser.parse_args()
    if not (given.chasquid or given.smtpsmug):
        parser.error("name at least one checkout")
    try:
        faults = run(given.chasquid, given.smtpsmug, sys.stdout)
    except FileNotFoundError as error:
        parser.error(str(error))
    print(f"{faults} failed" if faults else "all passed")
    return 1 if faults else 0


def run(chasquid_checkout: Path | None, smtpsmug_checkout: Path | None, out: TextIO) -> int:
    """Run what was fetched, and write to `out` what came of it; return how many tests failed."""
    dialogues = chasquid.dialogues(chasquid_checkout) if chasquid_checkout else []
    smuggling = smtpsmug.tests_of(smtpsmug_checkout) if smtpsmug_checkout else []
    with contextlib.redirect_stdout(io.StringIO()), LiveServer(SETTINGS) as server:  # it shows its log at the end
        server.add_user(USER, PASSWORD)
        faults = sum(_play(server, path, out) for path in dialogues)
        if smtpsmug_checkout:
            faults += _smuggle(server, smtpsmug_checkout, smuggling, out)
    return faults


def _play(server: LiveServer, path: Path, out: TextIO) -> bool:
    """Play one dialogue; return whether it failed."""
    ports = {"1025": server.smtpd, "1465": server.submissions, "1587": server.submission}
    since = server.log.mark()
    verdict = chasquid.play(path, ports)
    expected = path.with_name(f"{path.name}.verify")
    if expected.exists() and not verdict.faults:
        difference = chasquid.differs(expected.read_text(encoding="utf-8"), _delivered(server, since))
        verdict.faults += [difference] if difference else []
    _tell(out, f"chasquid {verdict.name}", verdict.faults)
    for difference in dict.fromkeys(verdict.differences):
        print(f"      on purpose: {difference}", file=out)
    return bool(verdict.faults)


def _delivered(server: LiveServer, since: int) -> bytes:
    """Return the message that the server took since then, once it lies in its Maildir."""
    queue_id = server.wait_for_log(r"accepted .*queue_id=(\S+)", since=since)[1]
    server.wait_for_log(rf"attempt .*queue_id={queue_id} .*outcome=delivered")
    files = (file.read_bytes() for file in server.data_dir.rglob("new/*"))
    (message,) = (text for text in files if f"id {queue_id}".encode() in text)
    return message


def _smuggle(server: LiveServer, checkout: Path, names: list[str], out: TextIO) -> int:
    """Run the tests side by side: each waits five seconds for an answer that must not come."""
    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(lambda name: smtpsmug.run(checkout, name, server.smtpd, USER), names))
    for name, fault in zip(names, found, strict=True):
        _tell(out, f"smtpsmug {name}", [fault] if fault else [])
    return sum(map(bool, found))


def _tell(out: TextIO, name: str, faults: list[str]) -> None:
    print(f"{'FAIL' if faults else 'pass'}  {name}", file=out)
    for fault in faults:
        print(f"      {fault}", file=out)


if __name__ == "__main__":
    sys.exit(main())
