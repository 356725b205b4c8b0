"""The names that a certificate is for: its subject's DNS names and IP addresses, and nothing else of it (RFC 9525)."""

from cryptography import x509


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the names. Raises ValueError for a certificate that is malformed."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    hosts = found.get_values_for_type(x509.DNSName)
    return [*hosts, *map(str, found.get_values_for_type(x509.IPAddress))]
