"""valija alias: addresses whose mail goes elsewhere."""

import click

from valija.cli.frame import Call, Refusal, command, group
from valija.cli.users import note_if_foreign, opened_accounts
from valija.mail.address import domain_of


def add_to(main: click.Group) -> None:
    """Add the group and its commands."""
    alias = group(main, "alias", "Aliases: addresses whose mail goes to others.")

    @command(alias, "add")
    @click.argument("address")
    @click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
    def add(call: Call, address: str, targets: tuple[str, ...]) -> None:
        """Let mail for ADDRESS go to each TARGET too.

        ADDRESS may be @DOMAIN, for whatever is neither account nor alias there; TARGET may then be @OTHER-DOMAIN, where
        the same addresses exist.
        """
        from valija.auth.accounts import canonical_alias
        from valija.cli.dead_ends import refuse_dead_ends, residents

        config = call.enter()
        with opened_accounts(config) as accounts:
            address = canonical_alias(address, accounts.delimiter)
            refuse_dead_ends(residents(config, accounts), config.domains, address, targets)
            address = accounts.add_alias(address, targets)
            leads_to = accounts.aliases()[address]
        note_if_foreign(call, config, address)
        call.answer({"address": address, "targets": leads_to}, [_line(address, leads_to)])

    @command(alias, "remove")
    @click.argument("address")
    @click.argument("targets", nargs=-1, metavar="[TARGET...]")
    def remove(call: Call, address: str, targets: tuple[str, ...]) -> None:
        """Remove the alias ADDRESS, or only the named targets of it."""
        from valija.cli.dead_ends import drop_dead_ends, residents, tell_dead_ends

        config = call.enter()
        with opened_accounts(config) as accounts:
            address = accounts.remove_alias(address, targets or None)
            left = accounts.aliases().get(address, ())
            if domain_of(address) in config.domains:  # elsewhere the address may well go on without us
                for words in tell_dead_ends(accounts, drop_dead_ends(accounts, residents(config, accounts), [address])):
                    call.note(words)
        call.answer({"address": address, "targets": left}, [_line(address, left)])

    @command(alias, "list")
    @click.argument("address", required=False)
    def list_aliases(call: Call, address: str | None) -> None:
        """List the aliases, or the targets of ADDRESS."""
        from valija.auth.accounts import canonical_alias

        with opened_accounts(call.enter()) as accounts:
            aliases = accounts.aliases()
            if address is not None:
                address = canonical_alias(address, accounts.delimiter)
                if address not in aliases:
                    raise Refusal(f"there is no alias {address}")
                aliases = {address: aliases[address]}
        call.answer(
            [{"address": name, "targets": targets} for name, targets in aliases.items()],
            [_line(name, targets) for name, targets in aliases.items()],
        )


def _line(address: str, targets: tuple[str, ...]) -> str:
    return f"{address} -> {', '.join(targets)}" if targets else f"{address} is no alias any more"
