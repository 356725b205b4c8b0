"""OAUTHBEARER (RFC 7628) and XOAUTH2: logins by the token of an identity provider.

    backend = oauth_backend(options, account_logins(accounts), log)
    exchange = backend.start("OAUTHBEARER", facts)
    await exchange.respond(b"n,a=alice@example.org,\\x01auth=Bearer eyJhbGci...\\x01\\x01")
    # Success("alice@example.org")

The claim of the token that `oauth_login_claim` names has to be a login here, and what the client says it is, if it says
so. A token that is not good is answered by the mechanism's own challenge, and after that by Wrong; an issuer that can't
be asked is Unavailable. The log has the reason, never the token.

A token may have as many octets as a line of AUTH takes: 12,288 in base64, some 9,000 before it (RFC 4954 section 4).
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from valija.auth.backend import Challenge, ConnectionFacts, Exchange, Malformed, Step, Success, Unavailable, Wrong
from valija.auth.identities import LoginOf
from valija.auth.oauth_claims import ClaimRules, Rejected
from valija.auth.oauth_http import LONGEST_BODY, IssuerAway, IssuerHttp
from valija.auth.oauth_keys import IssuerKeys
from valija.auth.oauth_tokens import IntrospectedTokens, SignedTokens, TokenVerifier
from valija.auth.options import OauthOptions
from valija.logs import Log
from valija.smtp import sasl
from valija.smtp.sasl_oauth import BEARERS, Bearer, BearerMechanism

_OTHERS: Final = 0o007


def oauth_backend(
    options: OauthOptions, login_of: LoginOf, log: Log, clock: Callable[[], float] = time.time
) -> "OauthBackend":
    """Return the back end that the options describe. Made in the loop that will use it."""
    http = IssuerHttp(options.ca_file)
    is_signed = not options.introspection_url
    rules = ClaimRules(options.issuer, options.audience, options.login_claim, is_complete=is_signed)
    if not is_signed:
        verifier: TokenVerifier = IntrospectedTokens(partial(_introspect, http, options), rules, clock)
    else:
        verifier = SignedTokens(IssuerKeys(partial(_key_set, http, options), clock), rules, clock)
    return OauthBackend(verifier, options.issuer, login_of, log)


async def _key_set(http: IssuerHttp, options: OauthOptions) -> bytes:
    return await http.get(options.jwks_url) if options.jwks_url else _read(options.jwks_file)


async def _introspect(http: IssuerHttp, options: OauthOptions, token: str) -> bytes:
    client = None
    if options.client_id:
        client = options.client_id, _read(options.client_secret_file, is_secret=True).decode().strip()
    return await http.post(options.introspection_url, {"token": token, "token_type_hint": "access_token"}, client)


def _read(file: str, *, is_secret: bool = False) -> bytes:
    """Return what a small file holds. Raises IssuerAway: who tells about tokens can't be asked without it."""
    path = Path(file)
    try:
        if is_secret and path.stat().st_mode & _OTHERS:
            raise IssuerAway(f"{file}: others can read this secret; chmod 0640 {file}")
        with path.open("rb") as content:
            return content.read(LONGEST_BODY)
    except OSError as error:
        raise IssuerAway(f"{file}: {error.strerror}; let the service's user read it") from None


class OauthBackend:
    """An AuthBackend for both mechanisms. `issuer` is named to clients whose token is refused."""

    def __init__(self, verifier: TokenVerifier, issuer: str, login_of: LoginOf, log: Log) -> None:
        self.issuer = issuer
        self._verifier = verifier
        self._login_of = login_of
        self._log = log

    def mechanisms(self) -> tuple[str, ...]:
        """Both."""
        return tuple(BEARERS)

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange; None for other mechanisms, and in clear, where a token must not travel."""
        bearers = BEARERS.get(mechanism.upper())
        return _Exchange(self, bearers, facts.client_address) if bearers and facts.secured else None

    def close(self) -> None:
        """There is nothing to let go of."""

    async def login(self, bearer: Bearer, client: str) -> str | None:
        """Return the login of a token's bearer, None where it is not good for one. Raises IssuerAway and others."""
        verdict = await self._verifier.verify(bearer.token) if bearer.token else Rejected("there is none")
        if isinstance(verdict, Rejected):
            self._log.info("token refused", client=client, login=bearer.authzid, reason=verdict.reason)
            return None
        login = self._login_of(verdict.name)
        if login is None or (bearer.authzid and self._login_of(bearer.authzid) != login):
            reason = "it is another's" if login else "there is no such login"
            self._log.info("token refused", client=client, login=bearer.authzid, names=verdict.name, reason=reason)
            return None
        return login


class _Exchange:
    def __init__(self, backend: OauthBackend, bearers: BearerMechanism, client: str) -> None:
        self._backend = backend
        self._bearers = bearers
        self._client = client
        self._refused: str | None = None

    async def respond(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"")
        if self._refused is not None:
            return Wrong(self._refused)
        bearer = self._bearers.parse(response)
        if isinstance(bearer, sasl.Malformed):
            return Malformed()
        try:
            login = await self._backend.login(bearer, self._client)
        except IssuerAway as away:
            return Unavailable(str(away))
        except Exception as error:  # a fault of ours must not make a mail program forget its token
            return Unavailable(f"{type(error).__name__}: {error}")
        if login is not None:
            return Success(login)
        self._refused = bearer.authzid
        return Challenge(self._bearers.refusal(self._backend.issuer))

    def cancel(self) -> None:
        """Nothing is held between two responses."""
