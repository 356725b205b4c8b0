"""The server lives with what its unit allows: the rights, the system calls, the memory."""

import os
import re
import resource
import shutil
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import LiveServer, message, trust_all
from tests.sink import CatchingSink
from tests.systemd.samples import FACTS, settings
from valija.systemd.units import SERVICE, units

NEEDED = ("systemd-analyze", "strace", "setpriv", "prlimit")
MISSING = [name for name in NEEDED if not shutil.which(name)]
REASON = f"not installed: {', '.join(MISSING)}" if MISSING else "needs root, to start it as its user"
HERE = Path(__file__).parent


def members(group: str) -> set[str]:
    """Return the system calls of one of systemd's groups."""
    asked = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, timeout=20, check=True
    )
    found: set[str] = set()
    for line in map(str.strip, asked.stdout.splitlines()[1:]):
        if line.startswith("@"):
            found |= members(line)
        elif line and not line.startswith("#"):
            found.add(line)
    return found


def allowed() -> set[str]:
    """Return the system calls that the unit's filter leaves, line by line as systemd reads it."""
    calls: set[str] = set()
    for line in settings(units(FACTS)[SERVICE])["SystemCallFilter"]:
        groups = line.removeprefix("~").split()
        named = {call for group in groups for call in (members(group) if group.startswith("@") else {group})}
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def launcher(trace: Path) -> tuple[str | Path, ...]:
    """Return what starts the server as its unit would, as the user nobody, with its system calls written down."""
    (right,) = settings(units(FACTS)[SERVICE])["CapabilityBoundingSet"]
    only = f"-all,+{right.removeprefix('CAP_').lower()}"
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        *("prlimit", f"--nofile={most}"),
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"),
        *(sys.executable, HERE / "deny_write_execute.py"),
        *(shutil.which("strace") or "strace", "-D", "-f", "-qq", "-o", trace),
    )


@pytest.mark.interop
@pytest.mark.drops_privileges
@pytest.mark.skipif(os.geteuid() != 0 or bool(MISSING), reason=REASON)
def test_the_server_does_nothing_that_its_unit_forbids(sink: CatchingSink) -> None:
    server = LiveServer({"smtpd": {"listen": ["127.0.0.9:25"]}, "smtp": {"relayhost": sink.relayhost}, "workers": 2})
    server.data_dir.mkdir()
    shutil.chown(server.data_dir, "nobody")
    trace = server.data_dir / "trace"
    server.launcher = launcher(trace)
    with server:
        for pid in server.pids():
            status = Path(f"/proc/{pid}/status").read_text()
            assert "CapEff:\t0000000000000000" in status, "the right to bind is given up once it has been used"
            assert "CapAmb:\t0000000000000000" in status
        work(server, sink)
        made = trace.read_text(errors="replace")
    calls = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)[( ]", made, re.MULTILINE))
    assert len(calls) > 30
    assert calls <= allowed(), calls - allowed()


def work(server: LiveServer, sink: CatchingSink) -> None:
    """Have it do what a server does: logins, mail small and large, a reload, a worker's death."""
    server.add_user("alice@example.org", "secret")
    server.submit("alice@example.org", "secret", "bob@example.net", message("small"))
    large = b"Subject: large\r\n\r\n" + b"hello\r\n" * 60_000
    server.submit("alice@example.org", "secret", "bob@example.net", large)
    server.submit("alice@example.org", "secret", "alice@example.org", message("kept here"))
    sink.wait_for(2)
    assert server.valija("reload").returncode == 0
    server.wait_for_log("reloaded")
    os.kill(server.pids()[1], 9)
    server.wait_for_log("worker died")
    with smtplib.SMTP("127.0.0.9", 25, timeout=20) as client:
        client.starttls(context=trust_all())
        assert client.ehlo("x")[0] == 250
