"""The machines of the guide docs/es/caso-5.md: a network of four, cut off from everybody else.

    with Case5() as case:
        case.correo.shell("valija check")

`correo` is mail.example.org, just installed: Debian's Dovecot with its own files, no user of the system's but those
that every Debian has, and no valija. `mundo` is all the world: the DNS, Let's Encrypt (pebble, at Let's Encrypt's own
address), and Postfix as mx.example.net. `fuera` is a client somewhere, `oficina` one in the company's network. All four
trust the authority as if it were in their stores, so that no command has to name it.
"""

import contextlib
import shutil
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Final, Self

from tests import dovecot, pebble, private_machine, service_manager
from tests.fakedns import FakeDns
from tests.interop.postfix import Postfix
from tests.network import Network
from tests.pebble import LivePebble
from tests.private_machine import PrivateMachine

_CLIENTS: Final = [name for name in ("swaks", "curl", "openssl") if not shutil.which(name)]
_NO_CLIENTS: Final = f"not installed: {', '.join(_CLIENTS)}" if _CLIENTS else ""
MISSING: Final = private_machine.MISSING or dovecot.MISSING or pebble.MISSING or _NO_CLIENTS

CORREO, MUNDO, FUERA, OFICINA = "192.0.2.10", "198.51.100.20", "203.0.113.9", "10.20.0.7"
WITHOUT_TLS: Final = "198.51.100.21"  # another address of the world's
LETS_ENCRYPT: Final = "acme-v02.api.letsencrypt.org"

ZONE: Final = {
    "mail.example.org": [f"A {CORREO}"],
    "10.2.0.192.in-addr.arpa": ["PTR mail.example.org."],
    "example.org": ["MX 10 mail.example.org.", 'TXT "v=spf1 mx -all"'],
    "_dmarc.example.org": ['TXT "v=DMARC1; p=none"'],
    "example.net": ["MX 10 mx.example.net."],
    "mx.example.net": [f"A {MUNDO}"],
    "20.100.51.198.in-addr.arpa": ["PTR mx.example.net."],
    "antiguo.example": ["MX 10 mail.antiguo.example."],
    "mail.antiguo.example": [f"A {WITHOUT_TLS}"],
    LETS_ENCRYPT: [f"A {MUNDO}"],
}

# Postfix as the text sets it up: TLS wherever the other side can, in both directions. As mail.antiguo.example, which is
# of another age, it knows none.
POSTFIX: Final = {
    "disable_dns_lookups": "no",
    "smtpd_peername_lookup": "yes",
    "mynetworks": f"127.0.0.0/8 {MUNDO}",
    "virtual_mailbox_domains": "example.net antiguo.example",
    "inet_interfaces": f"{MUNDO} {WITHOUT_TLS}",
    "smtpd_tls_security_level": "may",
    "smtp_tls_security_level": "may",
    "smtp_tls_CAfile": "/etc/ssl/certs/ca-certificates.crt",
}
OLD_POSTFIX: Final = f"{WITHOUT_TLS}:25 inet n - n - - smtpd -o smtpd_tls_security_level=none\n"


