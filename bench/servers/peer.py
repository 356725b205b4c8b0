"""The other servers. What is known of each stands in bench/peers/NAME: `start PORT NEXT_HOP FOLDER` and `stop FOLDER`.

`start` returns when the server was started in the background; its submission port, where it has one, is PORT + 1. The
scripts find what bench/setup unpacked in BENCH_HOME. They run in a place of their own (bench/sandbox): they may mount
what they like.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench import PROJECT, sandbox
from bench.ports import free_ports
from bench.servers.fault import ServerFault, last_words, wait_for_port
from bench.setting import Setting
from bench.usage import Usage, end_processes, open_usage

_START_PATIENCE = 20.0  # seconds
_STOP_PATIENCE = 10.0
_SCRIPTS: Final = PROJECT / "bench" / "peers"

# Where each is, once bench/setup was run; relative paths lie in BENCH_HOME.
_PROGRAMS: Final = {
    "postfix": "/usr/sbin/postfix",
    "postfix-dovecot": "/usr/sbin/dovecot",
    "exim": "root/exim/usr/sbin/exim4",
    "opensmtpd": "root/opensmtpd/usr/sbin/smtpd",
    "chasquid": "root/chasquid/usr/bin/chasquid",
    "haraka": "haraka/node_modules/Haraka/bin/haraka",
    "aiosmtpd": "aiosmtpd/bin/python",
}


def installed(home: Path) -> list[str]:
    """Return the peers that can be measured: none where they could meet the machine's own servers."""
    if not sandbox.is_inside():
        return []
    return [name for name, program in _PROGRAMS.items() if (home / program).exists()]


class Peer:
    """A peer that runs between `__enter__` and `__exit__`."""

    def __init__(self, name: str, setting: Setting, next_hop: int) -> None:
        self._scripts = _SCRIPTS / name
        self._setting = setting
        self._next_hop = next_hop
        self.smtpd = free_ports(2)
        self.submission = self.smtpd + 1
        self._folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=setting.home))
        self._folder.chmod(0o755)
        self._log = self._folder / "output"
        self._account = open_usage()
        self.usage: Usage

    def __enter__(self) -> Self:
        self.usage = self._account.__enter__()
        try:
            self._run(self.usage.command([str(self._scripts / "start"), *self._arguments()]))
            wait_for_port(self.smtpd, _START_PATIENCE, self._log)
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def _arguments(self) -> list[str]:
        return [str(self.smtpd), str(self._next_hop), str(self._folder)]

    def _run(self, command: list[str]) -> None:
        """Run a script. Its output is a file: daemons keep a pipe open for ever."""
        environment = {**os.environ, "BENCH_HOME": str(self._setting.home)}
        environment["PATH"] += ":/usr/sbin:/sbin"
        with self._log.open("ab") as log:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False
            )
        if done.returncode:
            raise ServerFault(f"{' '.join(command[-4:])} ended with status {done.returncode}: {last_words(self._log)}")

    def _clear(self) -> None:
        try:
            self._run([str(self._scripts / "stop"), str(self._folder)])
        except ServerFault as fault:
            self._setting.say(f"    {fault}")
        end_processes(self.usage, _STOP_PATIENCE)
        self._account.__exit__(None, None, None)
        shutil.rmtree(self._folder, ignore_errors=True)
