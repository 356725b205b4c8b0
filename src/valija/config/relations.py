"""What settings must be to each other, once each of them alone makes sense; and what works but may surprise."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from itertools import combinations

from valija.auth.options import INET, host_and_port
from valija.config.certificates import check_certificates
from valija.config.document import Document
from valija.config.faults import Setting, SettingFault
from valija.config.hosting import check_forwarding
from valija.config.https import check_https, doubts_about_https
from valija.config.logins import check_logins
from valija.config.milters import doubts_about_milters
from valija.config.model import Config
from valija.config.routes import check_routes
from valija.config.rspamd import doubts_about_rspamd
from valija.config.sending import check_pools, foreign_addresses
from valija.config.tls_policies import check_tls_rules, doubts_about_dane
from valija.config.tls_report import check_tls_report
from valija.config.tokens import check_tokens
from valija.mail.fault import Fault


def check(document: Document, config: Config, is_local_address: Callable[[str], bool]) -> None:
    """Refuse settings that contradict each other."""
    _check_listeners(document, config)
    check_certificates(document, config)
    check_tokens(document, config)
    check_tls_report(document, config)
    _check_durations(document, config)
    check_logins(document, config)
    check_pools(document, config)
    check_routes(document, config, is_local_address)
    check_tls_rules(document, config)
    check_forwarding(document, config)
    check_https(document, config)


def _check_listeners(document: Document, config: Config) -> None:
    roles = [role for role in config.listeners if document.is_sound(role, "listen")]
    places = [(role, endpoint) for role in roles for endpoint in config.listeners[role].listen]
    for (first_role, first), (role, endpoint) in combinations(places, 2):
        if first.overlaps(endpoint):
            fault = Fault(
                str(endpoint), f"[{first_role}] listens on {first} already", "give each listener its own port"
            )
            document.refuse(Setting(role, "listen"), fault)


def _check_durations(document: Document, config: Config) -> None:
    keys = ("maximal_backoff_time", "minimal_backoff_time")
    if not document.is_sound("queue", *keys) or config.queue.minimal_backoff <= config.queue.maximal_backoff:
        return
    # At least one of them is written out: the defaults fit each other.
    key = next(key for key in keys if document.written("queue", key) is not None)
    fault = Fault(
        document.written("queue", key),
        "minimal_backoff_time is longer than maximal_backoff_time",
        "make maximal_backoff_time at least as long",
    )
    document.refuse(Setting("queue", key), fault)


def warnings(document: Document, config: Config, is_local_address: Callable[[str], bool]) -> Iterator[SettingFault]:
    """Yield what a sound configuration should be warned about."""
    found = (
        *_nameless(document, config),
        *_surprises(config),
        *foreign_addresses(config, is_local_address),
        *doubts_about_dane(config),
        *doubts_about_https(config),
        *doubts_about_rspamd(config),
        *doubts_about_milters(config),
    )
    for setting, fault in found:
        yield SettingFault.of(document.source, setting, fault)


def _nameless(document: Document, config: Config) -> Iterator[tuple[Setting, Fault]]:
    # Whoever writes `localhost` tries something out; a machine that knows no better name for itself is a surprise.
    is_meant = config.hostname == "localhost" and document.written("", "hostname") is not None
    if "." not in config.hostname and not is_meant:
        yield (
            Setting("", "hostname"),
            Fault(config.hostname, "other servers distrust a name without a dot", "write the machine's full name"),
        )


def _surprises(config: Config) -> Iterator[tuple[Setting, Fault]]:
    if config.user == "root":
        yield Setting("", "user"), Fault("root", "no privileges are dropped", "name a user of the server's own")
    for role, options in config.listeners.items():
        if options.recipient_limit < 100:
            yield (
                Setting(role, "recipient_limit"),
                Fault(options.recipient_limit, "clients count on 100 recipients (RFC 5321)", "write 100 or more"),
            )
    if config.sasl.type == "dovecot" and config.sasl.path.startswith(INET) and not _is_loopback(config.sasl.path):
        yield (
            Setting("sasl", "path"),
            Fault(config.sasl.path, "passwords travel there in clear", "let nobody else into that network"),
        )
    for entry in config.networks.private_entries:
        yield (
            Setting("", "mynetworks"),
            Fault(
                entry, "everyone in this private range may relay", "make sure no gateway lets strangers appear in it"
            ),
        )
    for address in config.networks.exceptions:
        yield (
            Setting("", "mynetworks"),
            Fault(address, "this gateway lies in a trusted range and is not trusted", "nothing need be done"),
        )
    if config.tls.certificate != "files" and (config.tls.cert_file or config.tls.key_file):
        yield (
            Setting("tls", "certificate"),
            Fault(
                config.tls.certificate, "cert_file and key_file are not used", 'write certificate = "files" to use them'
            ),
        )


def _is_loopback(socket: str) -> bool:
    host, _ = host_and_port(socket)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
