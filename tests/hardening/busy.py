"""A server that has done all that leaves files, started by a root whose umask forbids nobody anything.

with busy_server() as server:
    server.pids(), server.helper       # the processes, and the one that is root's
    server.data_dir, server.maildrop
"""

import os
import signal
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.hardening.status import Status
from tests.live import HOST, message
from tests.local_programs import OTHER, LocalServer, wait_until
from tests.ports import free_port
from tests.sink import CatchingSink
from tests.system_user import SystemUser
from valija.warden.start import NAME

OUTSIDE: Final = "bob@remote.example"
WAITING: Final = "waiting@nowhere.example"  # no name server answers: it stays in the queue


class BusyServer(LocalServer):
    """A server with a root helper, HTTPS, two workers and local programs."""

    def __init__(self, sink: CatchingSink, user: SystemUser) -> None:
        self._sink, self._user = sink, user
        self.mailbox = f"{user.name}@example.org"
        super().__init__(
            {
                "workers": 2,
                "sasl": {"type": "pam", "pam_service": user.pam_service},
                "https": {"listen": [f"{HOST}:{free_port()}"]},
                "autoconfig": {"imap_host": "imap.example.org"},
                "smtp": {"route": [{"domain": "remote.example", "next_hop": sink.relayhost}]},
                "dns": {"nameservers": [f"{HOST}:9"]},
            }
        )

    @property
    def helper(self) -> int:
        (pid,) = [pid for pid in self.pids() if Status.of(pid).name == NAME]
        return pid

    def be_busy(self) -> None:
        """Make keys, accept, deliver, forward, defer and report; lose a worker; read the configuration again."""
        self._command("dkim", "create", "example.org")
        self._command("alias", "add", "sales@example.org", OUTSIDE)
        self._command("reload")
        self._accept()
        self.wait_for_mails(self.mailbox, 2)
        self._sink.wait_for(2)
        self.wait_for_log(rf"attempt .*recipient={WAITING} .*outcome=deferred")
        processes = len(self.pids())
        os.kill(int(self.wait_for_log(r"ready\b.* workers=(\d+)")[1]), signal.SIGKILL)
        self.wait_for_log("worker died")
        wait_until(lambda: len(self.pids()) == processes, 20, "a worker in its place")
        self._command("queue", "hold", "--all")
        self._command("why", self.mailbox)

    def _accept(self) -> None:
        for recipient in (self.mailbox, WAITING):
            self._submit(recipient, message("small", self.mailbox, recipient).as_bytes())
        large = f"From: {self.mailbox}\r\nSubject: large\r\n\r\n".encode() + b"hello\r\n" * 60_000
        self._submit(OUTSIDE, large)
        with smtplib.SMTP(HOST, self.smtpd, timeout=20) as stranger:
            stranger.sendmail("ann@elsewhere.example", ["sales@example.org"], message("hello").as_bytes())
        done = self.sendmail("-i", self.mailbox, text="Subject: of the machine\n\nx\n", user=OTHER)
        assert done.returncode == 0, done.stderr

    def _submit(self, recipient: str, content: bytes) -> None:
        self.submit(self.mailbox, self._user.password, recipient, content)

    def _command(self, *words: str) -> None:
        done = self.valija(*words)
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def busy_server() -> Iterator[BusyServer]:
    """Run one, with everything done."""
    before = os.umask(0)
    try:
        with SystemUser() as user, CatchingSink() as sink, BusyServer(sink, user) as server:
            server.wait_for_log("HTTPS is served")
            server.be_busy()
            yield server
    finally:
        os.umask(before)
