"""What the `[tls]` table may say: where the server's certificates come from.

    options = TlsOptions(certificate="acme", names=("smtp.example.org",))
    [each.names for each in options.wanted("mail.example.org")]     # [("mail.example.org", "smtp.example.org")]

The first certificate wanted is the default one; SNI chooses the others, those of `[[tls.certificates]]`.
"""

from typing import Literal

import msgspec

from valija.mail.endpoint import Endpoint

Source = Literal["self-signed", "files", "acme"]

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 an authority asks from anywhere


class CertificateOptions(msgspec.Struct, frozen=True):
    """One certificate: the host names it is for, the first one leading, and where it comes from.

    `cert_file` and `key_file` belong to `files`. `cert_file` holds the chain in PEM, the server's own certificate first
    (certbot's `fullchain.pem`).
    """

    certificate: Source = "self-signed"
    names: tuple[str, ...] = ()
    cert_file: str = ""
    key_file: str = ""


class TlsOptions(msgspec.Struct, frozen=True):
    """The default certificate, `certificates` besides it, and how those from an authority are ordered (`acme_...`).

    `acme_reuse_key`: a renewal keeps the key, as TLSA records want it.
    `names` stand in the default certificate besides the server's own. `acme_dns_hook` is a command and its first
    arguments; `acme_dns_wait` is in seconds.
    """

    certificate: Source = "self-signed"
    names: tuple[str, ...] = ()
    cert_file: str = ""
    key_file: str = ""
    certificates: tuple[CertificateOptions, ...] = ()
    acme_directory: str = "https://acme-v02.api.letsencrypt.org/directory"
    acme_email: str = ""
    acme_profile: str = ""
    acme_reuse_key: bool = False
    acme_ca_file: str = ""
    acme_challenge: Literal["http-01", "tls-alpn-01", "dns-01"] = "http-01"
    acme_http_listen: tuple[Endpoint, ...] = tuple(Endpoint(host, 80) for host in _EVERYWHERE)
    acme_webroot: str = ""
    acme_alpn_listen: tuple[Endpoint, ...] = tuple(Endpoint(host, 443) for host in _EVERYWHERE)
    acme_dns_hook: tuple[str, ...] = ()
    acme_dns_server: Endpoint | None = None
    acme_dns_key_file: str = ""
    acme_dns_wait: float = 10.0

    def wanted(self, hostname: str) -> tuple[CertificateOptions, ...]:
        """Return every certificate of a server called `hostname`, the default one first."""
        names = (hostname, *(name for name in self.names if name != hostname))
        return (CertificateOptions(self.certificate, names, self.cert_file, self.key_file), *self.certificates)

    @property
    def uses_acme(self) -> bool:
        """Whether any certificate comes from an authority."""
        return "acme" in (self.certificate, *(each.certificate for each in self.certificates))

    @property
    def challenge_listen(self) -> tuple[Endpoint, ...]:
        """Where an authority has to reach this server itself; nowhere where another way is chosen."""
        if not self.uses_acme or self.acme_challenge == "dns-01":
            return ()
        if self.acme_challenge == "tls-alpn-01":
            return self.acme_alpn_listen
        return () if self.acme_webroot else self.acme_http_listen
