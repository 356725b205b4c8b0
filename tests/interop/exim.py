"""An Exim on a machine of its own, as the receiver of one domain's mail.

    with Exim(machine, "exim.example", certificate=ca.issue("mx.exim.example")) as exim:
        ...
        content = exim.wait_for_mail()

Whatever the local part, mail lands in one Maildir. It has CHUNKING, DSN, PIPELINING and, by GnuTLS, STARTTLS.
"""

import subprocess
from types import TracebackType
from typing import Final, Self

from tests.ca import Issued
from tests.interop import unpacked
from tests.interop.postfix import wait_for_mail
from tests.private_machine import PrivateMachine

# A disk of the machine's: its queue.
SPOOL: Final = "/var/spool/exim4"

_CONFIGURATION: Final = """\
primary_hostname = mx.{domain}
domainlist ours = {domain}
local_interfaces = 0.0.0.0
daemon_smtp_ports = 25
log_file_path = /var/log/exim/%slog
spool_directory = {spool}
tls_advertise_hosts = *
tls_certificate = /etc/exim4/chain.pem
tls_privatekey = /etc/exim4/key.pem
chunking_advertise_hosts = *
dsn_advertise_hosts = *
pipelining_connect_advertise_hosts =
host_lookup =
rfc1413_hosts =
never_users =
acl_smtp_rcpt = recipients
acl_smtp_data = contents

begin acl
recipients:
  accept domains = +ours
  deny message = relay not permitted
contents:
  accept

begin routers
ours:
  driver = accept
  domains = +ours
  transport = inbox

begin transports
inbox:
  driver = appendfile
  directory = /home/inbox
  maildir_format
  create_directory
  user = Debian-exim

begin retry
* * F,1h,5m
"""


class Exim:
    """Runs between `__enter__` and `__exit__`, on port 25 of its machine."""

    def __init__(self, machine: PrivateMachine, domain: str, *, certificate: Issued) -> None:
        self._machine = machine
        self._domain = domain
        self._certificate = certificate
        self.mailbox = machine.file("/home/inbox/new")
        self._log = machine.file("/var/log/exim/mainlog")

    def __enter__(self) -> Self:
        self._lay_out()
        # It would wait in the background otherwise, out of sight.
        self._process = subprocess.Popen(
            self._machine.command(unpacked.EXIM, "-bdf", "-q1h"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        unpacked.wait_until(lambda: unpacked.open_port(self._machine.run, 25), lambda: self.log_text)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unpacked.end(self._process, self._log)

    def _lay_out(self) -> None:
        machine = self._machine
        etc = machine.file("/etc/exim4")
        etc.mkdir(exist_ok=True)
        text = f"exim_path = {unpacked.EXIM}\n" + _CONFIGURATION.format(domain=self._domain, spool=SPOOL)
        (etc / "exim4.conf").write_text(text)
        (etc / "chain.pem").write_bytes(self._certificate.chain_pem)
        (etc / "key.pem").write_bytes(self._certificate.key_pem)
        made = machine.shell(
            "id Debian-exim >/dev/null 2>&1 || useradd --system --home /var/empty Debian-exim; "
            f"mkdir -p /var/log/exim /home/inbox && chown Debian-exim /var/log/exim /home/inbox {SPOOL} "
            "&& chmod 640 /etc/exim4/key.pem && chgrp Debian-exim /etc/exim4/key.pem"
        )
        assert made.returncode == 0, made.stdout

    @property
    def log_text(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def wait_for_mail(self, deadline: float = unpacked.DEADLINE) -> bytes:
        """Return the one message in the mailbox, once it is there."""
        return wait_for_mail(self.mailbox, deadline)
