"""Logging in at the servers that we hand mail to (RFC 4954), and what becomes of the mail where that fails.

    logins = Logins([LoginOptions("work", user="alice", password_file="...")], tokens_dir, log)
    failure = await logins.obstacle(route)          # before connecting: is there any point in it?
    failure = await logins.log_in(session, route)   # in a session that said EHLO inside TLS

A route names its login. Nothing that fails here makes mail bounce: the sender can't help that the postmaster's password
is wrong. It is said once in the log, at error level, and the login is not tried again for a while, unless its files are
changed meanwhile; until one try has gone well no two go on at once. Providers count wrong passwords.

How far the peer has to be known before a secret is shown to it is for the TLS policy to say: see policy/tls. Here no
mechanism is used in clear, whatever the policy said.

Known weakness: a login that is refused at one host of a next hop is not tried at its others.
"""

import asyncio
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from valija.auth.password import opaque_string
from valija.deliver.credentials import LoginOptions
from valija.deliver.errand import Failure
from valija.deliver.session import Session
from valija.logs import Log
from valija.mail.job import Route
from valija.mail.reply import Reply
from valija.secret_file import SecretUnusable, read_secret
from valija.smtp.client_events import LoginRefused, SessionEnded
from valija.smtp.client_login import Login
from valija.smtp.client_sasl import MECHANISMS, SCRAM_PLUS, WITH_TOKEN, Secret, strongest
from valija.tls.end_point import peer_end_point

if TYPE_CHECKING:
    from valija.deliver.tokens import Tokens

PAUSE: Final = 300.0  # seconds without a try after a refusal
_OURS: Final = 454  # temporary authentication failure (RFC 4954 section 6)
_NONCE: Final = 18  # octets

_Stamps = tuple[tuple[int, int] | None, ...]


class _NotLetIn(Exception):
    """What the postmaster has to mend: trying again at once would change nothing."""

    def __init__(self, enhanced: str, words: str) -> None:
        super().__init__(words)
        self.reply = Reply(_OURS, enhanced, words)


class _Standing:
    """How a login fares at one next hop. Times are the loop's."""

    def __init__(self, options: LoginOptions) -> None:
        self.options = options
        self.turn = asyncio.Lock()
        self.is_proven = False
        self.refusal: Reply | None = None
        self._until = 0.0
        self._stamps: _Stamps = ()
        self._said = ""

    def bar(self, refusal: Reply, now: float) -> None:
        """Let nobody try for a while."""
        self.is_proven = False
        self.refusal = refusal
        self._until = now + PAUSE
        self._stamps = _stamps_of(self.options)

    def barred(self, now: float) -> Reply | None:
        """Return why there is no point in trying now. Other files are another try."""
        if self.refusal and (now >= self._until or _stamps_of(self.options) != self._stamps):
            self.refusal = None
        return self.refusal

    def prove(self) -> None:
        """It went well."""
        self.is_proven = True
        self.refusal = None
        self._said = ""

    def is_news(self, why: str) -> bool:
        """Whether this has not been said before."""
        is_news = why != self._said
        self._said = why
        return is_news


