"""The settings of TLS reports, `[tls_report]`, and what they must be to the rest."""

from collections.abc import Sequence

from valija.config.document import Document, Table
from valija.config.faults import Setting, refuse
from valija.config.model import Config
from valija.config.readers import flag, text
from valija.mail.address import domain_of
from valija.mail.fault import Fault
from valija.smtp.grammar import PathFault, path
from valija.tls_reports.options import TlsReportOptions

_REMEDY = 'write "postmaster@example.org", with a domain that is hosted here'


def read_tls_report(table: Table, domains: Sequence[str]) -> TlsReportOptions:
    """Return what stands in `table`; without a hosted domain there is nobody to report."""
    default = TlsReportOptions()
    enabled = table.read("enabled", flag, default.enabled)
    sender = table.read("from", _address, "") or (f"postmaster@{domains[0]}" if domains else "")
    contact = table.read("contact", _address, "") or sender
    organization = table.read("organization", text, "") or domain_of(contact)
    return TlsReportOptions(enabled, organization, contact, sender)


def _address(value: object) -> str:
    """Read a mail address of a domain."""
    written = text(value)
    try:
        found, rest = path(f"<{written}>")
    except PathFault:
        found, rest = "", ""
    if not found or rest or not found.isascii() or found.endswith("]"):
        raise refuse(value, "it is not an address", _REMEDY)
    return found


def check_tls_report(document: Document, config: Config) -> None:
    """Refuse reports that nobody would believe."""
    options = config.tls_report
    if not document.is_sound("", "domains"):
        return
    if document.is_sound("tls_report", "from") and options.sender and options.signing_domain not in config.domains:
        what = "its domain is not hosted here, so that its keys can't sign reports"
        document.refuse(Setting("tls_report", "from"), Fault(options.sender, what, _REMEDY))
    elif document.is_sound("tls_report", "contact") and domain_of(options.contact) != options.signing_domain:
        what = "it is of another domain than from, whose keys sign reports (RFC 8460)"
        remedy = f"write an address @{options.signing_domain}, or leave it out"
        document.refuse(Setting("tls_report", "contact"), Fault(options.contact, what, remedy))
