"""The settings of `[[smtp.login]]`: how they are read, and what they must be to each other."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from valija.config.document import Document, Reader, Table
from valija.config.faults import Setting
from valija.config.model import Config
from valija.config.readers import choice, each, judged, path, text
from valija.config.tokens import issuer_url
from valija.deliver.credentials import LoginOptions, TokenOptions
from valija.mail.fault import Fault
from valija.smtp.client_sasl import MECHANISMS, WITH_TOKEN

Finding = tuple[Setting, Fault]

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_KEYS: Final = (
    "name", "user", "password_file", "mechanisms", "oauth_token_url", "oauth_client_id", "oauth_client_secret_file",
    "oauth_refresh_token_file", "oauth_scope", "oauth_ca_file",
)  # fmt: skip


def read_login(table: Table, folder: Path, trusted: Reader[str]) -> LoginOptions:
    """Return the login in a `[[smtp.login]]` table; `trusted` reads a file of authorities."""
    return LoginOptions(
        name=table.read("name", judged(text, _name_fault), ""),
        user=table.read("user", text, ""),
        password_file=table.read("password_file", path(folder), ""),
        mechanisms=table.read("mechanisms", each(choice(*MECHANISMS)), ()),
        oauth=TokenOptions(
            token_url=table.read("oauth_token_url", issuer_url, ""),
            client_id=table.read("oauth_client_id", text, ""),
            client_secret_file=table.read("oauth_client_secret_file", path(folder), ""),
            refresh_token_file=table.read("oauth_refresh_token_file", path(folder), ""),
            scope=table.read("oauth_scope", text, ""),
            ca_file=table.read("oauth_ca_file", trusted, ""),
        ),
    )


def _name_fault(written: str) -> tuple[str, str] | None:
    if _NAME.fullmatch(written):
        return None
    return "it is no name for a login", "write 1 to 64 letters, digits, dots, hyphens or underscores"


def check_logins(document: Document, config: Config) -> None:
    """Refuse logins that could let nobody in."""
    seen: dict[str, str] = {}
    for number, login in enumerate(config.logins, start=1):
        table = f"smtp.login#{number}"
        if document.is_sound(table, *_KEYS):
            for setting, fault in _faults(table, login, seen):
                document.refuse(setting, fault)


def _faults(table: str, login: LoginOptions, seen: dict[str, str]) -> Iterator[Finding]:
    if not login.name:
        remedy = 'write name = "...", and login = "..." in the routes that use it, or relayhost_login'
        yield Setting(table, "name"), Fault(None, "it has no name to be called by", remedy)
    elif (where := seen.setdefault(login.name, table)) != table:
        yield Setting(table, "name"), Fault(login.name, f"{Setting(where, '')} has this name", "give it another")
    if not login.user:
        yield Setting(table, "user"), Fault(None, "it is not said who logs in", "write the user name for that server")
    if login.has_tokens:
        yield from _faults_of_tokens(table, login)
    else:
        yield from _faults_of_password(table, login)


def _faults_of_password(table: str, login: LoginOptions) -> Iterator[Finding]:
    if login.oauth != TokenOptions():
        what = "nobody is named who gives out tokens"
        yield Setting(table, "oauth_token_url"), Fault(None, what, 'write "https://...", or password_file alone')
    elif not login.password_file:
        remedy = "name a file with the password on one line, mode 0640"
        yield Setting(table, "password_file"), Fault(None, "there is no password", remedy)
    yield from _unfit(table, login, {each for each in MECHANISMS if each not in WITH_TOKEN}, "a password")


def _faults_of_tokens(table: str, login: LoginOptions) -> Iterator[Finding]:
    if login.password_file:
        what = "a login has a password or tokens, not both"
        yield Setting(table, "password_file"), Fault(login.password_file, what, "leave it out, or the oauth_ settings")
    needed = {"oauth_client_id": login.oauth.client_id, "oauth_refresh_token_file": login.oauth.refresh_token_file}
    for key, value in needed.items():
        if not value:
            remedy = "write what the provider gave you when the access was granted"
            yield Setting(table, key), Fault(None, "tokens are not given out without it", remedy)
    yield from _unfit(table, login, set(WITH_TOKEN), "tokens")


def _unfit(table: str, login: LoginOptions, fit: set[str], what: str) -> Iterator[Finding]:
    if not fit.issuperset(login.mechanisms):
        words = f"for {what} there are {', '.join(each for each in MECHANISMS if each in fit)}"
        yield Setting(table, "mechanisms"), Fault([*login.mechanisms], words, "leave it out for the strongest offered")
