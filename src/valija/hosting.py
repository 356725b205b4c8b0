"""The parts that know the hosted domains, put together under one configuration.

    hosting = Hosting(config, accounts, users, log)
    hosting.directory                      # who lives here (auth/hosted)
    hosting.return_path("ann@remote.example")
    hosting.address(report)                # a report of ours, to whoever has the mail of its recipient

Built anew by a reload. The accounts take up the delimiter of the configuration.
"""

import time
from functools import partial

import msgspec

from valija.auth.accounts import Accounts
from valija.auth.hosted import HostedDirectory, nobody
from valija.auth.system_users import SystemUsers
from valija.config import Config
from valija.logs import Log
from valija.queue.store import NewMessage
from valija.receive.following import follow
from valija.return_paths import ReturnPaths, no_return_path
from valija.srs_keys import SrsKeys


class Hosting:
    """What a configuration says of the hosted domains."""

    def __init__(self, config: Config, accounts: Accounts, users: SystemUsers, log: Log) -> None:
        self._domains = frozenset(config.domains)
        accounts.delimiter = config.recipient_delimiter
        domain = config.forwarding.srs_domain or config.domains[0]
        paths = ReturnPaths(domain, self._domains, SrsKeys(config.srs_keys_file), time.time, log)
        self.return_path = paths.made_for if config.forwarding.srs else no_return_path
        have_mailbox = partial(users.have_mailbox, delimiter=config.recipient_delimiter)
        self.directory = HostedDirectory(
            accounts,
            self._domains,
            is_user=nobody if config.sasl.type == "accounts" else have_mailbox,
            original=paths.original,  # of what left before it was switched off, too
        )

    def address(self, report: NewMessage) -> NewMessage:
        """Return a report to where mail for its recipient goes: the sender may be an alias, or one we forward for."""
        envelope = report.envelope
        recipients = follow(self.directory, self._domains, envelope.recipients, b"", lambda: "")
        return msgspec.structs.replace(report, envelope=msgspec.structs.replace(envelope, recipients=recipients))
