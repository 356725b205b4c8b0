"""The settings of `[sasl]` for logins by tokens: how they are read, and what they must be to each other."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from valija.auth.options import OauthOptions
from valija.config.document import Document, Reader, Table
from valija.config.faults import Setting, refuse
from valija.config.model import Config
from valija.config.readers import path, shown_url, text
from valija.mail.fault import Fault

Finding = tuple[Setting, Fault]


def read_oauth(table: Table, folder: Path, trusted: Reader[str]) -> OauthOptions:
    """Return the options of OAUTHBEARER and XOAUTH2; `trusted` reads a file of authorities."""
    default = OauthOptions()
    return OauthOptions(
        issuer=table.read("oauth_issuer", text, default.issuer),
        audience=table.read("oauth_audience", text, default.audience),
        login_claim=table.read("oauth_login_claim", _claim, default.login_claim),
        jwks_url=table.read("oauth_jwks_url", issuer_url, default.jwks_url),
        jwks_file=table.read("oauth_jwks_file", path(folder), default.jwks_file),
        introspection_url=table.read("oauth_introspection_url", issuer_url, default.introspection_url),
        client_id=table.read("oauth_client_id", text, default.client_id),
        client_secret_file=table.read("oauth_client_secret_file", path(folder), default.client_secret_file),
        ca_file=table.read("oauth_ca_file", trusted, default.ca_file),
    )


def check_tokens(document: Document, config: Config) -> None:
    """Refuse what would let nobody in, or anybody."""
    for setting, fault in _faults(config.sasl.oauth):
        if document.is_sound("sasl", setting.key):
            document.refuse(setting, fault)


def _faults(oauth: OauthOptions) -> Iterator[Finding]:
    if not oauth.sources:
        if oauth != OauthOptions():
            remedy = "set oauth_jwks_url, oauth_jwks_file or oauth_introspection_url"
            yield Setting("sasl", "oauth_jwks_url"), Fault(None, "nothing tells which tokens are good", remedy)
        return
    if len(oauth.sources) > 1:
        what = "more than one setting tells which tokens are good"
        remedy = "keep one of oauth_jwks_url, oauth_jwks_file and oauth_introspection_url"
        yield Setting("sasl", _key_of(oauth)), Fault(oauth.sources[-1], what, remedy)
    if not oauth.introspection_url:
        yield from _demanded_of_signed_tokens(oauth)
    if bool(oauth.client_id) != bool(oauth.client_secret_file):
        key = "oauth_client_secret_file" if oauth.client_id else "oauth_client_id"
        yield Setting("sasl", key), Fault(None, "a client has a name and a secret", "set both, or neither")


def _key_of(oauth: OauthOptions) -> str:
    return "oauth_introspection_url" if oauth.introspection_url else "oauth_jwks_file"


def _demanded_of_signed_tokens(oauth: OauthOptions) -> Iterator[Finding]:
    if not oauth.issuer:
        remedy = 'name the issuer as its tokens do (iss), "https://..."'
        yield Setting("sasl", "oauth_issuer"), Fault(None, "a key does not say whose tokens are meant", remedy)
    if not oauth.audience:
        what = "a token for any other service would log in here"
        yield Setting("sasl", "oauth_audience"), Fault(None, what, "name whom tokens for this server are for (aud)")


def _claim(value: object) -> str:
    name = text(value)
    if not name:
        raise refuse(value, "it names no claim", 'write "email", "preferred_username" or "sub"')
    return name


def issuer_url(value: object) -> str:
    """Read a URL: https, or http where it does not leave the machine; `""` for none."""
    written = text(value)
    if not written:
        return ""
    shown, remedy = shown_url(written), 'write "https://..."'
    try:
        parts = urlsplit(written)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise refuse(shown, f"it is not a URL ({error})", remedy) from None
    if parts.scheme not in {"http", "https"} or not host or " " in written:
        raise refuse(shown, "it is not a URL", remedy)
    if parts.username is not None:
        raise refuse(shown, "it holds a user name", "use oauth_client_id and oauth_client_secret_file")
    if parts.scheme == "http" and not _is_loopback(host):
        raise refuse(shown, "tokens would travel in clear", remedy)
    return written


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
