"""What the tables `[https]`, `[mta_sts]` and `[autoconfig]` may say."""

from typing import Final, Literal

import msgspec

from valija.mail.endpoint import Endpoint
from valija.policy.mta_sts import Mode

IMAPS: Final = 993

Login = Literal["address", "local-part"]


class HttpsOptions(msgspec.Struct, frozen=True):
    """Where HTTPS is served; `()` is nowhere."""

    listen: tuple[Endpoint, ...] = ()


class MtaStsOptions(msgspec.Struct, frozen=True):
    """The policy of hosted domains. `mx` are hosts that take their mail beside this one; `max_age` is in seconds."""

    mode: Mode = "testing"
    mx: tuple[str, ...] = ()
    max_age: float = 604_800.0


class AutoconfigOptions(msgspec.Struct, frozen=True):
    """What mail programs are told of the server that keeps the mail: valija itself only sends.

    `imap_host` is `""` where there is none, and then programs are told nothing: they take no half of an account.
    `login` is what users log in by; `name` what the account is called, `""` for the domain.
    """

    imap_host: str = ""
    imap_port: int = IMAPS
    login: Login = "address"
    name: str = ""
