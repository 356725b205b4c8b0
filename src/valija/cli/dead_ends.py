"""Aliases never lead to a hosted address that nobody has: its mail would be taken, and lie where nobody reads it.

    refuse_dead_ends(accounts, config.domains, "sales@example.org", ["nobody@example.org"])     # raises Refusal
    drop_dead_ends(accounts, ["sales@example.org"])    # the aliases that led to what is gone, and so on

Known weakness: an address that is away by other means (a domain that came to be hosted later) is not looked for.
"""

from collections import deque
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from valija.cli.frame import Refusal
from valija.mail.address import AddressError, fold_case, mailbox_key, normalise_domain, split
from valija.policy.relay import POSTMASTER

if TYPE_CHECKING:
    from valija.auth.accounts import Accounts


def refuse_dead_ends(accounts: "Accounts", hosted: Collection[str], alias: str, targets: Iterable[str]) -> None:
    """Raise Refusal, a line for each, where targets in a hosted domain are neither account, alias nor postmaster.

    `alias` is canonical, and may name itself: what that means, the accounts say.
    """
    dead = [target for target in targets if _is_dead_end(accounts, hosted, alias, target)]
    if dead:
        raise Refusal("\n".join(map(_words, dead)))


def _is_dead_end(accounts: "Accounts", hosted: Collection[str], alias: str, target: str) -> bool:
    local_part, domain = split(target)
    try:
        domain = normalise_domain(domain)
    except AddressError:
        return False  # no address at all: for the accounts to refuse, in their words
    address = f"{local_part}@{domain}"
    is_known = fold_case(local_part) == POSTMASTER or accounts.exists(address) or _same(address, alias)
    return domain in hosted and not is_known


def _words(target: str) -> str:
    return (
        f"{target} is hosted here, and there is neither an account nor an alias of that address: nobody would read "
        f"its mail; add the account first (valija user add {target}), or name another target"
    )


def drop_dead_ends(accounts: "Accounts", gone: Iterable[str]) -> list[str]:
    """Drop the addresses that are gone from the aliases that lead there, and so on; return those aliases.

    An address that is still an account's or an alias's is not gone.
    """
    pending = deque(gone)
    led_there: dict[str, None] = {}
    while pending:
        address = pending.popleft()
        if accounts.exists(address):
            continue
        for alias, targets in accounts.aliases().items():
            if leading := [target for target in targets if _same(target, address)]:
                accounts.remove_alias(alias, leading)
                led_there[alias] = None
                pending.append(alias)
    return list(led_there)


def tell_dead_ends(accounts: "Accounts", led_there: Iterable[str]) -> list[str]:
    """Return in words what became of aliases whose targets were dropped."""
    return [
        f"the alias {alias} leads there no more"
        if accounts.exists(alias)
        else f"the alias {alias} led nowhere else, and is no alias any more"
        for alias in led_there
    ]


def _same(address: str, other: str) -> bool:
    return mailbox_key(address) == mailbox_key(other)
