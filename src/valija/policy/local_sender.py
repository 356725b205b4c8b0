"""Whose name may a program of this machine send in, that logs in nowhere and is known by its user alone?

    senders = LocalSenders(hosted=frozenset({"example.org"}), granted={"www-data": ("@shop.example",)})
    may_send_as("www-data", "www-data@example.org", senders, is_claimed)       # its own name
    may_send_as("www-data", "orders@shop.example", senders, is_claimed)        # granted
    may_send_as("www-data", "noreply@example.org", senders, is_claimed)        # nobody's
    may_send_as("www-data", "alice@example.org", senders, is_claimed)          # False: it is Alice's

The rules, first match:

1. A trusted user (root) sends in any name: whoever may read the server's keys needs no leave.
2. A user has their own name, with any subaddress, in each hosted domain.
3. What the configuration grants: addresses, or `@domain` for all of a domain.
4. In a hosted domain an address that is nobody's may be used, unless that is switched off: what programs call
   themselves (`noreply`, `wordpress`). Accounts, aliases, users of the machine and RESERVED roles are not nobody.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from valija.mail.address import fold_case, mailbox_key, split

RESERVED: Final = frozenset(
    # who answers for a domain and its machines (RFC 2142), and who would be obeyed
    {"abuse", "admin", "administrator", "hostmaster", "mailer-daemon", "noc", "postmaster", "root", "security"}
)


class LocalSenders(msgspec.Struct, frozen=True):
    """What the decision rests on. `granted` has addresses and `@domain` by user, domains as lower-case A-labels.

    `unclaimed`: whether addresses that are nobody's may be used. What stands behind the `delimiter` is a subaddress;
    with `""` nothing is one.
    """

    hosted: frozenset[str]
    trusted: frozenset[str] = frozenset({"root"})
    granted: Mapping[str, tuple[str, ...]] = {}
    unclaimed: bool = True
    delimiter: str = "+"

    def base_of(self, local: str) -> str:
        """Return a local part without its subaddress, for comparison."""
        folded = fold_case(local)
        return (folded.partition(self.delimiter)[0] or folded) if self.delimiter else folded


def may_send_as(user: str, address: str, senders: LocalSenders, is_claimed: Callable[[str], bool]) -> bool:
    """Tell whether a user of the machine may use an address, in the envelope or in From.

    `is_claimed` tells of an address in a hosted domain whether it is somebody's; what it raises goes up.
    """
    if user in senders.trusted:
        return True
    local, domain = split(address)
    if not local or not domain:
        return False
    if domain in senders.hosted and fold_case(user) in (fold_case(local), senders.base_of(local)):
        return True
    if _is_granted(address, senders.granted.get(user, ()), senders.delimiter):
        return True
    if not senders.unclaimed or domain not in senders.hosted or senders.base_of(local) in RESERVED:
        return False
    return not is_claimed(address)


def _is_granted(address: str, entries: tuple[str, ...], delimiter: str) -> bool:
    domain = split(address)[1]
    key = mailbox_key(address, delimiter)
    return any(
        entry == f"@{domain}" if entry.startswith("@") else mailbox_key(entry, delimiter) == key for entry in entries
    )
