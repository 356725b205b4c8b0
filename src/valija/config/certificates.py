"""What the settings of certificates must be to each other and to the rest: part of valija/config/relations."""

from collections.abc import Iterator

from valija.config.document import Document
from valija.config.faults import Setting
from valija.config.model import Config
from valija.mail.fault import Fault
from valija.tls.options import CertificateOptions

Finding = tuple[Setting, Fault]


def check_certificates(document: Document, config: Config) -> None:
    """Refuse certificates that nothing could come of."""
    places = ["tls", *(f"tls.certificates#{number}" for number in range(1, len(config.tls.certificates) + 1))]
    seen: dict[str, str] = {}
    for table, wanted in zip(places, config.tls.wanted(config.hostname), strict=True):
        for setting, fault in _faults_of(table, wanted, config, seen):
            if document.is_sound(table, "certificate", setting.key):
                document.refuse(setting, fault)
    if config.tls.uses_acme and document.is_sound("tls", "certificate", "acme_challenge"):
        for setting, fault in _faults_of_the_way(config):
            document.refuse(setting, fault)


def _faults_of(table: str, wanted: CertificateOptions, config: Config, seen: dict[str, str]) -> Iterator[Finding]:
    if not wanted.names:
        yield (
            Setting(table, "names"),
            Fault(None, "it is not said for which hosts it is", 'write names = ["smtp.example.net"]'),
        )
        return
    if wanted.certificate == "files":
        yield from _missing_files(table, wanted)
    if wanted.certificate == "acme":
        yield from _not_for_an_authority(table, wanted, config)
    for name in wanted.names:
        if (where := seen.setdefault(name, table)) != table:
            what = f"the certificate in {Setting(where, '')} is for {name} already"
            yield Setting(table, "names"), Fault([*wanted.names], what, "name each host once")


def _missing_files(table: str, wanted: CertificateOptions) -> Iterator[Finding]:
    for key, value in (("cert_file", wanted.cert_file), ("key_file", wanted.key_file)):
        if not value:
            remedy = 'name the PEM file, or write certificate = "self-signed"'
            yield Setting(table, key), Fault(None, 'certificate = "files" needs it', remedy)


def _not_for_an_authority(table: str, wanted: CertificateOptions, config: Config) -> Iterator[Finding]:
    own = wanted.names[0] == config.hostname and table == "tls"
    for name in wanted.names:
        setting = Setting("", "hostname") if own and name == config.hostname else Setting(table, "names")
        if "." not in name:
            yield setting, Fault(name, "no authority vouches for a name without a dot", "write the machine's full name")
        if name.startswith("*.") and config.tls.acme_challenge != "dns-01":
            remedy = 'write acme_challenge = "dns-01", or the names one by one'
            yield setting, Fault(name, "authorities give out wildcards by dns-01 only", remedy)


def _faults_of_the_way(config: Config) -> Iterator[Finding]:
    tls = config.tls
    if tls.acme_challenge == "dns-01" and bool(tls.acme_dns_hook) == (tls.acme_dns_server is not None):
        what = "one of acme_dns_hook and acme_dns_server has to publish the proof"
        remedy = "set one of them" if not tls.acme_dns_hook else "leave one of them out"
        yield Setting("tls", "acme_challenge"), Fault(tls.acme_challenge, what, remedy)
    key = "acme_alpn_listen" if tls.acme_challenge == "tls-alpn-01" else "acme_http_listen"
    for endpoint in tls.challenge_listen:
        if endpoint.port in {each.port for each in config.endpoints}:
            what = "this port is one for mail already"
            yield (
                Setting("tls", key),
                Fault(str(endpoint), what, "authorities come to port 80, or to 443 for tls-alpn-01"),
            )
    if tls.acme_challenge != "dns-01" and not tls.acme_webroot and not tls.challenge_listen:
        what = "the authority has to reach this server"
        yield Setting("tls", key), Fault([], what, 'write ["0.0.0.0:80"], or set acme_webroot, or use "dns-01"')
