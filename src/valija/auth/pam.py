"""The system's users as a back end: PLAIN and LOGIN, judged by PAM, inside TLS only.

    backend = PamBackend(link, domains=("example.org",), log=log)
    exchange = backend.start("PLAIN", facts)
    await exchange.respond(b"\\0alice@example.org\\0secret")      # Success("alice")

PAM needs root, which this process is not: a Judge stands between them (valija/warden). A login is the user's name, or
that name in a hosted domain, as mail programs send it; both are the same login, without a domain. A name in another
domain is taken whole, for directories whose users are called that. The name is looked up as it is written, then in
ASCII lower case. Root may not log in by mail, whatever PAM says; who else may is PAM's to say.

PAM asks for a wrong answer to be held back (some 2 s). That wait is spent here, where it costs a timer, not there,
where it would hold a process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Literal, Protocol

import msgspec

from valija.auth.backend import ConnectionFacts, Exchange, Step, Success, Unavailable, Wrong
from valija.auth.password_exchange import PasswordExchange
from valija.logs import Log
from valija.mail.address import AddressError, fold_case, normalise_domain, split
from valija.smtp import sasl

LONGEST_NAME: Final = 256  # octets
LONGEST_PASSWORD: Final = 511  # octets, what PAM takes (PAM_MAX_RESP_SIZE)
PATIENCE: Final = 5.5  # seconds for PAM, and for the delay it wants; the guard may take 3 of the 9 that a login has

Outcome = Literal["right", "wrong", "unavailable"]


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What PAM said. `login` is the system's spelling; `delay`, in seconds, is what PAM wants the answer held back."""

    outcome: Outcome
    login: str = ""
    delay: float = 0.0
    detail: str = ""


class Judge(Protocol):
    """Who may ask PAM."""

    async def judge(self, names: Sequence[str], password: bytes) -> Verdict:
        """Return what PAM says of the first of `names` that the system knows. Never raises but CancelledError."""


class Nobody:
    """The judge where there is none: a server that was not started as root, or not for PAM."""

    async def judge(self, names: Sequence[str], password: bytes) -> Verdict:
        """Nobody can tell."""
        return Verdict("unavailable", detail="nobody here may ask PAM: restart valija as root")


# Linux-PAM's return codes (pam_authenticate(3), pam_acct_mgmt(3)) that say something of this user and this password.
# All others tell that something is broken, and a broken PAM must not make mail programs forget passwords.
_WRONG: Final[dict[int, str]] = {
    6: "permission denied",
    7: "",  # a wrong password, which needs no explanation
    8: "more than a password is wanted",
    10: "",  # an unknown user
    11: "too many wrong passwords",
    12: "the password has expired",
    13: "the account has expired",
    27: "the password has expired",
}
_RIGHT: Final = 0


def outcome_of(code: int) -> Outcome:
    """Return what a code of PAM's means for a login."""
    return "right" if code == _RIGHT else "wrong" if code in _WRONG else "unavailable"


def reason_of(code: int, words: str) -> str:
    """Return in words, for the log, what a name and a password do not explain; `words` are PAM's own."""
    return "" if code == _RIGHT else _WRONG.get(code, f"PAM: {words} (code {code})")


def names_for(claimed: str, domains: Collection[str]) -> tuple[str, ...]:
    """Return the users that a claimed login may stand for, in the order they are looked up.

    >>> names_for("Alice@Example.ORG", {"example.org"})
    ('Alice', 'alice')
    """
    local, domain = split(claimed) if "@" in claimed else (claimed, "")
    name = local if domain and _is_hosted(domain, domains) else claimed
    return tuple(dict.fromkeys((name, fold_case(name)))) if name else ()


def _is_hosted(domain: str, domains: Collection[str]) -> bool:
    try:
        return normalise_domain(domain) in domains
    except AddressError:
        return False


class PamBackend:
    """An AuthBackend over PAM. `domains` are the hosted ones, lower-case A-labels."""

    def __init__(
        self,
        judge: Judge,
        domains: Collection[str],
        log: Log,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._judge = judge
        self._domains = domains
        self._log = log
        self._sleep = sleep

    def mechanisms(self) -> tuple[str, ...]:
        """Both mechanisms, always: PAM is asked when somebody logs in."""
        return tuple(sasl.EXCHANGES)

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange; None for other mechanisms, and in clear, where a password must not travel."""
        machine = sasl.EXCHANGES.get(mechanism.upper())
        return PasswordExchange(machine(), self.verify) if machine and facts.secured else None

    def close(self) -> None:
        """Nothing is held: the judge is the worker's."""

    async def verify(self, credentials: sasl.Credentials) -> Step:
        """Tell whether the credentials are right."""
        claimed = credentials.authcid
        names = names_for(claimed, self._domains)
        if not _can_be_right(credentials, names, names_for(credentials.authzid, self._domains)):
            return Wrong(claimed)
        asked = asyncio.get_running_loop().time()
        verdict = await self._judge.judge(names, credentials.password)
        if verdict.outcome == "right" and verdict.login:
            return Success(verdict.login)
        if verdict.outcome != "wrong":
            return Unavailable(verdict.detail or "PAM gave no answer")
        if verdict.detail:
            self._log.warning("PAM lets nobody in", login=claimed, reason=verdict.detail)
        # From the question on, so that the time tells nothing of whether there is such a user.
        spent = asyncio.get_running_loop().time() - asked
        await self._sleep(max(0.0, min(verdict.delay, PATIENCE) - spent))
        return Wrong(claimed)


def _can_be_right(credentials: sasl.Credentials, names: tuple[str, ...], acts_as: tuple[str, ...]) -> bool:
    """Whether PAM need be asked at all. It is never given an empty password: a module may let everybody in then (C042).

    One with a NUL would be cut there, and judged by its beginning.
    """
    password = credentials.password
    return (
        bool(names and password)
        and len(names[0].encode()) <= LONGEST_NAME
        and len(password) <= LONGEST_PASSWORD
        and b"\0" not in password
        and (not credentials.authzid or acts_as == names)
    )
