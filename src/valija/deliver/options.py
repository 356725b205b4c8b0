"""What the sending side may be told; the names are Postfix's without `smtp_`. Durations in seconds."""

import msgspec

from valija.policy.next_hop import NextHop
from valija.policy.tls_ladders import TlsSecurityLevel
from valija.policy.tls_rules import TlsRule
from valija.smtp.client_events import Step


class SourcePool(msgspec.Struct, frozen=True):
    """A `[[smtp.pool]]`: addresses that mail leaves from, none for the kernel's choice, and the name given in EHLO."""

    name: str = ""
    addresses: tuple[str, ...] = ()
    helo_name: str = ""


class MailboxOptions(msgspec.Struct, frozen=True):
    """Where mail of hosted domains is put: into Maildirs of ours, or handed over by LMTP.

    `lmtp` is the path of a socket, or `inet:HOST:PORT`; `""` for Maildirs.
    """

    lmtp: str = ""


class SmtpOptions(msgspec.Struct, frozen=True):
    """The `[smtp]` table. The time limits are those of RFC 5321 section 4.5.3.2.

    `mta_sts`: domains are asked for their policies. `port` is the one MX hosts are reached on. `connect_timeout` is
    for all addresses of a host together. `connection_cache_time` is how long an idle connection is kept,
    `connection_reuse_time_limit` the age at which it is given up, `connection_reuse_count_limit` after how many
    messages it is (0: never); `mx_address_limit` how many addresses are tried in one attempt. `bind_addresses` and
    `helo_name` are for mail of no pool; `helo_name` is `""` for the server's own name. `fallback_relay` is tried where
    no host of a next hop could be found or reached.
    """

    tls_security_level: TlsSecurityLevel = "may"
    mta_sts: bool = True
    port: int = 25
    starttls_timeout: float = 60.0
    tls_ca_file: str = ""
    destination_concurrency_limit: int = 20
    destination_recipient_limit: int = 50
    connection_cache_time: float = 2.0
    connection_reuse_time_limit: float = 300.0
    connection_reuse_count_limit: int = 100
    mx_address_limit: int = 5
    connect_timeout: float = 30.0
    helo_timeout: float = 300.0
    mail_timeout: float = 300.0
    rcpt_timeout: float = 300.0
    data_init_timeout: float = 120.0
    data_xfer_timeout: float = 180.0
    data_done_timeout: float = 600.0
    rset_timeout: float = 20.0
    discard_ehlo_keywords: frozenset[str] = frozenset()
    bind_addresses: tuple[str, ...] = ()
    helo_name: str = ""
    pools: tuple[SourcePool, ...] = ()
    fallback_relay: tuple[NextHop, ...] = ()
    policies: tuple[TlsRule, ...] = ()


def time_limits(options: SmtpOptions) -> dict[Step, float]:
    """Return how long a peer may keep us waiting at each step, in seconds."""
    return {
        Step.BANNER: options.helo_timeout,
        Step.EHLO: options.helo_timeout,
        Step.HELO: options.helo_timeout,
        Step.STARTTLS: options.starttls_timeout,
        Step.HANDSHAKE: options.starttls_timeout,
        Step.AUTH: options.mail_timeout,
        Step.IDLE: options.connection_cache_time,
        Step.MAIL: options.mail_timeout,
        Step.RCPT: options.rcpt_timeout,
        Step.DATA: options.data_init_timeout,
        Step.CONTENT: options.data_xfer_timeout,
        Step.FINAL: options.data_done_timeout,
        Step.CHUNK: options.data_done_timeout,
        Step.RSET: options.rset_timeout,
        Step.OVER: float("inf"),
    }
