"""The settings of what is served over HTTPS, `[https]`, `[mta_sts]` and `[autoconfig]`, and what they must be."""

from collections.abc import Iterator

from valija.auth.options import SaslOptions
from valija.config.document import Document, Table
from valija.config.faults import Setting
from valija.config.model import Config
from valija.config.readers import certificate_name, choice, domain, duration, each, endpoint, number, text
from valija.https.options import AutoconfigOptions, HttpsOptions, MtaStsOptions
from valija.https.site import names_of_domain
from valija.mail.fault import Fault
from valija.policy.certificate_names import names_match


def read_https(table: Table) -> HttpsOptions:
    """Return what stands in `[https]`."""
    return HttpsOptions(listen=table.read("listen", each(endpoint), HttpsOptions().listen))


def read_mta_sts(table: Table) -> MtaStsOptions:
    """Return what stands in `[mta_sts]`."""
    default = MtaStsOptions()
    return MtaStsOptions(
        mode=table.read("mode", choice("testing", "enforce", "none"), default.mode),
        mx=table.read("mx", each(certificate_name), default.mx),
        max_age=table.read("max_age", duration("1h", "365d"), default.max_age),
    )


def read_autoconfig(table: Table, hostname: str, sasl: SaslOptions) -> AutoconfigOptions:
    """Return what stands in `[autoconfig]`. Where Dovecot judges logins it keeps the mail too, under the same name."""
    default = AutoconfigOptions()
    return AutoconfigOptions(
        imap_host=table.read("imap_host", _host_or_none, hostname if sasl.type == "dovecot" else default.imap_host),
        imap_port=table.read("imap_port", number(1, 65_535), default.imap_port),
        login=table.read("login", choice("address", "local-part"), "local-part" if sasl.type == "pam" else "address"),
        name=table.read("name", text, default.name),
    )


def _host_or_none(value: object) -> str:
    return "" if value == "" else domain(value)


def check_https(document: Document, config: Config) -> None:
    """Refuse ports that others have."""
    if not document.is_sound("https", "listen"):
        return
    taken = [(f"[{role}]", place) for role, options in config.listeners.items() for place in options.listen]
    taken += [("[tls] acme_challenge", place) for place in config.tls.challenge_listen]
    for place in config.https.listen:
        if holder := next((who for who, other in taken if place.overlaps(other)), ""):
            document.refuse(Setting("https", "listen"), _taken(str(place), holder))


def _taken(place: str, holder: str) -> Fault:
    if holder == "[tls] acme_challenge":
        what = "certificates are proven there, by tls-alpn-01"
        return Fault(place, what, 'write acme_challenge = "http-01" or "dns-01" in [tls]')
    return Fault(place, f"{holder} listens there already", "give each listener its own port")


def doubts_about_https(config: Config) -> Iterator[tuple[Setting, Fault]]:
    """Yield domains whose names are served, and that no certificate is for, as far as the configuration tells."""
    wanted = config.tls.wanted(config.hostname)
    if not config.https.listen or any(certificate.certificate == "files" for certificate in wanted):
        return  # what stands in files is seen when they are read
    known = [name for certificate in wanted for name in certificate.names]
    for hosted in config.domains:
        missing = [host for host in names_of_domain(hosted) if not names_match((host,), known)]
        if missing:
            what = f"no certificate is for {', '.join(missing)}, which others ask for"
            yield Setting("https", "listen"), Fault(None, what, "name them in a [[tls.certificates]]")
