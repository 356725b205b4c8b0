"""Whose login is it that others vouch for? A certificate or a token names somebody; here it becomes a login, or nobody.

login_of = account_logins(accounts)
login_of("Alice@Example.ORG")                # "alice@example.org", where there is that account
login_of = system_logins(accounts, users, domains=("example.org",))
login_of("alice")                            # "alice", where the system knows her
"""

from collections.abc import Callable, Collection

from valija.auth.accounts import Accounts, canonical_login
from valija.auth.system_users import SystemUsers
from valija.mail.address import split, unquote

LoginOf = Callable[[str], str | None]


def account_logins(accounts: Accounts) -> LoginOf:
    """Return what finds the account of an address. It raises AccountsUnusable."""

    def login_of(identity: str) -> str | None:
        login = canonical_login(identity)
        return login if login and accounts.is_account(login) else None

    return login_of


def system_logins(accounts: Accounts, users: SystemUsers, domains: Collection[str]) -> LoginOf:
    """Return what finds accounts, and the system's users by their name, or by it in one of the hosted `domains`.

    Root is never among them, whatever a provider calls its users. It raises OSError and AccountsUnusable.
    """
    account_of = account_logins(accounts)

    def user_of(name: str) -> str | None:
        user = users.canonical(name)
        return None if user == "root" else user

    def login_of(identity: str) -> str | None:
        if "@" not in identity:
            return user_of(identity)
        login = canonical_login(identity)
        local, domain = split(login or "")
        if login is None or account_of(login) or domain not in domains:
            return login and account_of(login)
        return login if user_of(unquote(local)) else None

    return login_of
