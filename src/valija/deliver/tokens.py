"""Access tokens for a login, from a refresh token (RFC 6749 section 6), as XOAUTH2 and OAUTHBEARER want them.

    tokens = Tokens(options, tokens_dir)
    token = await tokens.access_token()     # raises NoToken, a SecretUnusable
    tokens.forget(token)                    # the server would not have it: never again this one

A token is used until shortly before it expires. Whoever asks while one is being fetched gets that one, and the workers
fetch one after the other: a lock tells the second that the first has brought one for both.

The file that is configured holds the refresh token that was granted first, and is only read. A provider may give out
another one with each answer, and take the one before no more: it is kept, with the access token, in a file of our own
in `tokens_dir`, replaced whole and synced before it is used. A new token in the configured file counts at once.

A fetch that failed is not repeated for a minute.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from valija.auth.oauth_http import IssuerAway, IssuerHttp
from valija.deliver.credentials import LoginOptions
from valija.mail.unreadable import UNREADABLE
from valija.secret_file import SecretUnusable, read_secret

PATIENCE: Final = 10.0  # seconds for the provider
PAUSE: Final = 60.0  # seconds between two fetches where they fail
SHORTLY_BEFORE: Final = 60.0  # seconds of life that a token must have left
_UNTOLD: Final = 300.0  # seconds that a token is used which nobody has told the life of
_LOOK_AGAIN: Final = 0.05  # seconds between two looks at another worker's lock
_LONGEST_ERROR: Final = 200  # characters of what the provider says


class NoToken(SecretUnusable):
    """There is none now; the text says why, and never has one in it."""


class Kept(msgspec.Struct, frozen=True):
    """What the last answer gave. `origin` is the digest of the configured refresh token it goes back to."""

    origin: str = ""
    refresh_token: str = ""
    access_token: str = ""
    stale_at: float = 0.0

    def __repr__(self) -> str:
        return f"Kept(..., stale_at={self.stale_at})"


class _Answer(msgspec.Struct, frozen=True):
    """RFC 6749 section 5.1."""

    access_token: str
    expires_in: float = 0.0
    refresh_token: str = ""


class _Complaint(msgspec.Struct, frozen=True):
    """RFC 6749 section 5.2."""

    error: str
    error_description: str = ""


class Tokens:
    """The tokens of one login. `clock` tells seconds since the epoch."""

    def __init__(self, options: LoginOptions, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._options = options.oauth
        self._file = folder / f"{quote(options.name, safe='')}.json"
        self._clock = clock
        self._http = IssuerHttp(options.oauth.ca_file, PATIENCE)
        self._kept = Kept()
        self._refused = ""
        self._fetching: asyncio.Task[Kept] | None = None
        self._failure: tuple[str, float, NoToken] | None = None  # of which origin, and until when it holds

    async def access_token(self) -> str:
        """Return a token that is good now. Raises NoToken."""
        granted = read_secret(self._options.refresh_token_file)
        origin = hashlib.sha256(granted.encode()).hexdigest()
        if self._is_fresh(self._kept, origin):
            return self._kept.access_token
        if self._failure and self._failure[0] == origin and self._clock() < self._failure[1]:
            raise self._failure[2]
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._renew(granted, origin))
            self._fetching.add_done_callback(self._has_fetched)
        kept = await asyncio.shield(self._fetching)
        return kept.access_token

    def forget(self, token: str) -> None:
        """Use this access token no more."""
        self._refused = token

    def _has_fetched(self, task: asyncio.Task[Kept]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may have

    def _is_fresh(self, kept: Kept, origin: str) -> bool:
        usable = kept.access_token and kept.access_token != self._refused
        return bool(usable) and kept.origin == origin and self._clock() < kept.stale_at

    async def _renew(self, granted: str, origin: str) -> Kept:
        try:
            async with self._alone():
                kept = _read(self._file)
                if not self._is_fresh(kept, origin):
                    kept = await self._fetch(kept.refresh_token if kept.origin == origin else granted, origin)
                    _write(self._file, kept)
        except (IssuerAway, OSError) as error:
            failure = NoToken(_in_words(error))
            self._failure = origin, self._clock() + PAUSE, failure
            raise failure from None
        self._kept = kept
        return kept

    async def _fetch(self, refresh_token: str, origin: str) -> Kept:
        options = self._options
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        if options.scope:
            form["scope"] = options.scope
        client = None
        if options.client_secret_file:
            client = options.client_id, read_secret(options.client_secret_file)
        else:
            form["client_id"] = options.client_id
        began = self._clock()
        answer = _understood(options.token_url, await self._http.post(options.token_url, form, client))
        life = answer.expires_in if answer.expires_in > 0 else _UNTOLD
        stale_at = began + life - min(SHORTLY_BEFORE, life / 10)
        return Kept(origin, answer.refresh_token or refresh_token, answer.access_token, stale_at)

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep the other workers from fetching meanwhile. Raises OSError."""
        self._file.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with asyncio.timeout(2 * PATIENCE):
                while not _take(descriptor):  # noqa: ASYNC110 it is another process that holds it
                    await asyncio.sleep(_LOOK_AGAIN)
            yield
        finally:
            os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: Path) -> Kept:
    """Return what was kept; nothing where there is no such file, or a damaged one. Raises OSError."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Kept)
    except (FileNotFoundError, *UNREADABLE):
        return Kept()


def _write(file: Path, kept: Kept) -> None:
    """Replace the file, durably: the provider may take the token before no more. Raises OSError."""
    fresh = file.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as opened:
        opened.write(msgspec.json.encode(kept))
        opened.flush()
        os.fsync(descriptor)
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _understood(url: str, body: bytes) -> _Answer:
    try:
        answer = msgspec.json.decode(body, type=_Answer, strict=False)
    except UNREADABLE:
        raise IssuerAway(f"{url}: its answer has no access token in it") from None
    token = answer.access_token
    if not (token and token.isascii() and token.isprintable() and " " not in token):
        raise IssuerAway(f"{url}: its access token is none that can be sent")
    return answer


def _in_words(error: IssuerAway | OSError) -> str:
    """Return why there is no token; what the provider says of it is what the postmaster needs most."""
    if isinstance(error, TimeoutError):
        return "there is no token: another worker has been fetching one for too long"
    if isinstance(error, OSError):
        return f"the token can't be kept: {error.filename}: {error.strerror}"
    try:
        complaint = msgspec.json.decode(error.body, type=_Complaint)
    except UNREADABLE:
        return f"there is no token: {error}"
    told = " ".join(part for part in (complaint.error, complaint.error_description) if part)
    remedy = "; grant the access anew" if complaint.error == "invalid_grant" else ""
    return f"there is no token: {error}: {told[:_LONGEST_ERROR]}{remedy}"
