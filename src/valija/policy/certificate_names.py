"""Does a certificate bear one of the names that are meant? (RFC 9525, for MTA-STS RFC 8461 section 4.1)

>>> names_match(["mx1.example.net", ".example.org"], ["*.example.net"])
True

A name that is meant stands for itself, with a leading dot for everything below it. In a certificate `*` stands for
exactly one whole left-most label.
"""

from collections.abc import Collection, Iterable


def names_match(meant: Collection[str], names: Iterable[str]) -> bool:
    """Whether one of a certificate's names, DNS names and addresses, is one that is meant."""
    return any(_is_meant(meant, name.lower().removesuffix(".")) for name in names)


def _is_meant(meant: Collection[str], name: str) -> bool:
    return any(name.endswith(one) if one.startswith(".") else _covers(name, one) for one in meant)


def _covers(name: str, host: str) -> bool:
    """Whether a name in a certificate stands for a host."""
    if not name.startswith("*."):
        return name == host
    first, dot, rest = host.partition(".")
    is_address = rest.rpartition(".")[2].isdigit()  # no top-level domain is a number (RFC 3696 section 2)
    return bool(first and dot) and name[2:] == rest and not is_address
