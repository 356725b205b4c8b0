"""The certificate that a server showed, in words.

shown = certificate_shown(certificate_in(transport), why_not="self-signed certificate")
certificate_line(shown)     # "certificate for mail.example.org, issued by CN=R11, valid ..."
"""

import ssl
from asyncio import BaseTransport
from datetime import UTC, datetime

from valija.client.order import ServerCertificate
from valija.tls.pair import CertificatePair, CertificateSummary, certificate_summary


def certificate_in(transport: BaseTransport) -> bytes:
    """Return the server's certificate in DER, b"" in clear, and where it has none."""
    connection = transport.get_extra_info("ssl_object")
    return b"" if connection is None else connection.getpeercert(binary_form=True) or b""


def summary_of(der: bytes) -> CertificateSummary:
    """Describe a certificate in DER. Raises ValueError where it cannot be parsed."""
    return certificate_summary(CertificatePair(ssl.DER_cert_to_PEM_cert(der).encode(), b""))


def certificate_shown(der: bytes, why_not: str) -> ServerCertificate | None:
    """Return what the server showed; None for what cannot be parsed. `why_not` is what the handshake said of it."""
    try:
        summary = summary_of(der)
    except ValueError:
        return None
    return ServerCertificate(
        verified=not why_not,
        why_not=why_not,
        names=summary.names,
        issuer=summary.issuer,
        not_before=_rfc3339(summary.not_before),
        not_after=_rfc3339(summary.not_after),
        sha256=summary.sha256,
    )


def certificate_line(shown: ServerCertificate | None) -> str:
    """Return a line about it for people."""
    if shown is None:
        return "the server has no certificate"
    verdict = "verified" if shown.verified else f"NOT accepted: {shown.why_not}"
    dates = f"{shown.not_before[:10]} to {shown.not_after[:10]}"
    return f"certificate for {', '.join(shown.names) or 'no name'}, issued by {shown.issuer}, valid {dates}: {verdict}"


def _rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
