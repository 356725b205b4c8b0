"""One task at an authority: ordering a certificate, or asking when the current one should be renewed (RFC 8555, 9773).

    answer = run(task)             # never raises: what went wrong is in the answer, in words

An order: account, order, a proof for each name that the authority wants one for, the request with a new key, the chain.
The key is made here for each certificate, unless the old one is to stay, and leaves this process only in the answer.
"""

import base64
import datetime
from collections.abc import Iterator
from typing import Final

import requests
from acme import challenges, crypto_util, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError

from valija.tls.acme_challenges import Proof, proof_of, responder
from valija.tls.acme_client import AccountUnusable, Client, connect, private_pem, reach
from valija.tls.acme_schedule import FailureKind
from valija.tls.acme_task import AcmeAnswer, AcmeFailure, AcmeTask, ChallengeUnready
from valija.tls.contexts import TrustUnusable

VALIDATION: Final = 120.0  # seconds for the authority to look at all proofs
ISSUANCE: Final = 120.0  # seconds for it to sign
_LONGEST_REASON: Final = 1000  # characters

_OURS = (AccountUnusable, ChallengeUnready, TrustUnusable)
_AWAY = (requests.RequestException, errors.ClientError, errors.TimeoutError, errors.NonceError, JoseError)
_THEIR_TROUBLE: Final = frozenset({"serverInternal", "badNonce"})


class NoChallenge(Exception):
    """The authority does not offer the kind of proof that is chosen; the message says what it offers."""


def run(task: AcmeTask) -> AcmeAnswer:
    """Do what is asked."""
    notes: list[str] = []
    client: Client | None = None
    try:
        client = reach(task) if task.what == "ask" else connect(task)
        answer = _ask(client, task) if task.what == "ask" else _order(client, task, notes)
        return AcmeAnswer(answer.chain_pem, answer.key_pem, answer.window, answer.retry_after, notes=tuple(notes))
    except Exception as error:
        kind, reason = explain(error)
        retry_after = client.network.retry_after if client else 0.0
        return AcmeAnswer(failure=AcmeFailure(kind, reason[:_LONGEST_REASON], retry_after), notes=tuple(notes))


def _ask(client: Client, task: AcmeTask) -> AcmeAnswer:
    """Ask for the window in which the current certificate should be renewed."""
    if "renewalInfo" not in client.directory.to_partial_json():
        return AcmeAnswer()
    url = f"{client.directory['renewalInfo'].rstrip('/')}/{renewal_id(_leaf(task.current_pem))}"
    told = messages.RenewalInfo.from_json(client.net.get(url).json()).suggested_window
    return AcmeAnswer(window=(told.start.timestamp(), told.end.timestamp()), retry_after=client.network.retry_after)


def _order(client: Client, task: AcmeTask, notes: list[str]) -> AcmeAnswer:
    key_pem = task.key_pem.encode("ascii") or private_pem(ec.generate_private_key(ec.SECP256R1()))
    request = crypto_util.make_csr(key_pem, list(task.names))
    order = _new_order(client, request, task)
    wanted = list(_challenges(client, order, task.options.acme_challenge))
    if wanted:
        with responder(task, notes)([proof for _, proof in wanted]):
            for body, _ in wanted:
                client.answer_challenge(body, body.chall.response(client.network.account_key))
            order = client.poll_authorizations(order, _deadline(VALIDATION))
    order = client.finalize_order(order, _deadline(ISSUANCE))
    return AcmeAnswer(order.fullchain_pem, key_pem.decode("ascii"))


def _new_order(client: Client, request: bytes, task: AcmeTask) -> messages.OrderResource:
    profile = task.options.acme_profile or None
    if task.current_pem and "renewalInfo" in client.directory.to_partial_json():
        client.replaces = renewal_id(_leaf(task.current_pem))
        try:
            return client.new_order(request, profile)
        except (errors.ConflictError, messages.Error) as error:
            if isinstance(error, messages.Error) and error.code == "rateLimited":
                raise
            client.replaces = ""  # it is replaced already, or not theirs: that is no reason to go without
    return client.new_order(request, profile)


