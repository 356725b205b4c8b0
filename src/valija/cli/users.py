"""valija user: the accounts that may log in and whose mail is kept here."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from valija.cli.frame import Call, Refusal, command, group, read_password, rfc3339

if TYPE_CHECKING:
    from valija.auth.accounts import Accounts
    from valija.auth.standings import Standings
    from valija.config import Config


def add_to(main: click.Group) -> None:
    """Add the group and its commands."""
    from valija.cli import freezing, standing

    user = group(main, "user", "Accounts: who may log in, and whose mail is kept here.")
    standing.add_to_user(user)
    freezing.add_to_user(user)
    from_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")

    @command(user, "add")
    @click.argument("address")
    @from_stdin
    def add(call: Call, address: str, password_stdin: bool) -> None:
        """Add the account ADDRESS."""
        password = _password(password_stdin)
        config = call.enter()
        with opened_accounts(config) as accounts:
            address = accounts.add(address, password)
        note_if_foreign(call, config, address)
        call.answer({"address": address, "added": True}, [f"{address} is added"])

    @command(user, "passwd")
    @click.argument("address")
    @from_stdin
    def passwd(call: Call, address: str, password_stdin: bool) -> None:
        """Change the password of ADDRESS."""
        password = _password(password_stdin)
        with opened_accounts(call.enter()) as accounts:
            address = accounts.set_password(address, password)
        call.answer({"address": address, "changed": True}, [f"the password of {address} is changed"])

    @command(user, "remove")
    @click.argument("address")
    def remove(call: Call, address: str) -> None:
        """Remove the account ADDRESS; mail that it has received stays where it is."""
        from valija.cli.dead_ends import drop_dead_ends, residents, tell_dead_ends

        config = call.enter()
        with opened_accounts(config) as accounts:
            led_here = accounts.remove(address)
            led_on = drop_dead_ends(accounts, residents(config, accounts), led_here)
            led = list(dict.fromkeys([*led_here, *led_on]))
            lines = [f"{address} is removed", *tell_dead_ends(accounts, led)]
        call.answer({"address": address, "removed": True, "aliases": led}, lines)

    @command(user, "list")
    def list_users(call: Call) -> None:
        """List the accounts."""
        from valija.cli.standing import opened_standings

        config = call.enter()
        with opened_accounts(config) as accounts, opened_standings(config) as standings:
            addresses, without = accounts.list(), accounts.without_scram_keys()
            standing = _standing(accounts, standings)
        answer = [{"address": each, "scram": each not in without, **standing.get(each, {})} for each in addresses]
        others = sorted(standing.keys() - set(addresses))  # whom Dovecot or PAM knows
        answer += [{"address": each, **standing[each]} for each in others]
        call.answer(answer, [line for each in (*addresses, *others) for line in _lines(each, standing.get(each, {}))])


def _standing(accounts: "Accounts", standings: "Standings") -> dict[str, dict[str, object]]:
    """Return what there is to say of logins beyond their names."""
    found: dict[str, dict[str, object]] = {}
    for login, freeze in standings.frozen().items():
        found.setdefault(login, {})["frozen"] = {
            "since": rfc3339(freeze.at),
            "began": rfc3339(freeze.began),
            "reason": freeze.reason,
        }
    for key, of_logins in (
        ("may_send_as", accounts.delegations()),
        ("limits", standings.limits()),
        ("contact", standings.contacts()),
    ):
        for login, value in of_logins.items():
            found.setdefault(login, {})[key] = value
    return found


def _lines(login: str, standing: dict[str, object]) -> Iterator[str]:
    yield login
    for key, value in standing.items():
        match key, value:
            case "frozen", {"since": since, "reason": reason}:
                yield f"    frozen since {since}: {reason}"
            case _, dict():
                yield f"    {key}: {', '.join(f'{name} = {number}' for name, number in value.items())}"
            case _, tuple():
                yield f"    {key.replace('_', ' ')} {', '.join(map(str, value))}"
            case _:
                yield f"    {key}: {value}"


@contextlib.contextmanager
def opened_accounts(config: "Config") -> "Iterator[Accounts]":
    """Open the accounts for a while; what they refuse is a Refusal."""
    from valija.auth.accounts import AccountError, Accounts
    from valija.auth.database import AccountsUnusable
    from valija.auth.password import PasswordRefused

    try:
        accounts = Accounts(config.accounts_file, delimiter=config.recipient_delimiter)
        with contextlib.closing(accounts):
            yield accounts
    except (AccountError, AccountsUnusable, PasswordRefused) as reason:
        raise Refusal(str(reason)) from None


def note_if_foreign(call: Call, config: "Config", address: str) -> None:
    """Say so where mail for an address would never come in here."""
    domain = address.rpartition("@")[2]
    if domain not in config.domains:
        call.note(f"{domain} is not in domains: mail for {address} does not come in here")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return read_password()
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the password on; use --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True))
