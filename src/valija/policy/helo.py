"""What a client calls itself in HELO or EHLO, judged as far as that takes no look-up (RFC 5321 section 4.1.4).

>>> helo_fault("mail.example.net", "192.0.2.7", own_name="mail.example.net")
'it is our own name'
>>> helo_fault("[192.0.2.8]", "192.0.2.7", own_name="mail.example.net")
'it is the address of somebody else'
>>> helo_fault("client.example.org", "192.0.2.7", own_name="mail.example.net")
''
"""

from ipaddress import IPv4Address, IPv6Address, ip_address

from valija.mail.address import AddressError, normalise_domain


def helo_fault(helo: str, client_address: str, *, own_name: str) -> str:
    """Return what is wrong with a name in words, `""` where nothing is, as far as can be seen."""
    if helo.startswith("["):
        literal = _literal(helo)
        if literal is None:
            return "it is no address literal"
        return "" if _same(literal, client_address) else "it is the address of somebody else"
    name = helo_domain(helo)
    if not name:
        return "it is no full host name"
    return "it is our own name" if name == own_name else ""


def helo_domain(helo: str) -> str:
    """Return a name as lower-case A-labels, `""` where it is no full name of a host."""
    try:
        name = normalise_domain(helo)
    except AddressError:
        return ""
    return name if "." in name and not name.rpartition(".")[2].isdigit() else ""


def _literal(helo: str) -> IPv4Address | IPv6Address | None:
    inner = helo[1:-1] if helo.endswith("]") else ""
    try:
        return ip_address(inner[5:] if inner[:5].lower() == "ipv6:" else inner)
    except ValueError:
        return None


def _same(literal: IPv4Address | IPv6Address, client_address: str) -> bool:
    try:
        client = ip_address(client_address.partition("%")[0])
    except ValueError:
        return False
    return _plain(literal) == _plain(client)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
