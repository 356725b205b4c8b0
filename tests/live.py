"""A real server for a test: `valija serve` with ports, folder and configuration of its own.

    with LiveServer({"smtp": {"relayhost": sink.relayhost}}) as server:
        server.add_user("alice@example.org", "secret")
        server.submit("alice@example.org", "secret", "bob@example.net", message)
        server.wait_for_log(r"queue_id=(\\S+).*delivered")

The settings given are laid over DEFAULTS, table by table. Started as root, the server drops to `nobody`, unless nobody
cannot read this checkout. The log is printed at the end, so that pytest shows it where a test fails.
"""

import json
import os
import pwd
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.ports import free_port

Settings = Mapping[str, Any]

VALIJA = Path(sys.executable).with_name("valija")
HOST = "127.0.0.1"
START_DEADLINE = 20.0  # seconds
STOP_DEADLINE = 35.0
COMMAND_DEADLINE = 30.0

_AT_ONCE: Settings = {"greet_pause": "0s"}  # strangers are else kept waiting for up to a second

DEFAULTS: Settings = {
    "hostname": "mail.example.org",
    "domains": ["example.org"],
    "workers": 1,
    "smtpd": _AT_ONCE,
    "submission": _AT_ONCE,
    "submissions": _AT_ONCE,
}


def as_toml(settings: Settings) -> str:
    """Write settings of plain values and one level of tables. A JSON string, number, boolean or array is TOML too."""
    plain = {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in settings.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {_value(value)}" for key, value in plain.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):  # a table in a list of them
        return "{" + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def overlay(below: Settings, above: Settings) -> dict[str, Any]:
    """Lay settings over others, tables key by key."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = overlay(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def service_user() -> str:
    """Return the user to drop to: nobody, where nobody can read what the server runs from."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid()).pw_name
    paths = [Path(sys.executable).resolve(), Path(os.__file__).resolve(), VALIJA]
    readable = all(folder.stat().st_mode & 0o001 for path in paths for folder in path.parents)
    return "nobody" if readable else "root"


class LogReader:
    """Gathers what a process writes, line by line, and wakes whoever waits for a line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._open = 0

    def follow(self, process: subprocess.Popen[str]) -> None:
        with self._changed:
            self._open += 1
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr
        for line in process.stderr:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    @property
    def text(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def mark(self) -> int:
        """Return the place of the next line, for `wait_for(..., since=)`."""
        with self._changed:
            return len(self._lines)

    def wait_for(self, pattern: str, deadline: float, since: int = 0) -> re.Match[str]:
        """Return the first match in a line from `since` on; fail after `deadline` seconds or at the end of the log."""
        wanted, end, place = re.compile(pattern), time.monotonic() + deadline, since
        with self._changed:
            while True:
                for line in self._lines[place:]:
                    if found := wanted.search(line):
                        return found
                place = len(self._lines)
                left = end - time.monotonic()
                assert self._open, f"the server ended without a line like {pattern!r}"
                assert left > 0, f"no line like {pattern!r} within {deadline} s"
                self._changed.wait(left)


class LiveServer:
    """A server that runs between `__enter__` and `__exit__`; see the module's example.

    `launcher` is a command that becomes the server, as a service manager does; none, and it is started as it is.
    """

    launcher: Sequence[str | Path] = ()

    def __init__(self, settings: Settings) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="valija-test-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.data_dir = self.folder / "data"
        self.smtpd, self.submission, self.submissions = free_port(), free_port(), free_port()
        own = {
            "data_dir": str(self.data_dir),
            "user": service_user(),
            "smtpd": {"listen": [f"{HOST}:{self.smtpd}"]},
            "submission": {"listen": [f"{HOST}:{self.submission}"]},
            "submissions": {"listen": [f"{HOST}:{self.submissions}"]},
        }
        self.settings = overlay(overlay(DEFAULTS, own), settings)
        self.configuration = self.folder / "valija.toml"
        self.configuration.write_text(as_toml(self.settings))
        self.log = LogReader()
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._show_and_remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._show_and_remove()

    def _show_and_remove(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()
        print(f"--- {self.configuration}\n{self.configuration.read_text()}--- log\n{self.log.text}")
        shutil.rmtree(self.folder, ignore_errors=True)

    # Life

    def start(self) -> None:
        """Start and return when the server says that it is ready."""
        since = self.log.mark()
        self.process = subprocess.Popen(
            [*self.launcher, VALIJA, "serve", "-c", self.configuration],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            cwd=self.folder,
        )
        self.log.follow(self.process)
        self.log.wait_for(r"\bready\b", START_DEADLINE, since)

    def stop(self) -> None:
        """SIGTERM, and wait for the end, which must come in time and without an error."""
        if not self.process or self.process.poll() is not None:
            return
        self.process.terminate()
        status = self.process.wait(STOP_DEADLINE)
        assert status == 0, f"the server ended with status {status}"

    def pids(self) -> list[int]:
        """Return the ids of all of the server's processes, the supervisor first."""
        assert self.process
        return descendants(self.process.pid)

    def kill(self) -> None:
        """SIGKILL to every process of the server, the supervisor first so that it restarts nobody."""
        assert self.process
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    # Talking to it

    def valija(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of the command line on this server's configuration."""
        return subprocess.run(
            [VALIJA, *arguments, "-c", self.configuration],
            input=text,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE,
            check=False,
            cwd=self.folder,
        )

    def add_user(self, address: str, password: str) -> None:
        done = self.valija("user", "add", address, "--password-stdin", text=f"{password}\n")
        assert done.returncode == 0, done.stdout + done.stderr

    def queue(self) -> list[dict[str, Any]]:
        """Return what `valija queue list --json` prints."""
        done = self.valija("queue", "list", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        listed: list[dict[str, Any]] = json.loads(done.stdout)
        return listed

    def wait_for_log(self, pattern: str, deadline: float = 20.0, since: int = 0) -> re.Match[str]:
        return self.log.wait_for(pattern, deadline, since)

    def submit(self, login: str, password: str, recipient: str, content: EmailMessage | bytes) -> None:
        """Hand a message to `submission` with smtplib: STARTTLS, AUTH, one recipient. Any certificate will do."""
        whole = content if isinstance(content, bytes) else content.as_bytes()
        with smtplib.SMTP(HOST, self.submission, timeout=COMMAND_DEADLINE) as client:
            client.starttls(context=trust_all())
            client.login(login, password)
            client.sendmail(login, [recipient], whole)


def descendants(pid: int) -> list[int]:
    """Return a process and all its children's children, parents before children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return [pid]
    return [pid, *(each for child in children for each in descendants(int(child)))]


def trust_all() -> ssl.SSLContext:
    """Return a client's context for servers with a self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def message(subject: str, sender: str = "alice@example.org", recipient: str = "bob@example.net") -> EmailMessage:
    """Return a small message, whose octets have the line ends of SMTP."""
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = sender, recipient, subject
    mail.set_content("Hello.\n")
    return mail
