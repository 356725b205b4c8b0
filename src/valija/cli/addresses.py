"""Addresses on the command line, as accounts and aliases know them."""

from typing import TYPE_CHECKING

from valija.cli.frame import Call, Refusal
from valija.mail.address import AddressError, normalise_domain, split

if TYPE_CHECKING:
    from valija.config import Config


def mailbox(text: str) -> str:
    """Return an address with its domain as lower-case A-labels. Raises Refusal for what is no address."""
    local_part, domain = split(text.strip())
    if not local_part or not domain:
        raise Refusal(f"{text!r} is no address; write local-part@domain")
    try:
        return f"{local_part}@{normalise_domain(domain)}"
    except AddressError as error:
        raise Refusal(f"{text!r} is no address: {error}") from None


def note_if_foreign(call: Call, config: "Config", address: str) -> None:
    """Say so where mail for an address would never come in here."""
    domain = split(address)[1]
    if domain not in config.domains:
        call.note(
            f"{domain} is not hosted here, so mail for {address} is not kept here; add it to domains if it should be"
        )
