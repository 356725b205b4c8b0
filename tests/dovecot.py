"""A real Dovecot for a test: its authentication service alone, in a folder of its own.

    with LiveDovecot({"alice": "secret"}) as dovecot:
        server = LiveServer({"sasl": {"type": "dovecot", "path": dovecot.socket}})
        dovecot.stop() ; dovecot.start()

It slows nobody down, so that tests don't wait. With `inet_port` it listens on that port of loopback too. `pam` names a
PAM service that judges instead of the list of users. Its auth process outlives the master while a client is connected.
"""

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.foreground import Foreground

DOVECOT = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "" if DOVECOT and os.geteuid() == 0 else "Dovecot runs as root: apt-get install dovecot-core"

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


class LiveDovecot(Foreground):
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
        super().__init__("dovecot")
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
        self._former: list[int] = []  # process groups whose masters are gone

    def command(self) -> Sequence[str | Path]:
        assert DOVECOT
        return DOVECOT, "-F", "-c", self._configuration

    def stop(self) -> None:
        while self._former:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._former.pop(), signal.SIGKILL)
        super().stop()
        Path(self.socket).unlink(missing_ok=True)

    def start_anew_beside_the_former(self) -> None:
        """End the master alone and start another: the former auth process goes on for the clients that it has."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        self._former.append(self._process.pid)
        self.start()

    def pause(self) -> None:
        """Make it silent: it takes connections and requests, and never answers."""
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it speak again."""
        self.signal(signal.SIGCONT)

    def answers(self) -> bool:
        return greeting(self.socket, 7) == b"VERSION"


def greeting(path: str | Path, octets: int) -> bytes:
    """Return the first octets that come from a socket, none if nobody speaks there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
            return client.recv(octets)
        except OSError:
            return b""
