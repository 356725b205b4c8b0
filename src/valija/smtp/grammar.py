"""The grammar of command arguments (RFC 5321 section 4.1.2, RFC 3461 section 4, RFC 6531 section 3.3).

    >>> path('<"odd user"@Example.ORG> SIZE=5')
    ('"odd user"@example.org', ' SIZE=5')
    >>> parameters(" SIZE=5 SMTPUTF8")
    {'SIZE': '5', 'SMTPUTF8': ''}

Texts that come here are single lines without control characters other than TAB; smtp/server sees to that.

Choices where the standard leaves one, the same for MAIL and RCPT: blanks between the colon and the path are skipped
(old printers send them), a path without angle brackets is refused, source routes are refused and never stripped, and a
local part may be longer than 64 octets (signed reverse-paths are) as long as the path keeps to MAX_PATH.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from valija.mail.address import MAX_DOMAIN, MAX_PATH, AddressError, normalise_domain

BLANK: Final = " \t"

# UTF8-non-ascii (RFC 6531) less C1 controls, the two line separators, and unpaired surrogates; whether any of it may
# come at all is decided by the command. Not all texts that come here were lines of a session: filters name paths too.
_WIDE: Final = r"\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
_ATOM: Final = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_WIDE}-]+"
_QUOTED: Final = rf'"(?:[ !#-\[\]-~{_WIDE}]|\\[ -~])*"'
_LOCAL: Final = rf"{_ATOM}(?:\.{_ATOM})*|{_QUOTED}"
_DOMAIN: Final = rf"[A-Za-z0-9_.{_WIDE}-]+|\[[^\]]*\]"

_PATH = re.compile(rf"[ \t]*<(?:({_LOCAL})@({_DOMAIN}))?>")
_POSTMASTER = re.compile(r"[ \t]*<postmaster>", re.IGNORECASE | re.ASCII)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^= ]+))?")
_DIGITS = re.compile(r"[0-9]+")
_IPV6_TEXT = re.compile(r"[0-9A-Fa-f:.]+")
_HELLO_NAME = re.compile(r"[ -~]+")

# Hexchars for control characters are left out: they would become line breaks where the text is decoded (RFC 3461
# section 4.2 and 4.4 ask for printable characters before the encoding).
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[2-6][0-9A-F]|\+7[0-9A-E])+")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*/?^_`{|}~-]+")


class SyntaxFault(ValueError):
    """An argument that does not follow the grammar."""


class PathFault(SyntaxFault):
    """What stands between the angle brackets is no path, or there are no angle brackets."""


def path(text: str) -> tuple[str, str]:
    """Return the path at the start of `text` as an address (`""` for `<>`), and the text behind it.

    Raises PathFault.
    """
    match = _PATH.match(text)
    if match is None:
        raise PathFault(text)
    local, domain = match.groups()
    rest = text[match.end() :]
    if local is None:
        return "", rest
    if len(match[0]) > MAX_PATH // 4 and len(match[0].lstrip(BLANK).encode()) > MAX_PATH:
        raise PathFault("path too long")
    return f"{local}@{_domain(domain)}", rest


def forward_path(text: str) -> tuple[str, str]:
    """Return the forward-path at the start of `text`, and the text behind it. Raises PathFault.

    `<Postmaster>` needs no domain (RFC 5321 section 4.1.1.3): its address is `postmaster`. `<>` is no forward-path.
    """
    postmaster = _POSTMASTER.match(text)
    if postmaster:
        return "postmaster", text[postmaster.end() :]
    address, rest = path(text)
    if not address:
        raise PathFault("the null path receives nothing")
    return address, rest


def _domain(text: str) -> str:
    if text.startswith("["):
        return address_literal(text)
    try:
        return normalise_domain(text)
    except AddressError as error:
        raise PathFault(str(error)) from None


def address_literal(text: str) -> str:
    """Return `[192.0.2.1]` or `[IPv6:2001:db8::1]` in its canonical form (section 4.1.3). Raises PathFault."""
    inner = text[1:-1]
    try:
        if inner[:5].upper() == "IPV6:" and _IPV6_TEXT.fullmatch(inner, 5):
            return f"[IPv6:{IPv6Address(inner[5:])}]"
        return f"[{IPv4Address(inner)}]"
    except AddressValueError:
        raise PathFault("not an address literal") from None


def parameters(text: str) -> dict[str, str]:
    """Return the ESMTP parameters in `text`: keyword in upper case -> value, `""` for none. Raises SyntaxFault.

    A keyword may come once. Values are never empty: `NOTIFY=` is a fault.
    """
    if text[0] not in BLANK:
        raise SyntaxFault(text)
    found: dict[str, str] = {}
    for word in text.replace("\t", " ").split(" "):
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise SyntaxFault(word)
        keyword = match[1].upper()
        # Raw UTF-8 has a meaning in ORCPT alone; elsewhere other scripts' digits and letters must not pass for ASCII.
        if keyword in found or not (word.isascii() or keyword == "ORCPT"):
            raise SyntaxFault(word)
        found[keyword] = match[2] or ""
    return found


def number(text: str, most_digits: int = 20) -> int:
    """Return a number of ASCII digits, no sign, at most so many digits. Raises SyntaxFault."""
    if len(text) > most_digits or not _DIGITS.fullmatch(text):
        raise SyntaxFault(text)
    return int(text)


def xtext(text: str, longest: int) -> str:
    """Return `text` as it is, if it is xtext (RFC 3461 section 4) whose meaning is printable. Raises SyntaxFault."""
    if len(text) > longest or not _XTEXT.fullmatch(text):
        raise SyntaxFault(text)
    return text


def original_recipient(text: str, *, smtputf8: bool) -> str:
    """Return the value of ORCPT as it is: `addr-type;xtext` (RFC 3461 section 4.2). Raises SyntaxFault.

    Of type `utf-8` it may hold raw UTF-8 where the transaction is internationalised (RFC 6533 section 3).
    """
    kind, _, address = text.partition(";")
    if len(text.encode()) > 500 or not _ADDRESS_TYPE.fullmatch(kind):
        raise SyntaxFault(text)
    if smtputf8 and kind.lower() == "utf-8":
        address = "".join(character for character in address if character.isascii()) or "u"
    xtext(address, 500)
    return text


def hello_name(text: str) -> str:
    """Return what the client calls itself. Raises SyntaxFault.

    Whatever is printable ASCII passes: a name is never a reason to refuse a client (RFC 5321 section 4.1.4), and
    whoever writes it into a header field or a log escapes it there.
    """
    if len(text) > MAX_DOMAIN or not _HELLO_NAME.fullmatch(text):
        raise SyntaxFault(text)
    return text
