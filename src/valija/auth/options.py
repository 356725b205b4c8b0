"""What the `[sasl]` table may say: who tells whether a login is right."""

from typing import Literal

import msgspec


class SaslOptions(msgspec.Struct, frozen=True):
    """The back end. `path` belongs to `dovecot`: a socket's path, or `inet:127.0.0.1:12345`."""

    type: Literal["accounts", "dovecot", "pam"] = "accounts"
    path: str = "/run/dovecot/auth-client"
