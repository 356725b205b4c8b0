"""The parts that know the hosted domains, put together under one configuration.

    hosting = Hosting(config, accounts, users, log)
    hosting.directory                      # who lives here (auth/hosted)
    hosting.return_path("ann@remote.example")
    hosting.address(report)                # a report of ours, to whoever has the mail of its recipient

Built anew by a reload. The accounts take up the delimiter of the configuration.
"""

import time
from functools import partial
from typing import Final

import msgspec

from valija.auth.accounts import Accounts
from valija.auth.hosted import HostedDirectory, nobody
from valija.auth.system_users import SystemUsers
from valija.config import Config
from valija.deliver.lmtp_question import ask
from valija.logs import Log
from valija.queue.store import NewMessage
from valija.receive.checks import Checks
from valija.receive.following import follow
from valija.receive.mailbox_check import Mailboxes, mailbox_offer
from valija.return_paths import ReturnPaths, no_return_path
from valija.srs_keys import SrsKeys

_PATIENCE: Final = 5.0  # seconds for an answer about a mailbox


class Hosting:
    """What a configuration says of the hosted domains."""

    def __init__(self, config: Config, accounts: Accounts, users: SystemUsers, log: Log) -> None:
        self._domains = frozenset(config.domains)
        accounts.delimiter = config.recipient_delimiter
        domain = config.forwarding.srs_domain or config.domains[0]
        paths = ReturnPaths(domain, self._domains, SrsKeys(config.srs_keys_file), time.time, log)
        self.return_path = paths.made_for if config.forwarding.srs else no_return_path
        have_mailbox = partial(users.have_mailbox, delimiter=config.recipient_delimiter)
        place = config.mailbox.lmtp
        patient = partial(ask, place, config.hostname, patience=_PATIENCE)
        self._mailboxes = Mailboxes(patient, is_known=self._is_somebodys, monotonic=time.monotonic)
        self.directory = HostedDirectory(
            accounts,
            self._domains,
            is_user=nobody if config.sasl.type == "accounts" else have_mailbox,
            may_be_mailbox=self._mailboxes.may_exist if place else None,
            original=paths.original,  # of what left before it was switched off, too
        )
        self._offers = (mailbox_offer(self._mailboxes, self.directory, self._domains),) if place else ()

    def checked(self, checks: Checks) -> Checks:
        """Return the checks with the one for mailboxes behind them, where others keep those."""
        return Checks((*checks.of_strangers, *self._offers)) if self._offers else checks

    def _is_somebodys(self, address: str) -> bool:
        return self.directory.is_somebodys(address)

    def address(self, report: NewMessage) -> NewMessage:
        """Return a report to where mail for its recipient goes: the sender may be an alias, or one we forward for."""
        envelope = report.envelope
        recipients = follow(self.directory, self._domains, envelope.recipients, b"", lambda: "")
        return msgspec.structs.replace(report, envelope=msgspec.structs.replace(envelope, recipients=recipients))
