"""Every setting: its table, its key, how it is read, and its default, which is the layer's own.

    document = Document("valija.toml", tomllib.loads(text))
    config = build(document, folder, facts)        # raises ConfigError with every fault

A table is read by the function that bears its name.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from valija.auth.options import INET, SaslOptions, socket_fault
from valija.auth.pam_service import name_fault
from valija.config import relations
from valija.config.checks import read_checks
from valija.config.dkim import read_dkim
from valija.config.document import Document, Reader, Table
from valija.config.ehlo_keywords import ehlo_keywords
from valija.config.faults import Refused, Setting
from valija.config.history import read_history
from valija.config.hosting import read_forwarding, read_mailbox, recipient_delimiter
from valija.config.https import read_autoconfig, read_https, read_mta_sts
from valija.config.later import available
from valija.config.limits import read_limits
from valija.config.local import read_local
from valija.config.logins import read_login
from valija.config.milters import read_milters
from valija.config.model import Config, LogOptions, WebOptions
from valija.config.readers import (
    certificate_name,
    choice,
    command,
    domain,
    duration,
    each,
    endpoint,
    entries,
    flag,
    folder_path,
    https_url,
    judged,
    number,
    parsed,
    path,
    text,
    user,
)
from valija.config.reports import read_reports
from valija.config.routes import read_route, relay
from valija.config.rspamd import read_rspamd
from valija.config.sending import read_connections, read_pool
from valija.config.submission import read_request_limits
from valija.config.tls_policies import LEVELS, read_tls_rule
from valija.config.tls_report import read_tls_report
from valija.config.tokens import read_oauth
from valija.deliver.options import SmtpOptions
from valija.dns.options import DnsOptions, parse_nameserver
from valija.mail.endpoint import Endpoint
from valija.policy.networks import Gateway, Networks
from valija.policy.next_hop import parse_next_hop
from valija.policy.relay import domains_of
from valija.policy.requests import RequestLimits
from valija.policy.retry import RetryPolicy
from valija.receive.options import ListenerOptions
from valija.tls.options import CertificateOptions, TlsOptions

_MEBIBYTE: Final = 1 << 20
_MOST_WORKERS: Final = 256
_DATA_DIR: Final = "/var/lib/valija"
_NETWORKS: Final = ["127.0.0.0/8", "[::1]/128"]
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 a mail server listens to the world; that is its default

C = TypeVar("C", bound=str)


class Facts(msgspec.Struct, frozen=True):
    """What the configuration needs to know of the machine, each asked for only where it matters."""

    hostname: Callable[[], str]
    cores: Callable[[], int]
    gateways: Callable[[], Collection[Gateway]]
    is_local_address: Callable[[str], bool]
    trust_fault: Callable[[str], tuple[str, str] | None]


def build(document: Document, folder: Path, facts: Facts) -> Config:
    """Return the configuration in a document. Relative paths start at `folder`. Raises ConfigError."""
    config = _read(document, folder, facts)
    relations.check(document, config, facts.is_local_address)
    document.finish()
    return msgspec.structs.replace(config, warnings=tuple(relations.warnings(document, config, facts.is_local_address)))


def _read(document: Document, folder: Path, facts: Facts) -> Config:
    top = document.table("")
    hostname = top.read("hostname", domain, "") or facts.hostname()
    networks = top.read("mynetworks", lambda value: _networks(value, facts), _networks(_NETWORKS, facts))
    domains: tuple[str, ...] = top.read("domains", lambda value: _domains(value, hostname), (hostname,))
    smtp = document.table("smtp")
    smtpd, submission = document.table("smtpd"), document.table("submission")
    limits = read_request_limits(submission)
    return Config(
        source=document.source,
        hostname=hostname,
        domains=domains,
        mynetworks=networks[0],
        networks=networks[1],
        data_dir=(data_dir := Path(top.read("data_dir", folder_path(folder, _DATA_DIR), _DATA_DIR))),
        user=top.read("user", user, "valija"),
        workers=top.read("workers", number(1, _MOST_WORKERS), 0) or min(facts.cores(), _MOST_WORKERS),
        message_size_limit=top.read("message_size_limit", number(1, 1 << 40, "octets"), 50 * _MEBIBYTE),
        recipient_delimiter=top.read("recipient_delimiter", recipient_delimiter, "+"),
        mailbox=read_mailbox(document.table("mailbox"), folder),
        forwarding=read_forwarding(document.table("forwarding")),
        smtpd=_smtpd(smtpd),
        submission=_listener(submission, 587, limits),
        submissions=_listener(document.table("submissions"), 465, limits),
        local=read_local(local := document.table("local"), folder, data_dir),
        sasl=(sasl := _sasl(document.table("sasl"), folder, facts.trust_fault)),
        tls=_tls(document, folder),
        smtp=msgspec.structs.replace(
            options := read_connections(smtp, _smtp(smtp, folder, facts.trust_fault)),
            pools=document.array("smtp", "pool", read_pool),
            policies=document.array("smtp", "policy", lambda table: read_tls_rule(table, options.tls_security_level)),
        ),
        relayhost=smtp.read("relayhost", parsed(parse_next_hop), None),
        relayhost_login=smtp.read("relayhost_login", text, ""),
        routes=document.array("smtp", "route", read_route),
        logins=document.array("smtp", "login", lambda table: read_login(table, folder, _trusted(folder, facts))),
        queue=_queue(queue := document.table("queue")),
        reports=read_reports(queue),
        conduct=read_limits(document.table("limits")),
        checks=read_checks(document.table("checks")),
        rspamd=read_rspamd(document.table("rspamd"), folder),
        milters=read_milters(smtpd, submission, local, document.table("milter")),
        tls_report=read_tls_report(document.table("tls_report"), domains),
        dkim=read_dkim(document.table("dkim")),
        dns=_dns(document.table("dns")),
        log=_log(document.table("log")),
        history=read_history(document.table("history")),
        web=_web(document.table("web")),
        https=read_https(document.table("https")),
        mta_sts=read_mta_sts(document.table("mta_sts")),
        autoconfig=read_autoconfig(document.table("autoconfig"), hostname, sasl),
    )


def _trusted(folder: Path, facts: Facts) -> Reader[str]:
    return judged(path(folder), lambda written: facts.trust_fault(written) if written else None)


def _choose(table: Table, key: str, choices: tuple[C, ...], default: C) -> C:
    return table.read(key, choice(*available(Setting(table.name, key), choices)), default)


def _domains(value: object, hostname: str) -> tuple[str, ...]:
    domains, faults = domains_of(entries(value), hostname)
    if faults:
        raise Refused(*faults)
    return domains


def _networks(value: object, facts: Facts) -> tuple[tuple[str, ...], Networks]:
    written = entries(value)
    networks, faults = Networks.parse(written, facts.gateways())
    if faults:
        raise Refused(*faults)
    return tuple(map(str, written)), networks


def _smtpd(table: Table) -> ListenerOptions:
    options = _listener(table, 25, greet_pause=1.0)
    level = _choose(table, "tls_security_level", ("may", "encrypt", "none"), options.tls_security_level)
    return msgspec.structs.replace(
        options,
        tls_security_level=level,
        reject_own_senders=table.read("reject_own_senders", flag, options.reject_own_senders),
        unknown_recipient_limit=table.read(
            "unknown_recipient_limit", number(0, 60_000), options.unknown_recipient_limit
        ),
    )


def _listener(
    table: Table, port: int, limits: RequestLimits | None = None, greet_pause: float = 0.1
) -> ListenerOptions:
    default = ListenerOptions(greet_pause=greet_pause)
    everywhere = tuple(Endpoint(host, port) for host in _EVERYWHERE)
    return ListenerOptions(
        listen=table.read("listen", each(endpoint), everywhere),
        client_connection_count_limit=table.read(
            "client_connection_count_limit", number(1, 65_535), default.client_connection_count_limit
        ),
        client_connection_rate_limit=table.read(
            "client_connection_rate_limit", number(0, 60_000), default.client_connection_rate_limit
        ),
        error_limit=table.read("error_limit", number(1, 1_000_000), default.error_limit),
        recipient_limit=table.read("recipient_limit", number(1, 1_000_000), default.recipient_limit),
        timeout=table.read("timeout", duration("0.1s", "1h"), default.timeout),
        greet_pause=table.read("greet_pause", duration("0s", "60s"), default.greet_pause),
        request_limits=limits or default.request_limits,
    )


def _sasl(table: Table, folder: Path, trust_fault: Callable[[str], tuple[str, str] | None]) -> SaslOptions:
    default = SaslOptions()
    trusted = judged(path(folder), lambda written: trust_fault(written) if written else None)
    return SaslOptions(
        type=_choose(table, "type", ("accounts", "dovecot", "pam"), default.type),
        path=table.read("path", _dovecot_socket(folder), default.path),
        pam_service=table.read("pam_service", judged(text, name_fault), default.pam_service),
        failed_login_limit=table.read("failed_login_limit", number(0, 10_000), default.failed_login_limit),
        scram_channel_binding=table.read("scram_channel_binding", flag, default.scram_channel_binding),
        external_ca_file=table.read("external_ca_file", trusted, default.external_ca_file),
        oauth=read_oauth(table, folder, trusted),
    )


def _dovecot_socket(folder: Path) -> Callable[[object], str]:
    def read(value: object) -> str:
        written = text(value)
        return written if written.startswith(INET) else path(folder)(written)

    return judged(read, socket_fault)


def _tls(document: Document, folder: Path) -> TlsOptions:
    table = document.table("tls")
    default = TlsOptions()
    own = _certificate(table, folder)
    return TlsOptions(
        certificate=own.certificate,
        names=own.names,
        cert_file=own.cert_file,
        key_file=own.key_file,
        certificates=document.array("tls", "certificates", lambda entry: _certificate(entry, folder)),
        acme_directory=table.read("acme_directory", https_url, default.acme_directory),
        acme_email=table.read("acme_email", judged(text, _email_fault), default.acme_email),
        acme_profile=table.read("acme_profile", text, default.acme_profile),
        acme_reuse_key=table.read("acme_reuse_key", flag, default.acme_reuse_key),
        acme_ca_file=table.read("acme_ca_file", path(folder), default.acme_ca_file),
        acme_challenge=_choose(table, "acme_challenge", ("http-01", "tls-alpn-01", "dns-01"), default.acme_challenge),
        acme_http_listen=table.read("acme_http_listen", each(endpoint), default.acme_http_listen),
        acme_webroot=table.read("acme_webroot", path(folder), default.acme_webroot),
        acme_alpn_listen=table.read("acme_alpn_listen", each(endpoint), default.acme_alpn_listen),
        acme_dns_hook=table.read("acme_dns_hook", command(folder), default.acme_dns_hook),
        acme_dns_server=table.read("acme_dns_server", parsed(parse_nameserver), default.acme_dns_server),
        acme_dns_key_file=table.read("acme_dns_key_file", path(folder), default.acme_dns_key_file),
        acme_dns_wait=table.read("acme_dns_wait", duration("0s", "1h"), default.acme_dns_wait),
    )


def _email_fault(written: str) -> tuple[str, str] | None:
    local, at, domain_part = written.partition("@")
    is_address = bool(local and at and "." in domain_part) and " " not in written
    return None if is_address or not written else ("it is not an address", 'write "postmaster@example.org"')


def _certificate(table: Table, folder: Path) -> CertificateOptions:
    default = CertificateOptions()
    return CertificateOptions(
        certificate=_choose(table, "certificate", ("self-signed", "files", "acme"), default.certificate),
        names=table.read("names", each(certificate_name), default.names),
        cert_file=table.read("cert_file", path(folder), default.cert_file),
        key_file=table.read("key_file", path(folder), default.key_file),
    )


def _smtp(table: Table, folder: Path, trust_fault: Callable[[str], tuple[str, str] | None]) -> SmtpOptions:
    default = SmtpOptions()
    trusted = judged(path(folder), lambda written: trust_fault(written) if written else None)
    return SmtpOptions(
        tls_security_level=_choose(table, "tls_security_level", LEVELS, default.tls_security_level),
        mta_sts=table.read("mta_sts", flag, default.mta_sts),
        port=table.read("port", number(1, 65_535), default.port),
        starttls_timeout=table.read("starttls_timeout", duration("0.1s", "1h"), default.starttls_timeout),
        tls_ca_file=table.read("tls_ca_file", trusted, default.tls_ca_file),
        discard_ehlo_keywords=table.read("discard_ehlo_keywords", ehlo_keywords, default.discard_ehlo_keywords),
        connect_timeout=table.read("connect_timeout", duration("0.1s", "1h"), default.connect_timeout),
        fallback_relay=table.read("fallback_relay", each(parsed(relay)), default.fallback_relay),
        destination_concurrency_limit=table.read(
            "destination_concurrency_limit", number(1, 10_000), default.destination_concurrency_limit
        ),
        connection_reuse_count_limit=table.read(
            "connection_reuse_count_limit", number(0, 1_000_000), default.connection_reuse_count_limit
        ),
    )


def _queue(table: Table) -> RetryPolicy:
    default = RetryPolicy()
    return RetryPolicy(
        minimal_backoff=table.read("minimal_backoff_time", duration("0.1s"), default.minimal_backoff),
        maximal_backoff=table.read("maximal_backoff_time", duration("0.1s"), default.maximal_backoff),
        lifetime=table.read("maximal_queue_lifetime", duration("0s"), default.lifetime),
        delay_warning=table.read("delay_warning_time", duration("0s"), default.delay_warning),
    )


def _dns(table: Table) -> DnsOptions:
    default = DnsOptions()
    return DnsOptions(
        nameservers=table.read("nameservers", each(parsed(parse_nameserver)), default.nameservers),
        trust_ad=table.read("trust_ad", flag, default.trust_ad),
    )


def _log(table: Table) -> LogOptions:
    default = LogOptions()
    return LogOptions(
        level=_choose(table, "level", ("debug", "info", "warning", "error"), default.level),
        format=_choose(table, "format", ("text", "json"), default.format),
    )


def _web(table: Table) -> WebOptions:
    return WebOptions(listen=table.read("listen", each(endpoint), WebOptions().listen))
