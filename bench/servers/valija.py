"""valija as it ships, on ports and in a folder of its own.

    with Valija(setting, next_hop=2600, accounts=50) as server: ...
    with Valija(setting, settings={"workers": 1}, folder=kept) as server:
        server.stop() ; server.start()

`settings` are laid over the defaults, table by table. With `folder` the data stays there and outlives the server.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench import PROJECT
from bench.ports import free_ports
from bench.servers.fault import ServerFault, last_words, wait_for_port
from bench.setting import Setting, python_user
from bench.usage import Usage, end_processes, open_usage

Settings = Mapping[str, Any]

_START_PATIENCE = 60.0  # seconds
_STOP_PATIENCE = 35.0
_PROGRAM = "import sys; from valija.cli.main import main; sys.argv[0] = 'valija'; main()"


def as_toml(settings: Settings) -> str:
    """Write plain values and one level of tables. A JSON string, number, boolean or array is TOML too."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not isinstance(value, Mapping)]
    for name, table in settings.items():
        if isinstance(table, Mapping):
            plain += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(plain) + "\n"


class Valija:
    """A valija server; see the module."""

    def __init__(
        self,
        setting: Setting,
        next_hop: int = 0,
        *,
        accounts: int = 0,
        settings: Settings | None = None,
        folder: Path | None = None,
    ) -> None:
        self._setting = setting
        self._kept = folder is not None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="valija-", dir=setting.home))
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        self.smtpd = free_ports(2)
        self.submission = self.smtpd + 1
        self.log = self.folder / "log"
        self._accounts = accounts
        self._configuration = self.folder / "valija.toml"
        self._configuration.write_text(as_toml(self._settings(next_hop, settings or {})))
        self._account = open_usage()
        self.usage: Usage
        self._process: subprocess.Popen[bytes] | None = None

    def _settings(self, next_hop: int, own: Settings) -> Settings:
        below: dict[str, Any] = {
            "hostname": "mx.bench.test",
            "domains": ["src.test"],
            "data_dir": str(self.folder / "data"),
            "user": python_user(),
            "smtpd": {"listen": [f"127.0.0.1:{self.smtpd}"]},
            "submission": {"listen": [f"127.0.0.1:{self.submission}"]},
            "submissions": {"listen": []},
            "smtp": {"relayhost": f"[127.0.0.1]:{next_hop}"} if next_hop else {},
        }
        for key, value in own.items():
            below[key] = {**below.get(key, {}), **value} if isinstance(value, Mapping) else value
        return below

    def __enter__(self) -> Self:
        self.usage = self._account.__enter__()
        try:
            self._add_accounts()
            self.start()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def start(self) -> None:
        """Start, and return when it accepts connections. Raises ServerFault."""
        command = self.usage.command([*self._program(), "serve", "-c", str(self._configuration)])
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(), cwd=self.folder
            )
        self.usage.started(self._process.pid)
        wait_for_port(self.smtpd, _START_PATIENCE, self.log, self._process)

    def stop(self) -> None:
        """End it as an administrator would. Raises ServerFault where it does not end, or not well."""
        self._end(signal.SIGTERM)
        status = self._process.returncode if self._process else 0
        if status:
            raise ServerFault(f"ended with status {status}")

    def kill(self) -> None:
        """Kill all of its processes, the first one first so that it restarts nobody."""
        for pid in sorted(self.usage.pids()):
            os.kill(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def command(self, *arguments: str) -> list[str]:
        """Return a command of valija's command line on this server's configuration."""
        return [*self._program(), *arguments, "-c", str(self._configuration)]

    def run(self, *arguments: str, text: str = "") -> str:
        """Run such a command and return what it prints. Raises ServerFault."""
        done = subprocess.run(
            self.command(*arguments), input=text, capture_output=True, text=True, env=self.environment(), check=False
        )
        if done.returncode:
            raise ServerFault(f"valija {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def log_place(self) -> int:
        """Return where the log ends now, for `wait_for_log`."""
        return self.log.stat().st_size if self.log.exists() else 0

    def wait_for_log(self, words: str, since: int, patience: float) -> None:
        """Wait until the log says something. Raises ServerFault."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            with self.log.open(errors="backslashreplace") as log:
                log.seek(since)
                if words in log.read():
                    return
            time.sleep(0.01)
        raise ServerFault(f"no {words!r} in its log after {patience:.0f} s")

    def _add_accounts(self) -> None:
        for number in range(1, self._accounts + 1):
            self.run("user", "add", f"u{number}@src.test", "--password-stdin", text=f"secret{number}\n")

    def _program(self) -> list[str]:
        return [sys.executable, "-c", _PROGRAM]

    def environment(self) -> dict[str, str]:
        """Return the environment its programs run in."""
        return {**os.environ, "PYTHONPATH": str(self._setting.source), "PYTHONDONTWRITEBYTECODE": "1"}

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(_STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _clear(self) -> None:
        self._end(signal.SIGTERM)
        end_processes(self.usage, patience=5.0)
        self._account.__exit__(None, None, None)
        if not self._kept:
            shutil.rmtree(self.folder, ignore_errors=True)


class ValijaWithDovecot(Valija):
    """valija whose logins Dovecot judges, as it does for its peer: the same users, the same Dovecot."""

    def __init__(self, setting: Setting, next_hop: int) -> None:
        super().__init__(setting, next_hop)
        sasl = {"type": "dovecot", "path": str(self.folder / "dovecot" / "sasl")}
        self._configuration.write_text(as_toml(self._settings(next_hop, {"sasl": sasl})))

    def start(self) -> None:
        """Start Dovecot first. Raises ServerFault."""
        self._dovecot("start")
        super().start()

    def _dovecot(self, verb: str) -> None:
        """Run the script; what it starts keeps an inherited pipe open, so that it gets a file."""
        with self.log.open("ab") as log:
            command = self.usage.command([str(PROJECT / "bench" / "peers" / "dovecot" / verb), str(self.folder)])
            environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False
            )
        if done.returncode:
            raise ServerFault(f"Dovecot does not {verb}: {last_words(self.log)}")

    def _clear(self) -> None:
        with contextlib.suppress(ServerFault):
            self._dovecot("stop")
        super()._clear()
