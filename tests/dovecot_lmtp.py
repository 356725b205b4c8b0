"""A real Dovecot that takes mail by LMTP, in a folder of its own: Maildirs, and a quota for who has one.

    with LiveLmtp({"alice@example.org": "", "small@example.org": "storage=1K"}) as dovecot:
        server = LiveServer({"mailbox": {"transport": dovecot.transport}})
        dovecot.mailbox("alice@example.org")      # what has arrived, as octets
        dovecot.stop() ; dovecot.start()

It is started and ended as tests/dovecot does it, and is there only where dovecot-lmtpd is (`MISSING` says why not).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.dovecot import DOVECOT, greeting
from tests.foreground import Foreground

_LMTP = Path("/usr/lib/dovecot/lmtp")
MISSING = (
    ""
    if DOVECOT and _LMTP.exists() and os.geteuid() == 0
    else "Dovecot's LMTP server runs as root: apt-get install dovecot-lmtpd"
)

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


class LiveLmtp(Foreground):
    """Dovecot's LMTP service on a Unix socket. `users` are addresses, each with its quota, `""` for a large one."""

    def __init__(self, users: Mapping[str, str], *, tempfail: bool = False, at_rcpt: bool = False) -> None:
        super().__init__("dovecot-lmtp")
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

    def set_users(self, users: Mapping[str, str]) -> None:
        """Have these users from now on."""
        listed = self.folder / "users"
        rules = {name: f"userdb_quota_rule=*:{quota}" if quota else "" for name, quota in users.items()}
        listed.write_text("".join(f"{name}:{{PLAIN}}x:65534:65534::/nonexistent::{rules[name]}\n" for name in users))
        listed.chmod(0o644)

    def mailbox(self, address: str) -> list[bytes]:
        """Return the messages in an inbox, in the order they came."""
        folder = self.folder / "mail" / address / "new"
        return [file.read_bytes() for file in sorted(folder.iterdir())] if folder.exists() else []

    def command(self) -> Sequence[str | Path]:
        assert DOVECOT
        return DOVECOT, "-F", "-c", self._configuration

    def stop(self) -> None:
        super().stop()
        self.socket.unlink(missing_ok=True)

    def answers(self) -> bool:
        return greeting(self.socket, 3) == b"220"
