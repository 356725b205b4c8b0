"""valija alias: addresses whose mail goes elsewhere."""

import click

from valija.cli.addresses import mailbox, note_if_foreign
from valija.cli.frame import Call, command, group
from valija.cli.users import accounts_of


def add_to(main: click.Group) -> None:
    """Add the group and its commands."""
    alias = group(main, "alias", "Aliases: addresses whose mail goes to others.")

    @command(alias, "add")
    @click.argument("address")
    @click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
    def add(call: Call, address: str, targets: tuple[str, ...]) -> None:
        """Let mail for ADDRESS go to each TARGET too."""
        address, wanted = mailbox(address), [mailbox(target) for target in targets]
        config = call.enter()
        note_if_foreign(call, config, address)
        with accounts_of(config) as accounts:
            accounts.add_alias(address, wanted)
        call.answer({"address": address, "added": wanted}, [f"{address} goes to {', '.join(wanted)}"])

    @command(alias, "remove")
    @click.argument("address")
    @click.argument("targets", nargs=-1, metavar="[TARGET...]")
    def remove(call: Call, address: str, targets: tuple[str, ...]) -> None:
        """Remove the alias ADDRESS, or only the named targets of it."""
        address, unwanted = mailbox(address), [mailbox(target) for target in targets]
        with accounts_of(call.enter()) as accounts:
            accounts.remove_alias(address, unwanted)
        gone = f"{', '.join(unwanted)} is no target of {address} any more" if unwanted else f"{address} is removed"
        call.answer({"address": address, "removed": unwanted or True}, [gone])

    @command(alias, "list")
    @click.argument("address", required=False)
    def list_aliases(call: Call, address: str | None) -> None:
        """List the aliases, or the targets of ADDRESS."""
        wanted = mailbox(address) if address else None
        with accounts_of(call.enter()) as accounts:
            aliases = accounts.aliases()
        shown = {name: targets for name, targets in aliases.items() if wanted in (None, name)}
        call.answer(
            [{"address": name, "targets": list(targets)} for name, targets in shown.items()],
            [f"{name} -> {', '.join(targets)}" for name, targets in shown.items()],
        )
