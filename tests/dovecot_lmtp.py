"""A real Dovecot that takes mail by LMTP, in a folder of its own: Maildirs, and a quota for who has one.

    with LiveLmtp({"alice@example.org": "", "small@example.org": "storage=1K"}) as dovecot:
        server = LiveServer({"mailbox": {"transport": dovecot.transport}})
        dovecot.mailbox("alice@example.org")      # what has arrived, as octets
        dovecot.stop() ; dovecot.start()

It is started and ended as tests/dovecot does it, and is there only where dovecot-lmtpd is (`MISSING` says why not).
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

from tests.dovecot import DOVECOT

_LMTP = Path("/usr/lib/dovecot/lmtp")
MISSING = (
    ""
    if DOVECOT and _LMTP.exists() and os.geteuid() == 0
    else "Dovecot's LMTP server runs as root: apt-get install dovecot-lmtpd"
)
_DEADLINE = 20.0  # seconds

_CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = lmtp
ssl = no
auth_username_format = %Lu
recipient_delimiter = +
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%u
mail_plugins = quota
quota_full_tempfail = {tempfail}
lmtp_rcpt_check_quota = {at_rcpt}
postmaster_address = postmaster@example.org
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
protocol lmtp {{
  mail_plugins = quota
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=100M
  quota_grace = 0%%
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


class LiveLmtp:
    """Dovecot's LMTP service on a Unix socket. `users` are addresses, each with its quota, `""` for a large one."""

    def __init__(self, users: Mapping[str, str], *, tempfail: bool = False, at_rcpt: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dovecot-lmtp-"))
        self.folder.chmod(0o755)
        self.socket = self.folder / "lmtp"
        self.transport = f"lmtp:unix:{self.socket}"
        for name in ("run", "state"):
            (self.folder / name).mkdir(mode=0o755)
        (self.folder / "mail").mkdir(mode=0o777)
        (self.folder / "mail").chmod(0o777)
        self.set_users(users)
        self._configuration = self.folder / "dovecot.conf"
        yes = {True: "yes", False: "no"}
        self._configuration.write_text(
            _CONFIGURATION.format(folder=self.folder, tempfail=yes[tempfail], at_rcpt=yes[at_rcpt])
        )
        self._process: subprocess.Popen[bytes] | None = None

    def set_users(self, users: Mapping[str, str]) -> None:
        """Have these users from now on."""
        listed = self.folder / "users"
        rules = {name: f"userdb_quota_rule=*:{quota}" if quota else "" for name, quota in users.items()}
        listed.write_text("".join(f"{name}:{{PLAIN}}x:65534:65534::/nonexistent::{rules[name]}\n" for name in users))
        listed.chmod(0o644)

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
        if kind is not None:
            print(self.log)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it wrote."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def mailbox(self, address: str) -> list[bytes]:
        """Return the messages in an inbox, in the order they came."""
        folder = self.folder / "mail" / address / "new"
        return [file.read_bytes() for file in sorted(folder.iterdir())] if folder.exists() else []

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
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2.0)
        self._process = None
        self.socket.unlink(missing_ok=True)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(2.0)
            try:
                client.connect(str(self.socket))
                return client.recv(3) == b"220"
            except OSError:
                return False