def _challenges(
    client: Client, order: messages.OrderResource, kind: str
) -> Iterator[tuple[messages.ChallengeBody, Proof]]:
    """Yield the challenge of each name that is not proven yet. Raises NoChallenge."""
    for authorization in order.authorizations:
        if authorization.body.status == messages.STATUS_VALID:
            continue
        name = authorization.body.identifier.value
        offered = {each.chall.typ: each for each in authorization.body.challenges if _is_known(each)}
        if kind not in offered:
            raise NoChallenge(f"{name}: the authority offers no {kind}, but {', '.join(sorted(offered)) or 'nothing'}")
        body = offered[kind]
        yield body, proof_of(name, body.chall, client.network.account_key)


def _is_known(body: messages.ChallengeBody) -> bool:
    return isinstance(body.chall, challenges.KeyAuthorizationChallenge)


def _deadline(seconds: float) -> datetime.datetime:
    return datetime.datetime.now() + datetime.timedelta(seconds=seconds)  # the library compares with local time


def renewal_id(leaf: x509.Certificate) -> str:
    """Return what a certificate is called in questions for its renewal (RFC 9773 section 4.1). Raises ValueError."""
    try:
        issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    except x509.ExtensionNotFound:
        raise ValueError("the certificate does not say which key signed it") from None
    number = leaf.serial_number
    serial = number.to_bytes(number.bit_length() // 8 + 1, "big")  # room for the sign, as in DER
    return ".".join(base64.urlsafe_b64encode(each).decode("ascii").rstrip("=") for each in (issuer, serial))


def _leaf(chain_pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain_pem.encode("ascii"))[0]


# What went wrong, in words


def explain(error: Exception) -> tuple[FailureKind, str]:
    """Return what kind of failure an exception is, and its story."""
    if isinstance(error, _OURS):
        return "ours", str(error)
    if isinstance(error, NoChallenge):
        return "refused", f"{error}; choose another [tls] acme_challenge"
    if isinstance(error, errors.ValidationError):
        return "challenge", "; ".join(_failed_proofs(error)) or "the authority found the proofs wrong"
    if isinstance(error, errors.IssuanceError):
        return _explain_problem(error.error)
    if isinstance(error, messages.Error):
        return _explain_problem(error)
    if isinstance(error, errors.TimeoutError):
        return "unreachable", "the authority came to no result in time"
    if isinstance(error, requests.exceptions.SSLError):
        return (
            "unreachable",
            f"the authority's own certificate is not trusted ({_inmost(error)}); see [tls] acme_ca_file",
        )
    if isinstance(error, _AWAY):
        return "unreachable", f"the authority cannot be used: {_inmost(error)}"
    if isinstance(error, OSError):
        return "ours", f"{error.filename or 'the system'}: {error.strerror or error}"
    return "ours", f"{type(error).__name__}: {error}"


def _explain_problem(problem: messages.Error) -> tuple[FailureKind, str]:
    words = _words(problem)
    if problem.code == "rateLimited":
        return "rate-limited", words
    if problem.code in _THEIR_TROUBLE:
        return "unreachable", words
    return "refused", words


def _words(problem: messages.Error) -> str:
    told = [f"{problem.code or problem.typ}: {problem.detail or problem.title or 'no word why'}"]
    for each in problem.subproblems or ():
        name = f"{each.identifier.value}: " if each.identifier else ""
        told.append(f"{name}{_words(each)}")
    return "; ".join(told)


def _failed_proofs(error: errors.ValidationError) -> Iterator[str]:
    for authorization in error.failed_authzrs:
        name = authorization.body.identifier.value
        for challenge in authorization.body.challenges:
            if challenge.error is not None:
                yield f"{name}: {challenge.chall.typ} failed: {_words(challenge.error)}"


def _inmost(error: BaseException) -> str:
    """Return the reason at the bottom of the HTTP library's wrappings."""
    reason: object = error
    while isinstance(reason, BaseException):
        below = getattr(reason, "reason", None) or next(
            (each for each in reason.args if isinstance(each, BaseException)), None
        )
        if not isinstance(below, BaseException):
            break
        reason = below
    if isinstance(reason, errors.ClientError) and reason.args and isinstance(reason.args[0], requests.Response):
        return f"it answered HTTP {reason.args[0].status_code}"
    return str(reason) or type(reason).__name__
