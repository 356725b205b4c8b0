"""A real server with a place for local programs, and programs that call it as sendmail.

    with LocalServer({}) as server:
        done = server.sendmail("-t", "-i", text="To: alice\\n\\nhello\\n", user="daemon")
        assert done.returncode == 0, done.stderr

Started as root, programs can be run as other users of the machine; otherwise all is this user's.
"""

import os
import pwd
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.live import COMMAND_DEADLINE, VALIJA, LiveServer, Settings, overlay

OTHER: str = "daemon"
"""A user of every machine, who is neither root nor the server's user."""

_LOCAL: Settings = {"local": {"socket": "run/sendmail.sock", "maildrop": "spool/maildrop"}}


def own_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


class LocalServer(LiveServer):
    """A LiveServer whose folder has sendmail in usr/sbin and mailq in usr/bin."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(overlay(_LOCAL, settings))
        self.usr = self.folder / "usr"
        self.program = self.usr / "sbin" / "sendmail"
        self.maildrop = self.folder / "spool" / "maildrop"

    def __enter__(self) -> Self:
        super().__enter__()
        done = self.valija_first("sendmail", "--install", "--prefix", str(self.usr))
        assert done.returncode == 0, done.stderr
        return self

    def valija_first(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command whose own options come first."""
        return self.run([str(VALIJA), command, "-c", str(self.configuration), *arguments])

    def sendmail(
        self, *arguments: str, text: str | bytes = "", user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run([str(self.program), *arguments], text=text, user=user)

    def run(
        self,
        command: Sequence[str],
        *,
        text: str | bytes = "",
        user: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, as another user where one is named."""
        done = subprocess.run(
            command,
            input=text.encode() if isinstance(text, str) else text,
            capture_output=True,
            timeout=COMMAND_DEADLINE,
            check=False,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8", **(environ or {})},
            **({} if user is None else as_user(user)),
        )
        out, err = (octets.decode("utf-8", "backslashreplace") for octets in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(command, done.returncode, out, err)

    def mails(self, mailbox: str) -> list[str]:
        """Return the mails in a mailbox, in the order in which they arrived."""
        local, _, domain = mailbox.partition("@")
        folder = self.data_dir / "mail" / domain / local / "new"
        files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns) if folder.is_dir() else []
        return [file.read_text(errors="backslashreplace") for file in files]

    def wait_for_mails(self, mailbox: str, count: int, deadline: float = 20.0) -> list[str]:
        wait_until(lambda: len(self.mails(mailbox)) >= count, deadline, f"{count} mails in {mailbox}")
        return self.mails(mailbox)

    def left(self) -> list[Path]:
        """Return what lies in the maildrop."""
        return sorted(self.maildrop.iterdir())


def wait_until(is_so: Callable[[], bool], deadline: float, what: str) -> None:
    end = time.monotonic() + deadline
    while not is_so():
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.02)


def as_user(name: str) -> dict[str, Any]:
    """Return the arguments of subprocess for running something as a user of the machine."""
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
