"""valija user allow, disallow, limit and contact: what an account may do beyond sending as itself, and how much."""

import contextlib
from typing import TYPE_CHECKING, Final

import click

from valija.cli.frame import Call, Refusal, command
from valija.cli.users import opened_accounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from valija.auth.accounts import Accounts
    from valija.auth.standings import Standings
    from valija.config import Config

_BREAKER: Final = "circuit_breaker"


def add_to_user(user: click.Group) -> None:
    """Add the commands to their group."""
    _add_delegation(user)
    _add_limit(user)
    _add_contact(user)


def known_login(config: "Config", accounts: "Accounts", text: str) -> str:
    """Return the login that is meant. Where accounts log in here it has to be one; Dovecot and PAM have their own."""
    from valija.auth.accounts import login_name

    login = login_name(text, accounts.delimiter)
    if config.sasl.type == "accounts" and not accounts.is_account(login):
        raise Refusal(f"there is no account {login}; valija user list shows those there are")
    return login


def tell_server(config: "Config") -> None:
    """Have a running server take up what has changed for logins; it would notice within some seconds by itself."""
    from valija.admin.control import SOCKET_NAME, poke

    poke(config.data_dir / SOCKET_NAME, "standings")


def _add_delegation(user: click.Group) -> None:
    @command(user, "allow")
    @click.argument("address")
    @click.argument("as_address", metavar="AS-ADDRESS|@DOMAIN")
    def allow(call: Call, address: str, as_address: str) -> None:
        """Let ADDRESS send as another address, or as every address of a domain."""
        config = call.enter()
        with opened_accounts(config) as accounts:
            login, granted = accounts.allow(known_login(config, accounts, address), as_address)
            everything = accounts.delegations()[login]
        call.answer({"address": login, "may_send_as": everything}, [f"{login} may send as {granted}"])

    @command(user, "disallow")
    @click.argument("address")
    @click.argument("as_address", metavar="AS-ADDRESS|@DOMAIN")
    def disallow(call: Call, address: str, as_address: str) -> None:
        """Take back what `allow` gave."""
        with opened_accounts(call.enter()) as accounts:
            login, granted = accounts.disallow(address, as_address)
            rest = accounts.delegations().get(login, ())
        call.answer({"address": login, "may_send_as": rest}, [f"{login} may no longer send as {granted}"])


def _add_limit(user: click.Group) -> None:
    number = click.IntRange(0, 1_000_000_000)

    @command(user, "limit")
    @click.argument("address")
    @click.option("--messages-per-day", type=number, help="Messages a day; 0 is no limit.")
    @click.option("--recipients-per-day", type=number, help="Recipients a day; 0 is no limit.")
    @click.option("--first-time-recipients-per-day", type=number, help="New recipients a day; 0 is no limit.")
    @click.option(
        "--circuit-breaker/--no-circuit-breaker", default=None, help="Whether it is frozen if it looks stolen."
    )
    @click.option("--default", "by_default", is_flag=True, help="Take back what is not everybody's.")
    def limit(call: Call, /, address: str, circuit_breaker: bool | None, by_default: bool, **given: int | None) -> None:
        """Give ADDRESS limits of its own, or show what holds for it."""
        config = call.enter()
        with opened_accounts(config) as accounts:
            login = known_login(config, accounts, address)
        values: dict[str, int | None] = dict(given)
        values[_BREAKER] = None if circuit_breaker is None else int(circuit_breaker)
        with opened_standings(config) as standings:
            for name, value in values.items():
                if by_default or value is not None:
                    standings.set_limit(login, name, None if by_default else value)
            own = standings.limits().get(login, {})
        tell_server(config)
        held = {**_everybodys(config), **own}
        answer = {name: bool(value) if name == _BREAKER else value for name, value in held.items()}
        call.answer({"address": login, **answer}, [f"{login}:", *(_limit_line(name, held, own) for name in held)])


def _everybodys(config: "Config") -> dict[str, int]:
    from valija.policy.limits import NAMES

    return {
        **{name: config.conduct.limits.of(name) for name in NAMES},
        _BREAKER: int(config.conduct.circuit_breaker),
    }


def _limit_line(name: str, held: dict[str, int], own: dict[str, int]) -> str:
    value = ("on" if held[name] else "off") if name == _BREAKER else str(held[name] or "no limit")
    return f"    {name}: {value}{'' if name in own else ', as everybody'}"


def _add_contact(user: click.Group) -> None:
    @command(user, "contact")
    @click.argument("address")
    @click.argument("other_address", required=False)
    @click.option("--none", "forget", is_flag=True, help="Forget the other address.")
    def contact(call: Call, address: str, other_address: str | None, forget: bool) -> None:
        """Have the owner of ADDRESS told at another address when the account is frozen, or show where."""
        from valija.auth.accounts import AccountError

        if forget and other_address:
            raise click.UsageError("name an address, or say --none")
        config = call.enter()
        with opened_accounts(config) as accounts:
            login = known_login(config, accounts, address)
        try:
            with opened_standings(config) as standings:
                if forget or other_address:
                    standings.set_contact(login, other_address)
                found = standings.contacts().get(login)
        except AccountError as error:
            raise Refusal(str(error)) from None
        where = found or "in the account's own mailbox"
        call.answer(
            {"address": login, "contact": found}, [f"the owner of {login} is told {'at ' * bool(found)}{where}"]
        )


@contextlib.contextmanager
def opened_standings(config: "Config") -> "Iterator[Standings]":
    """Yield the standings of logins; that their file can't be used is a Refusal."""
    from valija.auth.database import AccountsUnusable
    from valija.auth.standings import Standings

    standings = Standings(config.accounts_file)
    try:
        yield standings
    except AccountsUnusable as unusable:
        raise Refusal(str(unusable)) from None
    finally:
        standings.close()
