"""What the sending side may be told; the names are Postfix's without `smtp_`. Durations in seconds."""

import msgspec

from valija.policy.tls import TlsSecurityLevel
from valija.smtp.client_events import Step


class SmtpOptions(msgspec.Struct, frozen=True):
    """The `[smtp]` table. The time limits are those of RFC 5321 section 4.5.3.2.

    `port` is the one MX hosts are reached on. `connect_timeout` is for all addresses of a host together.
    `connection_cache_time` is how long an idle connection is kept, `connection_reuse_time_limit` the age at which it is
    given up; `mx_address_limit` how many addresses are tried in one attempt.
    """

    tls_security_level: TlsSecurityLevel = "may"
    port: int = 25
    starttls_timeout: float = 60.0
    tls_ca_file: str = ""
    destination_concurrency_limit: int = 20
    destination_recipient_limit: int = 50
    connection_cache_time: float = 2.0
    connection_reuse_time_limit: float = 300.0
    mx_address_limit: int = 5
    connect_timeout: float = 30.0
    helo_timeout: float = 300.0
    mail_timeout: float = 300.0
    rcpt_timeout: float = 300.0
    data_init_timeout: float = 120.0
    data_xfer_timeout: float = 180.0
    data_done_timeout: float = 600.0
    rset_timeout: float = 20.0


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
        Step.RSET: options.rset_timeout,
        Step.OVER: float("inf"),
    }
