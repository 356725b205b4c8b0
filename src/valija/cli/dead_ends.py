"""Aliases never lead to a hosted address that nobody has: its mail would be taken, and lie where nobody reads it.

    lives = residents(config, accounts)
    refuse_dead_ends(lives, config.domains, "sales@example.org", ["nobody@example.org"])     # raises Refusal
    drop_dead_ends(accounts, lives, ["sales@example.org"])    # the aliases that led to what is gone, and so on

Known weakness: an address that is away by other means (a domain that came to be hosted later) is not looked for.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Final

from valija.cli.frame import Refusal
from valija.mail.address import AddressError, fold_case, mailbox_key, normalise_domain, split
from valija.policy.relay import ALWAYS_THERE

if TYPE_CHECKING:
    from valija.auth.accounts import Accounts
    from valija.config import Config

Lives = Callable[[str], bool]
"""Whether somebody has a hosted address."""

_PATIENCE: Final = 5.0  # seconds for what Dovecot says


def residents(config: "Config", accounts: "Accounts") -> Lives:
    """Return who tells whether somebody has an address: accounts, aliases, and whom the system or Dovecot knows."""

    def lives(address: str) -> bool:
        local_part, domain = split(address)
        if fold_case(local_part) in ALWAYS_THERE or accounts.exists(address) or accounts.targets(f"@{domain}"):
            return True
        if config.mailbox.lmtp:
            return _may_live_at_dovecots(config, address)
        return config.sasl.type != "accounts" and _is_system_user(config, address)

    return lives


def _may_live_at_dovecots(config: "Config", address: str) -> bool:
    """Whether the server of the mailboxes does not say that nobody has an address."""
    from valija.deliver.lmtp_question import ask
    from valija.receive.mailbox_check import is_unknown

    return not is_unknown(asyncio.run(ask(config.mailbox.lmtp, config.hostname, address, _PATIENCE)))


def _is_system_user(config: "Config", address: str) -> bool:
    from valija.auth.system_users import SystemUsers, is_system_user

    return SystemUsers(is_system_user, time.monotonic).have_mailbox(address, config.recipient_delimiter)


def refuse_dead_ends(lives: Lives, hosted: Collection[str], alias: str, targets: Iterable[str]) -> None:
    """Raise Refusal, a line for each, where targets in a hosted domain are nobody's, or whole domains not hosted.

    `alias` is canonical, and may name itself: what that means, the accounts say.
    """
    if refusals := [words for target in targets if (words := _dead_end(lives, hosted, alias, target))]:
        raise Refusal("\n".join(refusals))


def _dead_end(lives: Lives, hosted: Collection[str], alias: str, target: str) -> str:
    local_part, domain = split(target)
    try:
        domain = normalise_domain(domain)
    except AddressError:
        return ""  # no address at all: for the accounts to refuse, in their words
    if not local_part:
        return "" if domain in hosted else _not_hosted(target)
    address = f"{local_part}@{domain}"
    return _nobodys(target) if domain in hosted and not (_same(address, alias) or lives(address)) else ""


def _not_hosted(target: str) -> str:
    return (
        f"{target} is not hosted here: whoever writes to an address that nobody has there would be told by a bounce "
        "instead of at once; name addresses, or host the domain"
    )


def _nobodys(target: str) -> str:
    return (
        f"{target} is hosted here, and there is neither an account nor an alias of that address: nobody would read "
        f"its mail; add the account first (valija user add {target}), or name another target"
    )


def drop_dead_ends(accounts: "Accounts", lives: Lives, gone: Iterable[str]) -> list[str]:
    """Drop the addresses that are gone from the aliases that lead there, and so on; return those aliases.

    An address that somebody still has is not gone.
    """
    pending = deque(gone)
    led_there: dict[str, None] = {}
    while pending:
        address = pending.popleft()
        if lives(address):
            continue
        for alias, targets in accounts.aliases().items():
            if leading := [target for target in targets if _same(target, address, accounts.delimiter)]:
                accounts.remove_alias(alias, leading)
                led_there[alias] = None
                pending.append(alias)
    return list(led_there)


def tell_dead_ends(accounts: "Accounts", led_there: Iterable[str]) -> list[str]:
    """Return in words what became of aliases whose targets were dropped."""
    return [
        f"the alias {alias} leads there no more"
        if accounts.aliases().get(alias)
        else f"the alias {alias} led nowhere else, and is no alias any more"
        for alias in led_there
    ]


def _same(address: str, other: str, delimiter: str = "+") -> bool:
    return mailbox_key(address, delimiter) == mailbox_key(other, delimiter)
