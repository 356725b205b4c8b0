"""A small world to send to: a network of machines with real mail servers, a signed DNS, and an attacker.

    with World() as world:
        world.ana.submit("bob@dane.example")
        world.postfix.wait_for_mail()
        with world.attack("postfix", certificate=world.mallory):     # whoever means Postfix reaches the attacker
            ...

| domain          | its MX host                        | what it publishes                    |
|-----------------|------------------------------------|--------------------------------------|
| dane.example    | Postfix                            | a signed zone, TLSA for the MX host  |
| sts.example     | Exim                               | an MTA-STS policy, mode enforce      |
| plain.example   | OpenSMTPD, whose TLS is broken     | nothing                              |
| valija.example  | valija, the other sender           | a signed zone, TLSA for the MX host  |
| bogus.example   | the attacker, says a forged answer | a signed zone                        |
| LEVEL.example   | Postfix                            | nothing: the sender asks for a level |

Each sender has a validating resolver of its own on loopback, as a postmaster would. The attacker sits on the cable: for
a while the sender's packets to a host go to it, whatever the host's name and address are, as with a forged ARP answer.
"""

import asyncio
import contextlib
import hashlib
import smtplib
import ssl
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests import unbound
from tests.ca import CertificateAuthority, Issued
from tests.interop import exim, opensmtpd, unpacked
from tests.interop.exim import Exim
from tests.interop.opensmtpd import OpenSmtpd
from tests.interop.postfix import Postfix
from tests.live import LiveServer, Settings, message, overlay, trust_all
from tests.network import Network
from tests.private_machine import PrivateMachine
from tests.scripted_sink import EXTENSIONS, ScriptedSink
from tests.unbound import LiveUnbound, Zone

T = TypeVar("T")

MISSING: Final = unpacked.MISSING or unbound.MISSING

MACHINES: Final = {
    "ana": "192.0.2.10",
    "otra": "192.0.2.11",
    "postfix": "192.0.2.30",
    "exim": "192.0.2.31",
    "opensmtpd": "192.0.2.32",
    "policies": "192.0.2.40",
    "mallory": "192.0.2.66",
}
CERTIFIED: Final = {"postfix": "mx.dane.example", "exim": "mx.sts.example", "otra": "mx.valija.example"}
LEVELS: Final = ("encrypt", "verify", "secure", "fingerprint", "dane-only")
POLICY: Final = "version: STSv1\r\nmode: enforce\r\nmx: mx.sts.example\r\nmax_age: 86400\r\n"


def spki_sha256(issued: Issued) -> str:
    """Return the digest of a certificate's public key, as `3 1 1` has it."""
    certificate = x509.load_pem_x509_certificate(issued.chain_pem)
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


