"""What we log in with at other servers: the `[[smtp.login]]` tables, and the files that hold the secrets.

    options = LoginOptions("work", user="alice@example.org", password_file="/etc/valija/work.password")
    read_secret(options.password_file)     # "s3cret"; raises SecretUnusable

A secret is read anew for each use: a file that was changed counts at once, and no memory keeps what it held.
"""

import os
import stat
from typing import Final

import msgspec

LONGEST_SECRET: Final = 16 * 1024  # octets; tokens are the long ones
_OTHERS: Final = stat.S_IRWXO


class SecretUnusable(Exception):
    """A file with a secret that can't be used; the text names it, why, and the remedy."""


class TokenOptions(msgspec.Struct, frozen=True):
    """How to come by access tokens (RFC 6749 section 6): whom to ask, as which client, with which refresh token.

    Without `token_url` there are none. `ca_file` is what its certificate is verified by, `""`: the system's
    authorities. A public client has no `client_secret_file`; without `scope` it is what was granted first.
    """

    token_url: str = ""
    client_id: str = ""
    client_secret_file: str = ""
    refresh_token_file: str = ""
    scope: str = ""
    ca_file: str = ""


class LoginOptions(msgspec.Struct, frozen=True):
    """One login: `user` and a password, or tokens. `name` is what routes call it.

    `mechanisms` are those that may be used, `()`: the strongest that the server offers.
    """

    name: str
    user: str = ""
    password_file: str = ""
    mechanisms: tuple[str, ...] = ()
    oauth: TokenOptions = TokenOptions()

    @property
    def has_tokens(self) -> bool:
        """Whether tokens are used, and no password."""
        return bool(self.oauth.token_url)

    @property
    def files(self) -> tuple[str, ...]:
        """The files with its secrets."""
        oauth = self.oauth
        return tuple(file for file in (self.password_file, oauth.client_secret_file, oauth.refresh_token_file) if file)


def read_secret(file: str) -> str:
    """Return the secret in a file, a line end behind it dropped. Raises SecretUnusable."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would be waited for
        with open(descriptor, "rb") as opened:
            mode = os.fstat(descriptor).st_mode
            content = opened.read(LONGEST_SECRET + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        remedy = "let the service's user read it (chgrp, chmod 0640)"
        remedy = "put it there, or correct its name" if isinstance(error, FileNotFoundError) else remedy
        raise SecretUnusable(f"{file} can't be read: {error.strerror}; {remedy}") from None
    if not stat.S_ISREG(mode):
        raise SecretUnusable(f"{file} is not a file; name the one that holds the secret")
    if mode & _OTHERS:
        raise SecretUnusable(
            f"{file} is a secret that others can use (mode {stat.S_IMODE(mode):04o}); chmod 0640 {file}"
        )
    return _as_text(file, content)


def _as_text(file: str, content: bytes) -> str:
    try:
        secret = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretUnusable(f"{file} is not UTF-8; write the secret on one line") from None
    if not secret:
        raise SecretUnusable(f"{file} is empty; write the secret in it, on one line")
    if len(content) > LONGEST_SECRET or any(character < " " for character in secret):
        raise SecretUnusable(f"{file} holds more than one line of text; write the secret on one line, and nothing else")
    return secret
