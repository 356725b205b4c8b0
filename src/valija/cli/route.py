"""valija route: which way would mail for an address take, and which setting decides."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from valija.cli.frame import Call, Refusal, command

if TYPE_CHECKING:
    from valija.admin.way import Way

_TRANSPORTS = {
    "maildir": "stays here, in a Maildir of {}",
    "lmtp": "stays here, handed over by LMTP for {}",
    "error": "is not sent; its sender is told: {}",
}


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "route")
    @click.argument("address")
    @click.option("--sender", metavar="ADDRESS", help="The sender of the mail; <> for a bounce.")
    def route(call: Call, address: str, sender: str | None) -> None:
        """Tell which way mail for an address or a domain takes, and why."""
        from valija.admin.way import find_way, sender_matters
        from valija.mail.address import AddressError

        config = call.load()
        try:
            way = find_way(config, address, "" if sender == "<>" else sender)
        except AddressError as error:
            raise Refusal(f"{address if sender is None else f'{address}, {sender}'}: {error}") from None
        call.answer(way, _lines(way))
        if sender is None and sender_matters(config):
            call.note("some routes are for single senders: name one with --sender")


def _lines(way: "Way") -> Iterator[str]:
    if way.transport in _TRANSPORTS:
        yield f"mail for {way.address} {_TRANSPORTS[way.transport].format(way.next_hop)}"
        yield f"  why       {way.why}"
        return
    yield f"mail for {way.address} goes to {_hosts(way.next_hop)}"
    yield f"  why       {way.why}"
    if way.login:
        yield f"  login     {way.login}"
    if way.pool:
        yield f"  pool      {way.pool}"
    first = ", before the banner" if way.tls_wrappermode else ""
    yield f"  TLS       {way.tls_level} ({way.tls_source}){first}"
    if way.fallback:
        yield f"  fallback  {', '.join(way.fallback)}"


def _hosts(next_hop: str) -> str:
    return next_hop if next_hop.startswith("[") else f"the MX hosts of {next_hop}"
