"""The configuration as the application sees it: every layer's own options, read and checked, in one frozen value."""

from pathlib import Path
from typing import Literal

import msgspec

from valija.auth.options import SaslOptions
from valija.conduct.options import ConductOptions
from valija.config.dkim import DkimOptions
from valija.config.faults import SettingFault
from valija.content.options import ReportOptions
from valija.deliver.credentials import LoginOptions
from valija.deliver.options import MailboxOptions, SmtpOptions
from valija.dns.options import DnsOptions
from valija.history.options import HistoryOptions
from valija.https.account import MailSettings, Server
from valija.https.options import AutoconfigOptions, HttpsOptions, MtaStsOptions
from valija.https.site import Site
from valija.logs import Format, Level
from valija.mail.endpoint import Endpoint
from valija.mail.origin import Role
from valija.milter.options import Milters
from valija.policy.mta_sts_own import policy_text
from valija.policy.networks import Networks
from valija.policy.next_hop import NextHop
from valija.policy.retry import RetryPolicy
from valija.policy.route import Router, RouteRule
from valija.receive.check_options import CheckOptions
from valija.receive.options import ForwardingOptions, ListenerOptions, LocalOptions
from valija.rspamd.options import RspamdOptions
from valija.tls.options import TlsOptions
from valija.tls_reports.options import TlsReportOptions


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
    `relayhost_login` and the `routes` name their login among `logins`.
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
    relayhost: NextHop | None
    relayhost_login: str
    routes: tuple[RouteRule, ...]
    logins: tuple[LoginOptions, ...]
    queue: RetryPolicy
    tls_report: TlsReportOptions
    dns: DnsOptions
    log: LogOptions
    web: WebOptions
    history: HistoryOptions = HistoryOptions()
    reports: ReportOptions = ReportOptions()
    checks: CheckOptions = CheckOptions()
    rspamd: RspamdOptions = RspamdOptions()
    milters: Milters = Milters()
    dkim: DkimOptions = DkimOptions()
    https: HttpsOptions = HttpsOptions()
    mta_sts: MtaStsOptions = MtaStsOptions()
    autoconfig: AutoconfigOptions = AutoconfigOptions()
    local: LocalOptions = LocalOptions()
    recipient_delimiter: str = "+"
    mailbox: MailboxOptions = MailboxOptions()
    forwarding: ForwardingOptions = ForwardingOptions()
    conduct: ConductOptions = ConductOptions()
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
    def account_use_file(self) -> Path:
        """The database of what accounts have sent, from where and to whom."""
        return self.data_dir / "account-use.sqlite3"

    @property
    def tokens_dir(self) -> Path:
        """The folder of the tokens that the logins at other servers have been given."""
        return self.data_dir / "tokens"

    @property
    def mta_sts_file(self) -> Path:
        """The database of other domains' MTA-STS policies."""
        return self.data_dir / "mta-sts.sqlite3"

    @property
    def tls_report_file(self) -> Path:
        """The database of what TLS reports are made of."""
        return self.data_dir / "tls-report.sqlite3"

    @property
    def srs_keys_file(self) -> Path:
        """The file of the keys that return addresses are made with."""
        return self.data_dir / "srs.keys"

    @property
    def history_dir(self) -> Path:
        """The folder of what the log told."""
        return self.data_dir / "history"

    @property
    def dkim_dir(self) -> Path:
        """The folder of DKIM keys, one folder in it for each domain."""
        return self.data_dir / "dkim"

    @property
    def router(self) -> Router:
        """Who tells the way of each recipient."""
        mailboxes: Literal["maildir", "lmtp"] = "lmtp" if self.mailbox.lmtp else "maildir"
        return Router(self.domains, self.relayhost, login=self.relayhost_login, rules=self.routes, mailboxes=mailboxes)

    @property
    def site(self) -> Site:
        """What is served over HTTPS, where that is switched on."""
        hosts = dict.fromkeys((self.hostname, *self.mta_sts.mx))
        policy = policy_text(self.mta_sts.mode, hosts, int(self.mta_sts.max_age))
        return Site(self.hostname, self.domains, policy, self._mail_settings)

    @property
    def _mail_settings(self) -> MailSettings | None:
        """What mail programs are told; None where it would be half of an account."""
        outgoing = tuple(
            Server(self.hostname, options.listen[0].port, is_wrapped=options is self.submissions)
            for options in (self.submissions, self.submission)
            if options.listen
        )
        kept = self.autoconfig
        if not kept.imap_host or not outgoing:
            return None
        return MailSettings(Server(kept.imap_host, kept.imap_port, is_wrapped=True), outgoing, kept.login, kept.name)

    @property
    def listeners(self) -> dict[Role, ListenerOptions]:
        """The options of each listener role."""
        return {"smtpd": self.smtpd, "submission": self.submission, "submissions": self.submissions}

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Everywhere this server listens for mail."""
        return tuple(endpoint for options in self.listeners.values() for endpoint in options.listen)
