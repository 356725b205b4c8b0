"""What a mail program has to be told: where the mail is kept, where it is handed in, and by which name to log in."""

import msgspec

from valija.https.options import Login
from valija.mail.address import split, unquote


class Server(msgspec.Struct, frozen=True):
    """One server. `is_wrapped`: TLS from the first octet (RFC 8314); else STARTTLS. Never without either."""

    host: str
    port: int
    is_wrapped: bool


class MailSettings(msgspec.Struct, frozen=True):
    """The settings of all accounts. `outgoing` is not empty, the best way first; `name` is `""` for the domain."""

    incoming: Server
    outgoing: tuple[Server, ...]
    login: Login = "address"
    name: str = ""


class Account(msgspec.Struct, frozen=True):
    """The settings of one account."""

    address: str
    mail: MailSettings

    @property
    def login(self) -> str:
        """What the user logs in by."""
        return self.address if self.mail.login == "address" else unquote(split(self.address)[0])

    @property
    def name(self) -> str:
        """What the account is called."""
        return self.mail.name or split(self.address)[1]
