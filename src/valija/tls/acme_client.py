"""The connection to an authority, by the `acme` library: whom it trusts, how patient it is, and our account there.

    client = connect(task)                      # registers with the account's key where that is new
    order = client.new_order(csr_pem)

The authority's own certificate is checked as that of any server (`acme_ca_file`, SSL_CERT_FILE, the system's store),
and not by the list that the HTTP library brings along. Imported by the short-lived process alone.

Known weakness: an authority that demands an external account binding is not supported.
"""

import os
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import requests
from acme import errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.json_util import field
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC
from josepy.util import ComparableECKey
from requests.adapters import HTTPAdapter

from valija import __version__
from valija.tls.acme_files import ACCOUNT_KEY, make_private, write_private
from valija.tls.acme_task import AcmeTask
from valija.tls.contexts import client_context

TIMEOUT: Final = 30  # seconds for one exchange
_NONCES: Final = 6  # tries of one request whose nonces the authority refuses (RFC 8555 section 6.5)


class AccountUnusable(Exception):
    """There can be no account at the authority; the message says why."""


class Network(ClientNetwork):
    """The library's, with our trust, more patience for nonces, and a memory for Retry-After."""

    def __init__(self, key: JWK, ca_file: str) -> None:
        super().__init__(key, alg=ES256, user_agent=f"valija/{__version__}", timeout=TIMEOUT)
        self.session.mount("https://", _OwnTrust(ca_file))
        self.session.hooks["response"] = [self._note]
        self.account_key = key
        self.retry_after = 0.0

    def _note(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self.retry_after = seconds_of(response.headers.get("Retry-After", ""), time.time)

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Post, with a new nonce where one is refused."""
        for _ in range(_NONCES - 1):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **kwargs)


class _OwnTrust(HTTPAdapter):
    """Checks servers with the context that all of the server's connections use."""

    def __init__(self, ca_file: str) -> None:
        self._context = client_context(verify=True, ca_file=ca_file)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)  # type: ignore[no-untyped-call, unused-ignore]  # typed in some versions

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, ssl_context=self._context, **kwargs)  # type: ignore[no-untyped-call, unused-ignore]  # typed in some versions

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        return super().build_connection_pool_key_attributes(request, True, cert)  # nor does REQUESTS_CA_BUNDLE count

    def cert_verify(self, conn: Any, *_: Any, **__: Any) -> None:
        conn.cert_reqs = "CERT_REQUIRED"  # by the context's own authorities: none are added to them


class ReplacingOrder(messages.NewOrder):
    """An order that says which certificate it takes the place of (RFC 9773 section 5)."""

    replaces: str = field("replaces", omitempty=True)


class Client(ClientV2):
    """The library's, whose orders can name the certificate they replace."""

    replaces = ""

    def __init__(self, directory: messages.Directory, network: Network) -> None:
        super().__init__(directory, network)
        self.network = network

    def _post(self, url: str, obj: Any, *args: Any, **kwargs: Any) -> requests.Response:
        if self.replaces and isinstance(obj, messages.NewOrder):
            obj = ReplacingOrder(identifiers=obj.identifiers, profile=obj.profile, replaces=self.replaces)
        return super()._post(url, obj, *args, **kwargs)

    def get_directory_meta(self, name: str) -> Any:
        """Return what the directory says of itself by this name, None where it says nothing."""
        meta = self.directory["meta"] if "meta" in self.directory.to_partial_json() else None
        return getattr(meta, name, None)


def reach(task: AcmeTask) -> Client:
    """Return a client that knows the authority's directory and has an account's key, but speaks for no account yet."""
    network = Network(account_key(Path(task.folder)), task.options.acme_ca_file)
    return Client(Client.get_directory(task.options.acme_directory, network), network)


def connect(task: AcmeTask) -> Client:
    """Return a client with an account: the one that the key has, or a new one. Raises AccountUnusable."""
    client = reach(task)
    if client.get_directory_meta("external_account_required"):
        raise AccountUnusable(
            "this authority wants an external account binding, which valija does not know; choose another"
        )
    contact = (f"mailto:{task.options.acme_email}",) if task.options.acme_email else ()
    wanted = messages.NewRegistration(contact=contact, terms_of_service_agreed=True)
    try:
        client.new_account(wanted)
    except errors.ConflictError as known:
        _take_up(client, known.location, contact)
    return client


def _take_up(client: Client, location: str, contact: tuple[str, ...]) -> None:
    account = messages.RegistrationResource(uri=location, body=messages.Registration())
    account = client.query_registration(account)
    if contact and account.body.contact != contact:
        client.update_registration(account, messages.Registration(contact=contact))


def account_key(folder: Path) -> JWKEC:
    """Return the account's key at this authority, made where there is none. Raises OSError, AccountUnusable."""
    path = folder / ACCOUNT_KEY
    make_private(folder)
    if not path.exists():
        fresh = ec.generate_private_key(ec.SECP256R1())
        write_private(path, private_pem(fresh))
    if os.stat(path).st_mode & 0o077:
        raise AccountUnusable(f"{path}: it is a key that others can use; chmod 0600 {path}")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AccountUnusable(f"{path}: there is no usable key in it; move it away, and a new account is made")
    return JWKEC(key=ComparableECKey(key))


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def seconds_of(header: str, clock: Callable[[], float]) -> float:
    """Return what a Retry-After field asks for, in seconds; 0 where it says nothing that makes sense (RFC 9110)."""
    if re.fullmatch(r"\d{1,9}", header, re.ASCII):
        return float(header)
    try:
        return max(parsedate_to_datetime(header).timestamp() - clock(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0
