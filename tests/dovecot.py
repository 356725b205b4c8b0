"""A real Dovecot for a test: its authentication service alone, in a folder of its own.

    with LiveDovecot({"alice": "secret"}) as dovecot:
        server = LiveServer({"sasl": {"type": "dovecot", "path": dovecot.socket}})
        dovecot.stop() ; dovecot.start()

It slows nobody down, so that tests don't wait. With `inet_port` it listens on that port of loopback too. `pam` names a
PAM service that judges instead of the list of users. Everything it started is in process groups of its own, which are
ended whole: its auth process outlives the master while a client is connected.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

DOVECOT = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "" if DOVECOT and os.geteuid() == 0 else "Dovecot runs as root: apt-get install dovecot-core"
_DEADLINE = 20.0  # seconds

_MECHANISMS = "plain login scram-sha-1 scram-sha-256 anonymous external"  # PAM can't do the last four

_CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols =
ssl = no
auth_mechanisms = {mechanisms}
auth_username_format = %Lu
auth_failure_delay = 0
passdb {{
  driver = {driver}
  args = {arguments}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {folder}/auth-client {{
    mode = {mode}
  }}
{more}
}}
"""

_INET_LISTENER = """
  inet_listener {{
    address = 127.0.0.1
    port = {port}
  }}
"""


class LiveDovecot:
    """Dovecot's auth service on a Unix socket."""

    def __init__(
        self,
        users: Mapping[str, str] | None = None,
        *,
        pam: str = "",
        mechanisms: str = "",
        mode: str = "0666",
        inet_port: int = 0,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.folder.chmod(0o755)
        self.socket = str(self.folder / "auth-client")
        for name in ("run", "state"):
            (self.folder / name).mkdir(mode=0o755)
        listed = self.folder / "users"
        listed.write_text("".join(f"{name}:{{PLAIN}}{password}\n" for name, password in (users or {}).items()))
        listed.chmod(0o644)
        driver, arguments = ("pam", pam) if pam else ("passwd-file", str(listed))
        self._configuration = self.folder / "dovecot.conf"
        self._configuration.write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                driver=driver,
                arguments=arguments,
                mechanisms=mechanisms or ("plain login" if pam else _MECHANISMS),
                mode=mode,
                more=_INET_LISTENER.format(port=inet_port) if inet_port else "",
            )
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._former: list[int] = []  # process groups whose masters are gone

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it wrote."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start, and return when its socket answers."""
        assert DOVECOT
        self._process = subprocess.Popen(
            [DOVECOT, "-F", "-c", str(self._configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + _DEADLINE
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError(f"Dovecot does not start: {self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, with everything it started."""
        while self._former:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._former.pop(), signal.SIGKILL)
        if self._process is None:
            return
        group = self._process.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(2.0)
            except subprocess.TimeoutExpired:
                continue
        self._process = None
        Path(self.socket).unlink(missing_ok=True)

    def start_anew_beside_the_former(self) -> None:
        """End the master alone and start another: the former auth process goes on for the clients that it has."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(_DEADLINE)
        self._former.append(self._process.pid)
        self.start()

    def pause(self) -> None:
        """Make it silent: it takes connections and requests, and never answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it speak again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(1.0)
            try:
                client.connect(self.socket)
                return client.recv(7) == b"VERSION"
            except OSError:
                return False
