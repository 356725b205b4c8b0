"""The settings of logins by token and certificate."""

from pathlib import Path

import pytest

from tests.config.test_tables import config
from valija.auth.options import OauthOptions
from valija.config import ConfigError

KEYS = (
    'oauth_issuer = "https://id.example.org"\noauth_audience = "smtp"\noauth_jwks_url = "https://id.example.org/jwks"'
)


def oauth(text: str) -> OauthOptions:
    return config(f"[sasl]\n{text}").sasl.oauth


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        oauth(text)
    return str(caught.value).splitlines()


def test_nothing_is_on_by_default() -> None:
    sasl = config("").sasl
    assert (sasl.oauth.sources, sasl.external_ca_file, sasl.scram_channel_binding) == ((), "", True)


@pytest.mark.parametrize("kind", ["accounts", "dovecot"])
def test_signed_tokens(kind: str) -> None:
    options = oauth(f'type = "{kind}"\n{KEYS}')
    assert options.sources == ("https://id.example.org/jwks",)
    assert (options.issuer, options.audience, options.login_claim) == ("https://id.example.org", "smtp", "email")


def test_introspection_and_files_beside_the_configuration() -> None:
    options = oauth(
        'oauth_introspection_url = "http://127.0.0.1:8080/introspect"\noauth_login_claim = "sub"\n'
        'oauth_client_id = "valija"\noauth_client_secret_file = "secret"'
    )
    assert (options.login_claim, options.client_secret_file) == ("sub", "/etc/valija/secret")
    assert oauth(KEYS.replace("oauth_jwks_url", "oauth_jwks_file")).jwks_file.startswith("/etc/valija/")


@pytest.mark.parametrize(
    "written", ["https://id.example.org:8443/x", "http://localhost/", "http://[::1]:80/jwks", "http://127.0.0.9/"]
)
def test_urls(written: str) -> None:
    assert oauth(f'oauth_introspection_url = "{written}"').sources == (written,)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("http://id.example.org/jwks", "tokens would travel in clear"),
        ("http://127.0.0.1.evil.example/", "tokens would travel in clear"),
        ("id.example.org", "it is not a URL"),
        ("https://", "it is not a URL"),
        ("https://id.example.org:port/", "it is not a URL"),
        ("https://[::1/", "it is not a URL"),
        ("file:///etc/keys", "it is not a URL"),
        ("https://me:secret@id.example.org/", '"https://...@id.example.org/": it holds a user name'),
    ],
)
def test_what_is_no_place_to_ask(written: str, words: str) -> None:
    (fault,) = faults(KEYS.rpartition("\n")[0] + f'\noauth_jwks_url = "{written}"')
    assert "[sasl] oauth_jwks_url" in fault
    assert words in fault


@pytest.mark.parametrize(
    ("text", "setting", "words"),
    [
        ('oauth_issuer = "https://x.example"', "oauth_jwks_url", "nothing tells which tokens are good"),
        (KEYS.replace("oauth_issuer", "# "), "oauth_issuer", "whose tokens"),
        (KEYS.replace("oauth_audience", "# "), "oauth_audience", "any other service would log in here"),
        (KEYS + '\noauth_jwks_file = "keys"', "oauth_jwks_file", "more than one"),
        (KEYS + '\noauth_introspection_url = "https://x.example"', "oauth_introspection_url", "more than one"),
        (KEYS + '\noauth_client_id = "valija"', "oauth_client_secret_file", "a name and a secret"),
        (KEYS + '\noauth_client_secret_file = "x"', "oauth_client_id", "a name and a secret"),
        (KEYS + '\noauth_login_claim = ""', "oauth_login_claim", "it names no claim"),
    ],
)
def test_what_would_let_nobody_in_or_anybody(text: str, setting: str, words: str) -> None:
    (fault,) = faults(text)
    assert f"[sasl] {setting}" in fault
    assert words in fault


def test_authorities_must_be_some(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[sasl\] external_ca_file"):
        config(f'[sasl]\nexternal_ca_file = "{tmp_path}/nowhere"')
