"""Where a message came from: the facts the Received field, the log and the queue tell about its arrival."""

from typing import Literal

import msgspec

Role = Literal["smtpd", "submission", "submissions", "local"]


class TlsFacts(msgspec.Struct, frozen=True, gc=False):
    """What a TLS connection turned out to be: `version` as OpenSSL names it (`TLSv1.3`), and the cipher's name."""

    version: str
    cipher: str


class Origin(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The arrival of one message. `received_at` is seconds since the epoch.

    `protocol` is the `with` keyword of RFC 3848 and RFC 6531; `rule` names what allowed the relay
    (`mynetworks 127.0.0.0/8`, `login alice@example.org`, `hosted example.org`). `findings` are what the checks found,
    each with its name: `(("spf", "pass"), ("dmarc", "fail"))`. `uid` is the user of this machine whose program it was.
    `session` is the id of the session it came in.
    """

    role: Role
    received_at: float
    client_address: str = ""
    helo: str = ""
    protocol: str = ""
    login: str = ""
    rule: str = ""
    tls: TlsFacts | None = None
    findings: tuple[tuple[str, str], ...] = ()
    uid: int | None = None
    session: str = ""
