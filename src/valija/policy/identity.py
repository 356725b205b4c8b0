"""Whose name may a user send in? Decided for the envelope at MAIL, and for each address of the header when all is read.

A user may use

- the address that is the login, its local part in any case and with any subaddress (`alice+news@`);
- where the login has no domain (a system user), that local part in each hosted domain;
- the addresses that `owns` grants: aliases that lead to the login, to it alone or among others, and what was delegated
  to it, single addresses and whole domains (`@example.net`), hosted here or not;
- in the envelope, the null reverse-path, for receipts.

    >>> may_use("alice@example.org", "Alice+news@example.org", hosted=[], owns=lambda login, address: False)
    True

Any other address is refused, in a hosted domain or not: in the envelope, in From, and in the topmost Resent-From and
Resent-Sender, as those below are of earlier resenders (RFC 5322 section 3.6.6). A Sender that is not theirs, which
some programs show as who sent it "on behalf of" others, is left out (RFC 6409 section 8.1). To resend another's message
under their From is refused, too: it would leave signed as ours.

Who does not log in has no name here. Clients that nobody knows may be kept from naming a hosted domain in the envelope
(`check_outsider`); whether From speaks the truth is a matter of DMARC.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from valija.content.compose import printable
from valija.mail.address import domain_of, fold_case, split
from valija.mail.reply import Reply

Owns = Callable[[str, str], bool]
"""`owns(login, address)`: whether an alias or a delegation gives an address, as it was written, to the login."""

SEPARATOR: Final = "+"
_NAMED: Final = 3  # hosted domains a refusal names
_LONGEST_NAMED: Final = 100  # characters: a reply line has room for 512 octets


def may_use(login: str, address: str, *, hosted: Collection[str], owns: Owns, delimiter: str = SEPARATOR) -> bool:
    """Tell whether the address is the user's. Domains are lower-case A-labels; `""` is nobody's.

    What stands behind the `delimiter` is a subaddress; with `""` nothing is one.
    """
    local, domain = split(address)
    if not local or not domain:
        return False
    own_local, own_domain = split(login)
    in_own_domain = domain == own_domain if own_domain else domain in hosted
    return (in_own_domain and _is_same_mailbox(local, own_local, delimiter)) or owns(login, address)


def _is_same_mailbox(local: str, own: str, delimiter: str) -> bool:
    folded, own_folded = fold_case(local), fold_case(own)
    if not own_folded:
        return False
    return folded == own_folded or (bool(delimiter) and folded.startswith(own_folded + delimiter))


def check_envelope(
    login: str, reverse_path: str, *, hosted: Collection[str], owns: Owns, delimiter: str = SEPARATOR
) -> Reply | None:
    """Return the refusal of a reverse-path that is not the user's, None for theirs and for `""`."""
    if not reverse_path or may_use(login, reverse_path, hosted=hosted, owns=owns, delimiter=delimiter):
        return None
    return _refuse("the sender", login, reverse_path, hosted)


def check_from(
    login: str,
    authors: Sequence[str],
    *,
    hosted: Collection[str],
    owns: Owns,
    delimiter: str = SEPARATOR,
    field: str = "From",
) -> Reply | None:
    """Return the refusal of a From field in which an address is not the user's, None where all are.

    `field` names the field, where it is another that claims who sent a message.
    """
    for address in authors:
        if not may_use(login, address, hosted=hosted, owns=owns, delimiter=delimiter):
            return _refuse(field, login, address, hosted)
    return None


def check_outsider(reverse_path: str, hosted: Collection[str]) -> Reply | None:
    """Return the refusal of a reverse-path in a hosted domain, from a client that has not logged in."""
    if domain_of(reverse_path) not in hosted:
        return None
    shown = printable(reverse_path, _LONGEST_NAMED)
    return Reply(550, "5.7.1", f"{shown} sends through this server: log in on the submission port")


def _refuse(place: str, login: str, address: str, hosted: Collection[str]) -> Reply:
    shown, own = printable(address, _LONGEST_NAMED), own_addresses(login, hosted)
    words = f"{shown} is not yours to use as {place}: use {own} or an alias, or have your postmaster allow it to you"
    return Reply(550, "5.7.1", words)


def own_addresses(login: str, hosted: Collection[str]) -> str:
    """Return the login's own addresses in words, for a refusal."""
    if "@" in login or not hosted:
        return printable(login, _LONGEST_NAMED)
    named = [f"{login}@{domain}" for domain in sorted(hosted)[:_NAMED]]
    return printable(", ".join(named), _LONGEST_NAMED)