class World:
    """The network between `__enter__` and `__exit__`."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or {}
        self.authority = CertificateAuthority("An authority that everybody trusts")
        self.mallory = CertificateAuthority("Mallory").issue("mx.mallory.example")
        names = {**dict.fromkeys(CERTIFIED, ()), "postfix": tuple(f"mx.{level}.example" for level in LEVELS)}
        self.certificates = {name: self.authority.issue(host, *names[name]) for name, host in CERTIFIED.items()}
        self.certificate_of_mallory = self.authority.issue("mx.mallory.example")  # right, but for nobody else
        self.policy = POLICY

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="world-")))
            self.folder.chmod(0o755)
            self.ca_file = self.authority.write_root(self.folder / "ca.pem")
            self.network = stack.enter_context(Network({name: [f"{each}/24"] for name, each in MACHINES.items()}))
            self._start_receivers(stack)
            self._start_policy_host(stack)
            policies = {"smtp": {"policy": [self._policy(level) for level in LEVELS]}}
            self.ana = stack.enter_context(Sender(self, "ana", overlay(overlay(ANA, policies), self._settings)))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def zones(self) -> dict[str, Zone]:
        """Return what the DNS holds."""
        tlsa = f"_25._tcp.mx TLSA 3 1 1 {spki_sha256(self.certificates['postfix'])}"
        signed = Zone("@ MX 10 mx", f"mx A {MACHINES['postfix']}", tlsa, signed=True)
        unsigned = Zone(*signed.records[:2])
        own = f"_25._tcp.mx TLSA 3 1 1 {spki_sha256(self.certificates['otra'])}"
        return {
            "dane.example": signed,
            **{f"{level}.example": signed if level == "dane-only" else unsigned for level in LEVELS},
            "valija.example": Zone("@ MX 10 mx", f"mx A {MACHINES['otra']}", own, signed=True),
            "sts.example": Zone(
                "@ MX 10 mx",
                f"mx A {MACHINES['exim']}",
                '_mta-sts TXT "v=STSv1; id=1"',
                f"mta-sts A {MACHINES['policies']}",
            ),
            "plain.example": Zone("@ MX 10 mx", f"mx A {MACHINES['opensmtpd']}"),
            "bogus.example": Zone("@ MX 10 mx.mallory.example.", bogus=("@ MX",)),
            "mallory.example": Zone(f"mx A {MACHINES['mallory']}"),
        }

    def _policy(self, level: str) -> dict[str, Any]:
        """Return the table that asks for a level towards its domain."""
        certificate = x509.load_pem_x509_certificate(self.certificates["postfix"].chain_pem)
        digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
        fingerprints = {"fingerprints": [digest]} if level == "fingerprint" else {}
        return {"domain": f"{level}.example", "tls_security_level": level, **fingerprints}

    # Who is there

    def _start_receivers(self, stack: contextlib.ExitStack) -> None:
        def machine(name: str, hostname: str, *disks: str) -> PrivateMachine:
            return stack.enter_context(PrivateMachine(self.network, name, hostname, disks=disks))

        chain, key = self.certificates["postfix"].write(self.folder, "postfix")
        settings = {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": f"{key} {chain}"}
        with self.network.inside("postfix"):
            self.postfix = stack.enter_context(
                Postfix(
                    settings,
                    host=MACHINES["postfix"],
                    port=25,
                    hostname="mx.dane.example",
                    domain=" ".join(["dane.example", *(f"{level}.example" for level in LEVELS)]),
                    launcher=self.network.command("postfix"),
                )
            )
        theirs = machine("exim", "mx.sts.example", exim.SPOOL)
        self.exim = stack.enter_context(Exim(theirs, "sts.example", certificate=self.certificates["exim"]))
        theirs = machine("opensmtpd", "mx.plain.example", opensmtpd.SPOOL)
        broken = self.authority.issue("mx.plain.example", key=rsa.generate_private_key(65537, 2048))
        self.opensmtpd = stack.enter_context(OpenSmtpd(theirs, "plain.example", certificate=broken))

    def _start_policy_host(self, stack: contextlib.ExitStack) -> None:
        chain, key = self.authority.issue("mta-sts.sts.example").write(self.folder, "policies")
        with self.network.inside("policies"):
            stack.enter_context(policy_host(MACHINES["policies"], chain, key, lambda: self.policy))

    # The attacker

    @contextlib.contextmanager
    def attack(
        self, victim: str, *, certificate: Issued | None, extensions: Sequence[str] = EXTENSIONS, sender: str = "ana"
    ) -> Iterator[ScriptedSink]:
        """Have what `sender` sends to the victim's address go to the attacker; without a certificate it strips TLS."""
        mac = self.network.run("mallory", "cat", "/sys/class/net/eth0/address").stdout.strip()
        address = MACHINES[victim]
        self._do("mallory", "ip", "address", "add", f"{address}/32", "dev", "lo")
        self._do(sender, "ip", "neigh", "replace", address, "lladdr", mac, "nud", "permanent", "dev", "eth0")
        try:
            with self.network.inside("mallory"), Elsewhere() as elsewhere:
                context = server_context(certificate, self.folder) if certificate else None
                sink = ScriptedSink({}, port=25, address="0.0.0.0", extensions=extensions, tls=context)
                elsewhere.run(sink.__aenter__())
                try:
                    yield sink
                finally:
                    elsewhere.run(sink.__aexit__(None, None, None))
        finally:
            self._do(sender, "ip", "neigh", "del", address, "dev", "eth0")
            self._do("mallory", "ip", "address", "del", f"{address}/32", "dev", "lo")

    def _do(self, machine: str, *words: str) -> None:
        done = self.network.run(machine, *words)
        assert done.returncode == 0, done.stderr


ANA: Final = {"hostname": "mail.example.org", "domains": ["example.org"]}
OTRA: Final = {"hostname": "mx.valija.example", "domains": ["valija.example"]}


class Sender:
    """A machine with valija and its resolver."""

    def __init__(self, world: World, name: str, settings: Settings) -> None:
        self._world = world
        self._name = name
        self._settings = settings

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack, self._world.network.inside(self._name):
            self.dns = stack.enter_context(LiveUnbound(self._world.zones()))
            self.server = LiveServer(overlay(self._settings, {"dns": {"nameservers": [self.dns.nameserver]}}))
            trusting = ["env", f"SSL_CERT_FILE={self._world.ca_file}"]
            self.server.launcher = [*self._world.network.command(self._name), *trusting]
            stack.enter_context(self.server)
            self._stack = stack.pop_all()
        self.server.add_user("alice@" + self.server.settings["domains"][0], "secret")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def submit(self, recipient: str, subject: str = "hello", *, mail_options: Sequence[str] = ()) -> None:
        """Hand in a message as alice."""
        alice = "alice@" + self.server.settings["domains"][0]
        with self._world.network.inside(self._name):
            client = smtplib.SMTP("127.0.0.1", self.server.submission, timeout=20)
        with client:
            client.starttls(context=trust_all())
            client.login(alice, "secret")
            content = message(subject, alice, recipient).as_bytes()
            client.sendmail(alice, [recipient], content, mail_options=mail_options)

    def change(self, **zones: Zone) -> None:
        """Have the DNS say something else, as one that is forged on its way does."""
        with self._world.network.inside(self._name):
            self.dns.change({name.replace("_", "."): zone for name, zone in zones.items()})


class Elsewhere:
    """A loop in a thread of its own, which stays in the network namespace where it was made."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and wait for its end."""
        return asyncio.run_coroutine_threadsafe(main, self._loop).result(20)


def server_context(issued: Issued, folder: Path) -> ssl.SSLContext:
    """Return what serves a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*issued.write(folder, "served"))
    return context


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Bind, and look up no name for the address: Python would ask the DNS of the machine below."""
        TCPServer.server_bind(self)


@contextlib.contextmanager
def policy_host(address: str, chain: Path, key: Path, policy: Callable[[], str]) -> Iterator[None]:
    """Serve an MTA-STS policy over HTTPS."""

    class Policies(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/.well-known/mta-sts.txt"
            body = policy().encode() if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Server((address, 443), Policies)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
