"""valija user: the accounts that may log in and whose mail is kept here."""

import sys
from typing import TYPE_CHECKING

import click

from valija.cli.addresses import mailbox, note_if_foreign
from valija.cli.frame import Call, command, group, read_password

if TYPE_CHECKING:
    from valija.auth.accounts import Accounts
    from valija.config import Config


def add_to(main: click.Group) -> None:
    """Add the group and its commands."""
    user = group(main, "user", "Accounts: who may log in, and whose mail is kept here.")
    from_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")

    @command(user, "add")
    @click.argument("address")
    @from_stdin
    def add(call: Call, address: str, password_stdin: bool) -> None:
        """Add the account ADDRESS."""
        address = mailbox(address)
        password = _password(password_stdin)
        config = call.enter()
        note_if_foreign(call, config, address)
        with accounts_of(config) as accounts:
            accounts.add(address, password)
        call.answer({"address": address, "added": True}, [f"{address} is added"])

    @command(user, "passwd")
    @click.argument("address")
    @from_stdin
    def passwd(call: Call, address: str, password_stdin: bool) -> None:
        """Change the password of ADDRESS."""
        address = mailbox(address)
        password = _password(password_stdin)
        with accounts_of(call.enter()) as accounts:
            accounts.set_password(address, password)
        call.answer({"address": address, "changed": True}, [f"the password of {address} is changed"])

    @command(user, "remove")
    @click.argument("address")
    def remove(call: Call, address: str) -> None:
        """Remove the account ADDRESS; mail that it has received stays where it is."""
        address = mailbox(address)
        with accounts_of(call.enter()) as accounts:
            accounts.remove(address)
        call.answer({"address": address, "removed": True}, [f"{address} is removed"])

    @command(user, "list")
    def list_users(call: Call) -> None:
        """List the accounts."""
        with accounts_of(call.enter()) as accounts:
            addresses = list(accounts.list())
        call.answer([{"address": address} for address in addresses], addresses)


def accounts_of(config: "Config") -> "Accounts":
    """Return the accounts, to be closed after use."""
    from valija.auth.accounts import Accounts

    return Accounts(config.data_dir)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return read_password()
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the password on; use --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True))
