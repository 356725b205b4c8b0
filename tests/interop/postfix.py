"""A Postfix of the test's own: configuration, queue, port and mailboxes in one folder, started and stopped alone.

    with Postfix({"relayhost": f"[127.0.0.1]:{server.smtpd}", "smtp_tls_security_level": "encrypt"}) as postfix:
        postfix.send("alice@example.net", "bob@example.org", message)

Mail for DOMAIN lands in Maildirs: `postfix.wait_for_mail()`. It needs root, as Postfix's master does. `host`, `port`,
`hostname` and `domain` are for one that stands elsewhere; `launcher` begins the command lines that start and stop it.
`services` are more lines of master.cf.
"""

import os
import shutil
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.live import HOST
from tests.ports import free_port

DOMAIN: Final = "postfix.example"
HOSTNAME: Final = "mx.postfix.example"
DAEMONS: Final = "/usr/lib/postfix/sbin"
DEADLINE: Final = 20.0  # seconds

MAIN: Final = """\
compatibility_level = 3.6
command_directory = /usr/sbin
daemon_directory = {daemons}
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
myhostname = {hostname}
mydestination =
alias_maps =
alias_database =
inet_interfaces = {host}
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
disable_dns_lookups = yes
smtpd_peername_lookup = no
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_received_header = yes
smtp_tls_loglevel = 1
"""

MASTER: Final = """\
{host}:{port} inet n - n - - smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
virtual   unix  - n n - - virtual
error     unix  - - n - - error
retry     unix  - - n - - error
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
tlsmgr    unix  - - n 1000? 1 tlsmgr
postlog   unix-dgram n - n - 1 postlogd
"""


def need_postfix() -> None:
    """Skip the test where there is no Postfix to start."""
    if not shutil.which("postfix", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("postfix is not installed")
    if os.getuid() != 0:
        pytest.skip("postfix can be started by root only")


class Postfix:
    """A running Postfix between `__enter__` and `__exit__`. `settings` are lines of main.cf."""

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        host: str = HOST,
        port: int = 0,
        hostname: str = HOSTNAME,
        domain: str = DOMAIN,
        launcher: Sequence[str] = (),
        services: str = "",
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postfix-test-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.host, self.port = host, port or free_port()
        self.relayhost = f"[{self.host}]:{self.port}"
        self._names = {"hostname": hostname, "domain": domain}
        self._launcher = launcher
        self._services = services
        self.mailbox = self.folder / "mail" / "inbox" / "new"
        self._log = self.folder / "maillog"
        self._configure(settings)

    def _configure(self, settings: Mapping[str, str]) -> None:
        for name in ("etc", "spool", "data", "mail"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        shutil.chown(self.folder / "mail", "nobody")
        owner = (self.folder / "mail").stat()
        main = MAIN.format(
            daemons=DAEMONS, folder=self.folder, host=self.host, uid=owner.st_uid, gid=65534, **self._names
        )
        ours = [line for line in main.splitlines() if line.partition(" =")[0] not in settings]
        main = "\n".join([*ours, *(f"{name} = {value}" for name, value in settings.items()), ""])
        (self.folder / "etc" / "main.cf").write_text(main)
        (self.folder / "etc" / "master.cf").write_text(MASTER.format(host=self.host, port=self.port) + self._services)

    @property
    def log_text(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def _control(self, verb: str) -> None:
        # Postfix's daemons keep what they inherit: a pipe would never close.
        with (self.folder / "output").open("a") as output:
            subprocess.run(
                [*self._launcher, "/usr/sbin/postfix", "-c", self.folder / "etc", verb],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=60,
                check=True,
            )

    def __enter__(self) -> Self:
        try:
            self._control("start")
            self._wait_until_open()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._control("stop")
        finally:
            print(f"--- postfix\n{self.log_text}{(self.folder / 'output').read_text()}")
            shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_until_open(self) -> None:
        end = time.monotonic() + DEADLINE
        while True:
            try:
                with smtplib.SMTP(self.host, self.port, timeout=DEADLINE):
                    return
            except OSError:
                assert time.monotonic() < end, self.log_text
                time.sleep(0.02)

    def send(self, reverse_path: str, recipient: str, mail: EmailMessage) -> None:
        """Hand Postfix a message to relay."""
        with smtplib.SMTP(self.host, self.port, timeout=DEADLINE) as client:
            client.sendmail(reverse_path, [recipient], mail.as_bytes())

    def wait_for_mail(self, deadline: float = DEADLINE) -> bytes:
        """Return the one message in the mailbox, once it is there."""
        return wait_for_mail(self.mailbox, deadline)


def wait_for_mail(folder: Path, deadline: float = DEADLINE) -> bytes:
    """Return the one message in a Maildir's `new`, once it is there. Looks often: a folder has no other way to tell."""
    end = time.monotonic() + deadline
    while not (found := list(folder.glob("*"))):
        assert time.monotonic() < end, f"no mail in {folder} within {deadline} s"
        time.sleep(0.02)
    assert len(found) == 1, found
    return found[0].read_bytes()
