"""An OpenSMTPD on a machine of its own, as the receiver of one domain's mail.

    with OpenSmtpd(machine, "opensmtpd.example", certificate=ca.issue("mx.opensmtpd.example")) as opensmtpd:
        ...
        content = opensmtpd.wait_for_mail()

Whatever the local part, mail lands in one Maildir. It announces neither PIPELINING nor CHUNKING. Debian's (6.8.0p2) has
a fault with OpenSSL 3: it announces STARTTLS, and each handshake fails (OpenSMTPD's issue 1171). That makes it the real
example of a peer that only clear text reaches.
"""

import subprocess
from types import TracebackType
from typing import Final, Self

from tests.ca import Issued
from tests.interop import unpacked
from tests.interop.postfix import wait_for_mail
from tests.private_machine import PrivateMachine

# A disk of the machine's: its queue.
SPOOL: Final = "/var/spool/smtpd"

_CONFIGURATION: Final = """\
pki mx.{domain} cert "/etc/opensmtpd/chain.pem"
pki mx.{domain} key "/etc/opensmtpd/key.pem"
table everybody {{ "@" = "box" }}
listen on 0.0.0.0 port 25 tls pki mx.{domain} hostname mx.{domain}
action "keep" maildir "/home/box/inbox" virtual <everybody>
match from any for domain "{domain}" action "keep"
"""

# What OpenSMTPD knows by heart: users, and the folder of its delivery programs, which is shown to its machine alone.
_PLACES: Final = """
for user in opensmtpd opensmtpq; do id $user >/dev/null 2>&1 || useradd --system --home /var/empty $user || exit 1; done
useradd --home /home/box --create-home box
mkdir -p /var/lib/opensmtpd/empty && chmod 755 /var/lib/opensmtpd/empty
chmod 711 {spool}
chmod 600 /etc/opensmtpd/key.pem
mount -t tmpfs tmpfs /usr/libexec && cp -r {folder}/usr/libexec/opensmtpd /usr/libexec/
"""


class OpenSmtpd:
    """Runs between `__enter__` and `__exit__`, on port 25 of its machine."""

    def __init__(self, machine: PrivateMachine, domain: str, *, certificate: Issued) -> None:
        self._machine = machine
        self._domain = domain
        self._certificate = certificate
        self.mailbox = machine.file("/home/box/inbox/new")
        self._log = machine.folder / "opensmtpd.log"

    def __enter__(self) -> Self:
        self._lay_out()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._machine.command(unpacked.OPENSMTPD, "-d", "-f", "/etc/opensmtpd/smtpd.conf"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        unpacked.wait_until(lambda: unpacked.open_port(self._machine.run, 25), lambda: self.log_text)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unpacked.end(self._process, self._log)

    def _lay_out(self) -> None:
        etc = self._machine.file("/etc/opensmtpd")
        etc.mkdir()
        (etc / "smtpd.conf").write_text(_CONFIGURATION.format(domain=self._domain))
        (etc / "chain.pem").write_bytes(self._certificate.chain_pem)
        (etc / "key.pem").write_bytes(self._certificate.key_pem)
        made = self._machine.shell(_PLACES.format(spool=SPOOL, folder=unpacked.FOLDER / "opensmtpd"))
        assert made.returncode == 0, made.stdout

    @property
    def log_text(self) -> str:
        return self._log.read_text(errors="backslashreplace") if self._log.exists() else ""

    def wait_for_mail(self, deadline: float = unpacked.DEADLINE) -> bytes:
        """Return the one message in the mailbox, once it is there."""
        return wait_for_mail(self.mailbox, deadline)
