"""A real user of the system, made for a test and removed after it, and a PAM service that judges their password.

    with SystemUser() as user:
        LiveDovecot(pam=user.pam_service)
        code_of(server, user.name, user.password)

A wrong password is told at once; with `slow` PAM waits some seconds before it tells, as it does by default.
"""

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

NO_USERS = "" if os.geteuid() == 0 and shutil.which("useradd") else "only root can make users of the system"


class SystemUser:
    """The user. They have no home and no shell: mail alone is what they may do."""

    def __init__(self, *, slow: bool = False) -> None:
        self.name = self.pam_service = f"valija-{secrets.token_hex(4)}"
        self.password = f"p{secrets.token_urlsafe(12)}"  # a hyphen in front would be an option to some clients
        self._delay = "" if slow else " nodelay"
        self._pam_file = Path("/etc/pam.d") / self.pam_service

    def __enter__(self) -> Self:
        subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/false", self.name], check=True)
        try:
            subprocess.run(["chpasswd"], input=f"{self.name}:{self.password}", text=True, check=True)
            self._pam_file.write_text(f"auth required pam_unix.so{self._delay}\naccount required pam_unix.so\n")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        self._pam_file.unlink(missing_ok=True)
        subprocess.run(["userdel", self.name], check=False, capture_output=True)
