"""How this server proves to an authority that a name is its own: four ways, each a context in which the proofs stand.

    with responder(task, notes)(proofs):        # published
        ...                                     # the authority looks
                                                # taken away again, whatever happened

`http-01` is answered on port 80 by a listener of our own, or by files below the folder of a web server
(`acme_webroot`); `tls-alpn-01` on port 443 (RFC 8737); `dns-01` by a command or by RFC 2136. What is published needs no
secrecy, and is good for this one order.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import msgspec
from acme import challenges
from josepy.jwk import JWK

from valija.folders import make_open
from valija.tls.acme_alpn import answer_tls
from valija.tls.acme_dns import hooked_records, updated_records
from valija.tls.acme_listener import answer_http
from valija.tls.acme_task import AcmeTask, ChallengeUnready

HTTP_PATH: Final = "/.well-known/acme-challenge/"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,512}", re.ASCII)


class Proof(msgspec.Struct, frozen=True):
    """What is to be published for one name. `record` is the TXT record's value for `dns-01`."""

    name: str
    token: str
    authorization: str
    record: str


Responder = Callable[[Sequence[Proof]], AbstractContextManager[None]]


@challenges.ChallengeResponse.register
class TlsAlpnResponse(challenges.KeyAuthorizationChallengeResponse):
    """The answer to a `tls-alpn-01` challenge; the library knows it no more."""

    typ = "tls-alpn-01"


@challenges.Challenge.register
class TlsAlpn(challenges.KeyAuthorizationChallenge):
    """The `tls-alpn-01` challenge (RFC 8737)."""

    response_cls = TlsAlpnResponse
    typ = TlsAlpnResponse.typ

    def validation(self, account_key: JWK, **_: Any) -> str:
        """Return what the certificate shows the digest of."""
        return self.key_authorization(account_key)


def proof_of(name: str, challenge: challenges.KeyAuthorizationChallenge, key: JWK) -> Proof:
    """Return what proves `name`. Raises ChallengeUnready for a token that is none."""
    token = challenge.encode("token")
    if not _TOKEN.fullmatch(token):
        raise ChallengeUnready(f"the authority sent a token that is none: {token[:80]!r}")
    record = challenge.validation(key) if isinstance(challenge, challenges.DNS01) else ""
    return Proof(name, token, challenge.key_authorization(key), record)


def responder(task: AcmeTask, notes: list[str]) -> Responder:
    """Return the way that the configuration chooses. Raises ChallengeUnready where something is missing for it."""
    options = task.options
    if options.acme_challenge == "dns-01":
        return _by_dns(task, notes)
    if options.acme_challenge == "http-01" and options.acme_webroot:
        return lambda proofs: _files(Path(options.acme_webroot), proofs)
    if not task.sockets:
        port = "acme_alpn_listen" if options.acme_challenge == "tls-alpn-01" else "acme_http_listen"
        raise ChallengeUnready(f"[tls] {port} was not bound at the start; restart the server")
    if options.acme_challenge == "tls-alpn-01":
        return lambda proofs: answer_tls(task.sockets, {each.name: each.authorization for each in proofs})
    return lambda proofs: answer_http(task.sockets, {HTTP_PATH + each.token: each.authorization for each in proofs})


def _by_dns(task: AcmeTask, notes: list[str]) -> Responder:
    options = task.options
    if options.acme_dns_hook:
        return lambda proofs: hooked_records(options, [(each.name, each.record) for each in proofs], notes)
    return lambda proofs: updated_records(options, [(each.name, each.record) for each in proofs], notes)


@contextlib.contextmanager
def _files(webroot: Path, proofs: Sequence[Proof]) -> Iterator[None]:
    """Lay the proofs where another program serves port 80 from."""
    folder = webroot / HTTP_PATH.strip("/")
    written: list[Path] = []
    try:
        try:
            make_open(folder)
            for proof in proofs:
                path = folder / proof.token
                path.write_text(proof.authorization)
                written.append(path)
                path.chmod(0o644)
        except OSError as error:
            remedy = f"let the service's user write below {folder}"
            raise ChallengeUnready(f'[tls] acme_webroot = "{webroot}": {error.strerror}; {remedy}') from None
        yield
    finally:
        for path in written:
            path.unlink(missing_ok=True)