class Logins:
    """The logins of a configuration. Made in the loop that will use them; `tokens_dir` is where tokens are kept."""

    def __init__(self, options: Iterable[LoginOptions], tokens_dir: Path, log: Log) -> None:
        self._options = {each.name: each for each in options}
        self._tokens_dir = tokens_dir
        self._log = log
        self._standings: dict[tuple[str, str, int], _Standing] = {}
        self._tokens: dict[str, Tokens] = {}

    async def obstacle(self, route: Route) -> Failure | None:
        """Return why a connection for a route with a login would be in vain, None where it is worth a try."""
        if route.login not in self._options:
            return unknown_login(route)
        standing = self._standing(route)
        if refusal := standing.barred(_now()):
            return Failure(refusal)
        try:
            await self._secret_of(standing.options)
        except SecretUnusable as unusable:
            return self._unusable(standing, route, unusable)
        return None

    async def log_in(self, session: Session, route: Route) -> Failure | None:
        """Log in as the route says; return why that did not come about. Mail may be sent after None only."""
        standing = self._standing(route)
        session.deadline = float("inf")  # it is us who keep the peer waiting
        if standing.is_proven:
            return await self._try(session, route, standing)
        async with standing.turn:
            if refusal := standing.barred(_now()):
                return Failure(refusal, session.peer)
            return await self._try(session, route, standing)

    def look_again(self) -> None:
        """Have logins that were refused tried at once, as somebody asks for it."""
        for standing in self._standings.values():
            standing.refusal = None

    def _standing(self, route: Route) -> _Standing:
        key = route.login, route.next_hop, route.port
        if key not in self._standings:
            self._standings[key] = _Standing(self._options[route.login])
        return self._standings[key]

    async def _try(self, session: Session, route: Route, standing: _Standing) -> Failure | None:
        try:
            failure = await self._exchange(session, standing.options)
        except _NotLetIn as refusal:
            return self._refused(session, route, standing, refusal.reply)
        except SecretUnusable as unusable:
            return self._unusable(standing, route, unusable)
        if failure is None:
            standing.prove()
        return failure

    async def _exchange(self, session: Session, options: LoginOptions) -> Failure | None:
        """Say and hear it all; return a failure that may pass by itself. Raises _NotLetIn, SecretUnusable."""
        host, name = session.target.host, options.name
        if not session.machine.tls_active:
            raise _NotLetIn("4.7.4", f"The login {name} is not shown to {host}: there is no TLS")
        secret = await self._secret_of(options)
        if not session.machine.ended:
            session.log_in(_begin(options, secret, session))
        event = await session.event()
        if isinstance(event, SessionEnded):
            return Failure(event.reply, session.peer, event.by_peer)
        if not isinstance(event, LoginRefused):
            return None
        if options.has_tokens:
            self._tokens[name].forget(secret)  # whatever is wrong with it, the next one is a fresh one
        if event.why_not:
            raise _NotLetIn("4.7.8", f"{host} is not to be trusted with the login {name}: {event.why_not}")
        if event.reply.is_permanent:
            raise _NotLetIn("4.7.8", f"{host} refuses the login {name}: {event.reply}")
        return Failure(event.reply, session.peer, by_peer=True)

    def _refused(self, session: Session, route: Route, standing: _Standing, reply: Reply) -> Failure:
        standing.bar(reply, _now())
        if standing.is_news(reply.text):
            self._log.error(
                "cannot log in",
                login=route.login,
                next_hop=route.next_hop,
                remote=str(session.target),
                reason=reply.text,
                tried_again=f"in {PAUSE:g} s, or when its files change",
            )
        return Failure(reply, session.peer)

    def _unusable(self, standing: _Standing, route: Route, unusable: SecretUnusable) -> Failure:
        """The sender is not told of files and providers; the log is."""
        if standing.is_news(str(unusable)):
            self._log.error("cannot log in", login=route.login, next_hop=route.next_hop, reason=str(unusable))
        return Failure(Reply(_OURS, "4.7.0", f"The login {route.login} at {route.next_hop} can't be used now"))

    async def _secret_of(self, options: LoginOptions) -> str:
        """Return the password, or a token that is good now. Raises SecretUnusable."""
        if not options.has_tokens:
            return read_secret(options.password_file)
        if options.name not in self._tokens:
            from valija.deliver.tokens import Tokens  # with its HTTP client, which few need and is slow to import

            self._tokens[options.name] = Tokens(options, self._tokens_dir)
        return await self._tokens[options.name].access_token()


def unknown_login(route: Route) -> Failure:
    """Return why a route can't be taken whose login there was when it was chosen, and is not any more."""
    return Failure(Reply(_OURS, "4.3.5", f"The login {route.login} is not configured any more"))


def _begin(options: LoginOptions, secret: str, session: Session) -> Login:
    """Return a login by the best mechanism there is. Raises _NotLetIn where there is none."""
    offered = session.machine.capabilities.auth
    binding = peer_end_point(session.transport)
    mechanism = choose(options, offered, can_bind=bool(binding))
    if not mechanism:
        what = " ".join(offered) or "none at all"
        raise _NotLetIn("4.7.4", f"{session.target.host} has no mechanism for the login {options.name}: it has {what}")
    has_token = mechanism in WITH_TOKEN
    return Login(
        mechanism,
        Secret(
            options.user,
            b"" if has_token else opaque_string(secret).encode(),
            token=secret if has_token else "",
            nonce=secrets.token_urlsafe(_NONCE),
            binding=binding,
            server_binds=SCRAM_PLUS in offered,
            host=session.target.host,
            port=session.target.port,
        ),
    )


def choose(options: LoginOptions, offered: Iterable[str], *, can_bind: bool) -> str:
    """Return the mechanism to use inside TLS, `""` where the server offers none that will do."""
    fit = [each for each in offered if each in (options.mechanisms or MECHANISMS)]
    if options.has_tokens:
        return next((each for each in ("OAUTHBEARER", "XOAUTH2") if each in fit), "")
    return strongest(fit, is_secure=True, can_bind=can_bind)


def _stamps_of(options: LoginOptions) -> _Stamps:
    return tuple(_stamp(file) for file in options.files)


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _now() -> float:
    return asyncio.get_running_loop().time()
