"""The configuration as the application sees it: every layer's own options, read and checked, in one frozen value."""

from pathlib import Path

import msgspec

from valija.auth.options import SaslOptions
from valija.config.faults import SettingFault
from valija.deliver.options import SmtpOptions
from valija.dns.options import DnsOptions
from valija.logs import Format, Level
from valija.mail.endpoint import Endpoint
from valija.mail.origin import Role
from valija.policy.networks import Networks
from valija.policy.retry import RetryPolicy
from valija.policy.route import Relayhost
from valija.receive.options import ListenerOptions
from valija.tls.options import TlsOptions


class LogOptions(msgspec.Struct, frozen=True):
    """What is logged, and in which form."""

    level: Level = "info"
    format: Format = "text"


class WebOptions(msgspec.Struct, frozen=True):
    """Where the page about the server is served."""

    listen: tuple[Endpoint, ...] = ()


class Config(msgspec.Struct, frozen=True):
    """A sound configuration. `source` names the file, `""` where there is none; sizes in octets.

    `domains` are lower-case A-labels, the first one's postmaster is the server's. `mynetworks` as
    written are the entries of `networks`. `data_dir` is absolute. `warnings` are settings that work but may surprise.
    """

    source: str
    hostname: str
    domains: tuple[str, ...]
    mynetworks: tuple[str, ...]
    networks: Networks
    data_dir: Path
    user: str
    workers: int
    message_size_limit: int
    smtpd: ListenerOptions
    submission: ListenerOptions
    submissions: ListenerOptions
    sasl: SaslOptions
    tls: TlsOptions
    smtp: SmtpOptions
    relayhost: Relayhost | None
    queue: RetryPolicy
    dns: DnsOptions
    log: LogOptions
    web: WebOptions
    warnings: tuple[SettingFault, ...] = ()

    @property
    def queue_dir(self) -> Path:
        """The folder of the workers' queues."""
        return self.data_dir / "queue"

    @property
    def accounts_file(self) -> Path:
        """The database of accounts and aliases."""
        return self.data_dir / "accounts.sqlite3"

    @property
    def known_networks_file(self) -> Path:
        """The database of the networks where users have logged in."""
        return self.data_dir / "known-networks.sqlite3"

    @property
    def dkim_dir(self) -> Path:
        """The folder of DKIM keys, one folder in it for each domain."""
        return self.data_dir / "dkim"

    @property
    def listeners(self) -> dict[Role, ListenerOptions]:
        """The options of each listener role."""
        return {"smtpd": self.smtpd, "submission": self.submission, "submissions": self.submissions}

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Everywhere this server listens for mail."""
        return tuple(endpoint for options in self.listeners.values() for endpoint in options.listen)
