"""Who lives in the hosted domains, and which addresses lead to whom: the Directory that receiving asks (receive/site).

    directory = HostedDirectory(accounts, ["example.org"])
    directory.exists("Sales+spring@example.org")                   # True
    directory.expand("sales@example.org")                          # ("alice@example.org", "bob@example.net")
    directory.owns("alice@example.org", "sales@example.org")       # True

Accounts and aliases come from their file, with each question anew; what they mean together stands in policy/aliases.
`is_user` knows mailboxes besides (the system's users), `original` whose return address one is that forwarding made
(valija/return_paths). An address whose mail comes to somebody is theirs to send as, unless it is another's mailbox;
others are delegated.

Raises what those raise that it asks; that is a transient refusal, never an unknown address.
"""

from collections.abc import Callable, Collection, Iterator

import msgspec

from valija.auth.accounts import Accounts
from valija.mail.address import domain_of, mailbox_key
from valija.policy.aliases import EVERY_DOMAIN, Book, ends
from valija.policy.srs import is_return_path

_MOST_RETURNS = 3  # return addresses that stand for one another: more than there can be, but for a fault


def nobody(_: str) -> bool:
    """Return False: there are no mailboxes but those of accounts."""
    return False


def _no_return(_: str) -> str | None:
    return None


class HostedDirectory:
    """The addresses of the hosted domains, A-labels.

    With `may_be_mailbox` it is others who keep the mailboxes: it tells whether they may have one. `exists` says yes to
    all that they may be asked about, then; whoever goes on from there has to ask them.
    """

    def __init__(
        self,
        accounts: Accounts,
        domains: Collection[str],
        *,
        is_user: Callable[[str], bool] = nobody,
        may_be_mailbox: Callable[[str], bool] | None = None,
        original: Callable[[str], str | None] = _no_return,
    ) -> None:
        self._accounts = accounts
        self._domains = domains
        self._is_user = is_user
        self._may_be_mailbox = may_be_mailbox
        self._original = original
        self._delimiter = accounts.delimiter
        self._book = Book(accounts.targets, self._is_mailbox, domains, self._delimiter)

    def exists(self, address: str) -> bool:
        """Whether an address is a hosted one, and mail for it goes anywhere."""
        if domain_of(address) not in self._domains:
            return False
        if self._may_be_mailbox is not None and not is_return_path(address):
            return True
        return next(self._ends(address), None) is not None

    def expand(self, address: str) -> tuple[str, ...]:
        """Return where mail for an address goes, aliases followed; nothing, where there is no such address."""
        return tuple(self._ends(address))

    def owns(self, login: str, address: str) -> bool:
        """Whether a login may send as an address: mail for it comes to them, or it was delegated to them.

        An alias that leads to several belongs to each of them. Another's mailbox has to be delegated.
        """
        if self._accounts.is_allowed(login, address):
            return True
        own = {mailbox_key(mine, separator="") for mine in self._addresses_of(login)}
        if mailbox_key(address, self._delimiter) in own:
            return True
        if self.is_somebodys(address) or is_return_path(address):
            return False
        anywhere = msgspec.structs.replace(self._book, domains=EVERY_DOMAIN)  # an alias need not get its mail here
        return any(mailbox_key(end, self._delimiter) in own for end in ends(address, anywhere))

    def is_somebodys(self, address: str) -> bool:
        """Whether an address is an account's, or a user's that the system knows."""
        return self._accounts.is_account(mailbox_key(address, self._delimiter)) or self._is_user(address)

    def _is_mailbox(self, address: str) -> bool:
        if self._may_be_mailbox is not None:
            return self._may_be_mailbox(address)
        return self.is_somebodys(address)

    def _addresses_of(self, login: str) -> list[str]:
        return [login] if "@" in login else [f"{login}@{domain}" for domain in self._domains]

    def _ends(self, address: str) -> Iterator[str]:
        for _ in range(_MOST_RETURNS):
            if domain_of(address) not in self._domains or not is_return_path(address):
                return ends(address, self._book)
            original = self._original(address)
            if original is None:
                break
            address = original
        return iter(())
