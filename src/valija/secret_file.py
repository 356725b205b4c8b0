"""A file that holds one secret, on one line, and that others can't read.

    read_secret("/etc/valija/work.password")      # "s3cret"; raises SecretUnusable

A secret is read anew for each use: a file that was changed counts at once, and no memory keeps what it held.
"""

import os
import stat
from typing import Final

LONGEST_SECRET: Final = 16 * 1024  # octets; tokens are the long ones
_OTHERS: Final = stat.S_IRWXO


class SecretUnusable(Exception):
    """A file with a secret that can't be used; the text names it, why, and the remedy."""


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
