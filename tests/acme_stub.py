"""An authority that can be made to misbehave, for what pebble does not do: renewal windows, limits, wrong certificates.

    with AcmeStub() as authority:
        options = TlsOptions(certificate="acme", acme_directory=authority.directory, acme_ca_file=authority.ca_file)
        authority.window = (start, end)               # ARI, seconds since the epoch
        authority.names = ("other.example",)          # issued instead of what was asked for
        authority.orders[-1].replaces                 # what came

It believes every name at once, and looks at no signature. Whatever it is to do is set while it runs.
"""

import base64
import json
import shutil
import ssl
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.ca import CertificateAuthority


@dataclass
class Order:
    """What was ordered, and what came of it."""

    names: tuple[str, ...]
    replaces: str
    profile: str
    chain: bytes = b""


@dataclass
class AcmeStub:
    """`problem` answers every order: an ACME error's name. `retry_after` goes with it, and with the window."""

    window: tuple[float, float] | None = None
    retry_after: str = ""
    problem: str = ""
    refuses_replaces: bool = False
    names: tuple[str, ...] = ()
    days: tuple[float, float] = (-1, 90)
    foreign_key: bool = False
    demands_binding: bool = False
    orders: list[Order] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    contacts: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="acme-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.issuer = CertificateAuthority("Stub").intermediate()
        web = CertificateAuthority("Stub's own")
        self.ca_file = str(web.write_root(self.folder / "ca.pem"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*web.issue("127.0.0.1").write(self.folder))
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                stub._send(self, 200, {})

            def do_GET(self) -> None:
                stub._get(self)

            def do_POST(self) -> None:
                stub._post(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._base = f"https://127.0.0.1:{self._server.server_address[1]}"

    @property
    def directory(self) -> str:
        return f"{self._base}/dir"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What it answers

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        if request.path.startswith("/ari/") and self.window:
            self.asked.append(request.path.removeprefix("/ari/"))
            start, end = (datetime.fromtimestamp(each, UTC).isoformat().replace("+00:00", "Z") for each in self.window)
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            self._send(request, 200, {"suggestedWindow": {"start": start, "end": end}}, headers)
            return
        names = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order"}
        if self.window:
            names["renewalInfo"] = "ari"
        directory: dict[str, Any] = {key: f"{self._base}/{path}" for key, path in names.items()}
        self._send(request, 200, {**directory, "meta": {"externalAccountRequired": self.demands_binding}})

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        signed = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        payload = json.loads(_decoded(signed["payload"]) or b"{}")
        kind, _, rest = request.path.strip("/").partition("/")
        match kind:
            case "account":
                self.contacts.append(tuple(payload.get("contact", ())))
                self._send(request, 201, {"status": "valid"}, {"Location": f"{self._base}/account/1"})
            case "order" if not rest:
                self._order(request, payload)
            case "order":
                self._send_order(request, int(rest), 200)
            case "authorization":
                identifier = {"type": "dns", "value": rest}
                self._send(request, 200, {"status": "valid", "identifier": identifier, "challenges": []})
            case "finalize":
                self._issue(int(rest), x509.load_der_x509_csr(_decoded(payload["csr"])))
                self._send_order(request, int(rest), 200)
            case "certificate":
                self._send(request, 200, self.orders[int(rest)].chain)

    def _order(self, request: BaseHTTPRequestHandler, payload: Mapping[str, Any]) -> None:
        replaces = payload.get("replaces", "")
        if self.problem or (replaces and self.refuses_replaces):
            what = {"type": f"urn:ietf:params:acme:error:{self.problem or 'alreadyReplaced'}", "detail": "not today"}
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            self._send(request, 429 if self.problem else 409, what, headers)
            return
        names = tuple(each["value"] for each in payload["identifiers"])
        self.orders.append(Order(names, replaces, payload.get("profile", "")))
        self._send_order(request, len(self.orders) - 1, 201)

    def _send_order(self, request: BaseHTTPRequestHandler, number: int, status: int) -> None:
        order = self.orders[number]
        body = {
            "status": "valid" if order.chain else "ready",
            "identifiers": [{"type": "dns", "value": name} for name in order.names],
            "authorizations": [f"{self._base}/authorization/{name}" for name in order.names],
            "finalize": f"{self._base}/finalize/{number}",
            **({"certificate": f"{self._base}/certificate/{number}"} if order.chain else {}),
        }
        self._send(request, status, body, {"Location": f"{self._base}/order/{number}"})

    def _issue(self, number: int, wanted: x509.CertificateSigningRequest) -> None:
        key = ec.generate_private_key(ec.SECP256R1()).public_key() if self.foreign_key else wanted.public_key()
        order = self.orders[number]
        order.chain = self.issuer.certify(key, self.names or order.names, self.days)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: object, headers: Mapping[str, str] | None = None
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        kind = "application/pem-certificate-chain" if isinstance(body, bytes) else "application/json"
        for key, value in {"Content-Type": kind, "Replay-Nonce": "bm9uY2U", **(headers or {})}.items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