class Case5:
    """The network between `__enter__` and `__exit__`."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            addresses = {"correo": CORREO, "mundo": MUNDO, "fuera": FUERA, "oficina": OFICINA}
            self._network = stack.enter_context(Network({name: [f"{each}/32"] for name, each in addresses.items()}))
            for name in addresses:
                self._network.run(name, "ip", "route", "add", "default", "dev", "eth0")
            self._network.run("mundo", "ip", "address", "add", f"{WITHOUT_TLS}/32", "dev", "eth0")
            self._install(stack)
            self._start_the_world(stack)
            for machine in (self.correo, self.mundo, self.fuera, self.oficina):
                self._trust(machine)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind:
            print(f"--- valija\n{self.log_of_valija}")
        self._stack.close()

    def _install(self, stack: contextlib.ExitStack) -> None:
        def machine(name: str, hostname: str, *disks: str) -> PrivateMachine:
            made = PrivateMachine(self._network, name, hostname, disks=disks, path=service_manager.MACHINE_PATH)
            stack.enter_context(made)
            made.file("/etc/resolv.conf").write_text(f"nameserver {MUNDO}\n")
            service_manager.install(made)
            return made

        self.correo = machine("correo", "mail.example.org", "/var/lib/valija")
        self.mundo = machine("mundo", "mx.example.net")
        self.fuera = machine("fuera", "laptop.example.com")
        self.oficina = machine("oficina", "impresora.example.org")
        _finish_dovecot(self.correo)

    def _start_the_world(self, stack: contextlib.ExitStack) -> None:
        with self._network.inside("mundo"):
            self.dns = stack.enter_context(FakeDns(dict(ZONE), host=MUNDO, port=53))
            self.pebble = stack.enter_context(
                LivePebble(host=MUNDO, names=[LETS_ENCRYPT], dns=f"{MUNDO}:53", http_port=80)
            )
            stack.enter_context(lets_encrypts_directory(self.pebble))
            self.roots = self.pebble.ca_file.read_bytes() + self.pebble.root_pem()
            chain, key = self.pebble.issue("mx.example.net")
            certificate = {"smtpd_tls_chain_files": f"{key}, {chain}"}
            there = self.mundo.command()
            self.postfix = stack.enter_context(
                Postfix(
                    POSTFIX | certificate,
                    host=MUNDO,
                    port=25,
                    hostname="mx.example.net",
                    domain="example.net",
                    launcher=there,
                    services=OLD_POSTFIX,
                )
            )

        self._at_home()

    def _at_home(self) -> None:
        """Have Postfix' log and bob's mail lie where a Debian would have them."""
        self.mundo.file("/var/log/mail.log").symlink_to(self.postfix.folder / "maillog")
        self.mundo.file("/home/bob").mkdir()
        self.mundo.file("/home/bob/Maildir").symlink_to(self.postfix.mailbox.parent)

    def _trust(self, machine: PrivateMachine) -> None:
        """Have the authority's roots in the machine's store, in its file and in its folder."""
        store = machine.file("/etc/ssl/certs")
        with (store / "ca-certificates.crt").open("ab") as bundle:
            bundle.write(self.roots)
        for number, pem in enumerate(self.roots.split(b"-----BEGIN")[1:]):
            name = f"of-the-test-{number}.pem"
            (store / name).write_bytes(b"-----BEGIN" + pem)
            hashed = machine.run("openssl", "x509", "-hash", "-noout", "-in", f"/etc/ssl/certs/{name}").stdout.strip()
            (store / f"{hashed}.0").symlink_to(name)

    def leave_what_certbot_leaves(self, version: int = 1) -> None:
        """Lay out certbot's files: versions in an archive, links to the last one, and all of it for root alone."""
        folder = self.correo.file("/etc/letsencrypt")
        archive, live = (folder / name / "mail.example.org" for name in ("archive", "live"))
        for each in (archive, live):
            each.mkdir(parents=True, exist_ok=True)
            each.parent.chmod(0o700)
        for name, issued in zip(("fullchain", "privkey"), self.pebble.issue("mail.example.org"), strict=True):
            file = archive / f"{name}{version}.pem"
            file.touch(mode=0o600)
            file.write_bytes(issued.read_bytes())
            (live / f"{name}.pem").unlink(missing_ok=True)
            (live / f"{name}.pem").symlink_to(f"../../archive/mail.example.org/{file.name}")

    @property
    def log_of_valija(self) -> str:
        log = self.correo.file(str(service_manager.LOG))
        return log.read_text() if log.exists() else ""


def _finish_dovecot(machine: PrivateMachine) -> None:
    """Make the self-signed certificate that Debian's package has from ssl-cert, and start Dovecot."""
    private = "/etc/dovecot/private"
    machine.shell(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=mail.example.org "
        f"-keyout {private}/dovecot.key -out {private}/dovecot.pem"
    )
    started = machine.run("systemctl", "start", "dovecot")
    assert started.returncode == 0, started.stdout


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Bind, and look up no name for the address: Python would ask the DNS of the machine below."""
        TCPServer.server_bind(self)


@contextlib.contextmanager
def lets_encrypts_directory(pebble: LivePebble) -> Iterator[None]:
    """Serve pebble's directory where Let's Encrypt has its own: all other addresses stand in it."""
    port = pebble.directory.rpartition(":")[2].partition("/")[0]
    request = urllib.request.Request(pebble.directory, headers={"Host": f"{LETS_ENCRYPT}:{port}"})
    trusting = ssl.create_default_context(cafile=str(pebble.ca_file))
    with urllib.request.urlopen(request, context=trusting, timeout=5) as answer:
        directory: bytes = answer.read()

    class Directory(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/directory" else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(directory)))
            self.end_headers()
            self.wfile.write(directory)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Server((MUNDO, 443), Directory)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pebble.pair)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
