"""What we log in with at other servers: the `[[smtp.login]]` tables.

options = LoginOptions("work", user="alice@example.org", password_file="/etc/valija/work.password")
read_secret(options.password_file)     # by valija/secret_file
"""

import msgspec


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
