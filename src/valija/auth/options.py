"""What the `[sasl]` table may say: who tells whether a login is right."""

from typing import Final, Literal

import msgspec

from valija.auth import pam_service

INET: Final = "inet:"
_LONGEST_PATH: Final = 107  # octets, what Linux takes


class OauthOptions(msgspec.Struct, frozen=True):
    """Logins by tokens: who issues them, for whom they have to be, and how it is told which are good.

    That is one of `jwks_url`, `jwks_file` and `introspection_url`; without any there are none. `login_claim` names who
    logs in. `client_id` and `client_secret_file` are what we introspect as; `ca_file` is what the issuer's certificate
    is verified by, `""`: the system's authorities.
    """

    issuer: str = ""
    audience: str = ""
    login_claim: str = "email"
    jwks_url: str = ""
    jwks_file: str = ""
    introspection_url: str = ""
    client_id: str = ""
    client_secret_file: str = ""
    ca_file: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """How it is told which tokens are good: one place, where it is well configured."""
        return tuple(place for place in (self.jwks_url, self.jwks_file, self.introspection_url) if place)


class SaslOptions(msgspec.Struct, frozen=True):
    """The back end. `path` belongs to `dovecot`: a socket's path, or `inet:127.0.0.1:12345`.

    `pam_service` belongs to `pam`. `failed_login_limit` is how many wrong passwords for one login strangers have
    within an hour (0: no limit). `scram_channel_binding` belongs to `accounts`. A client's certificate is good for a
    login where an authority of `external_ca_file` has issued it (`""`: none is asked for).
    """

    type: Literal["accounts", "dovecot", "pam"] = "accounts"
    path: str = "/run/dovecot/auth-client"
    pam_service: str = pam_service.DEFAULT
    failed_login_limit: int = 10
    scram_channel_binding: bool = True
    external_ca_file: str = ""
    oauth: OauthOptions = OauthOptions()


def socket_fault(path: str) -> tuple[str, str] | None:
    """Return what is wrong with the place of a socket, and the remedy; None where nothing is."""
    if not path.startswith(INET):
        is_short = len(path.encode(errors="surrogateescape")) <= _LONGEST_PATH
        return None if is_short else (f"a socket's path has {_LONGEST_PATH} octets at most", "have a shorter one")
    remedy = 'write "inet:127.0.0.1:12345", or the path of a Unix socket'
    host, colon, port = path.removeprefix(INET).rpartition(":")
    if not colon or not host.strip("[]"):
        return "the host or the port is missing", remedy
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return "an IPv6 address is written in square brackets", remedy
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65_535):
        return "a port is a number from 1 to 65535", remedy
    return None


def host_and_port(path: str) -> tuple[str, int]:
    """Take apart a place that begins with `inet:` and has no fault."""
    host, _, port = path.removeprefix(INET).rpartition(":")
    return host.strip("[]"), int(port)
