"""Whose name may a user send in? Decided for the envelope at MAIL, and for each address of From when all is read.

A user may use

- the address that is the login, its local part in any case and with any subaddress (`alice+news@`);
- where the login has no domain (a system user), that local part in each hosted domain;
- the addresses that `owns` grants: aliases that lead to the login;
- in the envelope, the null reverse-path, for receipts.

    >>> may_use("alice@example.org", "Alice+news@example.org", hosted=[], owns=lambda login, address: False)
    True

Any other address is refused, in a hosted domain or not. Sender is not looked at: receivers show and check From.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from valija.content.compose import printable
from valija.mail.address import fold_case, split
from valija.mail.reply import Reply

Owns = Callable[[str, str], bool]
"""`owns(login, address)`: whether an alias gives the address, in any case and as it was written, to the login."""

SEPARATOR: Final = "+"
_NAMED: Final = 3  # hosted domains a refusal names
_LONGEST_NAMED: Final = 100  # characters: a reply line has room for 512 octets


def may_use(login: str, address: str, *, hosted: Collection[str], owns: Owns) -> bool:
    """Tell whether the address is the user's. Domains are lower-case A-labels; `""` is nobody's."""
    local, domain = split(address)
    if not local or not domain:
        return False
    own_local, own_domain = split(login)
    in_own_domain = domain == own_domain if own_domain else domain in hosted
    return (in_own_domain and _is_same_mailbox(local, own_local)) or owns(login, address)


def _is_same_mailbox(local: str, own: str) -> bool:
    folded, own_folded = fold_case(local), fold_case(own)
    return bool(own_folded) and (folded == own_folded or folded.startswith(own_folded + SEPARATOR))


def check_envelope(login: str, reverse_path: str, *, hosted: Collection[str], owns: Owns) -> Reply | None:
    """Return the refusal of a reverse-path that is not the user's, None for theirs and for `""`."""
    if not reverse_path or may_use(login, reverse_path, hosted=hosted, owns=owns):
        return None
    return _refuse("the sender", login, reverse_path, hosted)


def check_from(login: str, authors: Sequence[str], *, hosted: Collection[str], owns: Owns) -> Reply | None:
    """Return the refusal of a From field in which an address is not the user's, None where all are."""
    for address in authors:
        if not may_use(login, address, hosted=hosted, owns=owns):
            return _refuse("From", login, address, hosted)
    return None


def _refuse(place: str, login: str, address: str, hosted: Collection[str]) -> Reply:
    shown = printable(address, _LONGEST_NAMED)
    return Reply(
        550, "5.7.1", f"{shown} is not yours to use as {place}: use {own_addresses(login, hosted)} or an alias"
    )


def own_addresses(login: str, hosted: Collection[str]) -> str:
    """Return the login's own addresses in words, for a refusal."""
    if "@" in login or not hosted:
        return printable(login, _LONGEST_NAMED)
    named = [f"{login}@{domain}" for domain in sorted(hosted)[:_NAMED]]
    return printable(", ".join(named), _LONGEST_NAMED)
