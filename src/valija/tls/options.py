"""What the `[tls]` table may say: where the server's certificate comes from."""

from typing import Literal

import msgspec


class TlsOptions(msgspec.Struct, frozen=True):
    """The certificate's source. `cert_file` and `key_file` belong to `files`, the fields beginning `acme_` to `acme`.

    `cert_file` holds the chain in PEM, the server's own certificate first (certbot's `fullchain.pem`).
    """

    certificate: Literal["self-signed", "files", "acme"] = "self-signed"
    cert_file: str = ""
    key_file: str = ""
    acme_directory: str = "https://acme-v02.api.letsencrypt.org/directory"
    acme_email: str = ""
    acme_challenge: Literal["http-01", "tls-alpn-01", "dns-01"] = "http-01"
    acme_ca_file: str = ""
