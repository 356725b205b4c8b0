"""Addresses with their type, as ORCPT and delivery reports write them (RFC 3461 section 4.2, RFC 6533 section 3).

    >>> typed_address("grå@example.org", internationalised=False)
    'utf-8; gr\\\\x{E5}@example.org'
    >>> typed_address("grå@example.org", internationalised=True)
    'utf-8; grå@example.org'
    >>> original_recipient(r"utf-8;gr\\x{E5}@example.org", internationalised=True)
    'utf-8;grå@example.org'
    >>> ascii_orcpt("utf-8;grå@example.org")
    'utf-8;gr\\\\x{E5}@example.org'

An address in ASCII has the type `rfc822`. Of type `utf-8` it is written in one of three forms: as it is, where all of
it may stand so; with `\\x{HEX}` for what may not (utf-8-addr-unitext); or with that for all that is no plain ASCII
(utf-8-addr-xtext), which every hop can carry.
"""

import re
from typing import Final

from valija.content.compose import printable

_HEXCHAR: Final = re.compile(r"\+([0-9A-F]{2})")
_EMBEDDED: Final = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_NOT_QCHAR: Final = re.compile(r"[^!-*,-<>-\[\]-~]")
_NOT_XCHAR: Final = re.compile(r"[^!-*,-<>-~]")
_LONGEST: Final = 1000  # characters
_LONGEST_ORCPT: Final = 500


def typed_address(address: str, *, internationalised: bool) -> str:
    """Return an address with its type; in ASCII unless the report may be internationalised."""
    if address.isascii():
        return f"rfc822; {printable(address, _LONGEST)}"
    return f"utf-8; {_written(address, internationalised=internationalised)}"


def original_recipient(orcpt: str, *, internationalised: bool) -> str:
    """Return the value of ORCPT decoded, for the field Original-Recipient."""
    kind, _, address = orcpt.partition(";")
    if kind.lower() != "utf-8":
        return f"{printable(kind, 40)};{printable(decode_xtext(address), _LONGEST)}"
    return f"utf-8;{_written(_meaning(address), internationalised=internationalised)}"


def ascii_orcpt(orcpt: str) -> str:
    """Return the value of ORCPT in the form that a hop without SMTPUTF8 can be told."""
    if orcpt.isascii():
        return orcpt
    kind, _, address = orcpt.partition(";")
    return f"{kind};{ascii_form(address)}"


def ascii_form(address: str) -> str:
    """Return an address with all that is beyond ASCII embedded."""
    return "".join(char if char.isascii() else _embed(char) for char in address)


def orcpt_of(address: str) -> str:
    """Return the value of ORCPT that names an address, `""` where it would be longer than one may be (500)."""
    kind = "rfc822" if address.isascii() else "utf-8"
    value = f"{kind};{_NOT_XCHAR.sub(lambda match: f'+{ord(match[0]):02X}', ascii_form(address))}"
    return value if len(value) <= _LONGEST_ORCPT else ""


def decode_xtext(text: str) -> str:
    """Return what an xtext stands for (RFC 3461 section 4); `+` that introduces no octet stays."""
    octets = _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), text)
    return octets.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _meaning(address: str) -> str:
    """Return an address of type utf-8 decoded, from whichever form; what stands for no character stays."""
    # No form has a `+`, so one that is there comes from a client that wrote xtext over it.
    plain = _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), address)
    return _EMBEDDED.sub(lambda match: _character(int(match[1], 16)) or match[0], plain)


def _character(number: int) -> str:
    is_character = 0 < number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF
    return chr(number) if is_character else ""


def _written(address: str, *, internationalised: bool) -> str:
    short = address if len(address) <= _LONGEST else f"{address[:_LONGEST]}..."
    if not internationalised:
        return _NOT_QCHAR.sub(lambda match: _embed(match[0]), short)
    if short.isprintable() and "\\" not in short and " " not in short:
        return short
    return "".join(char if _may_stand(char) else _embed(char) for char in short)


def _may_stand(char: str) -> bool:
    return not _NOT_QCHAR.match(char) if char.isascii() else char.isprintable()


def _embed(char: str) -> str:
    return f"\\x{{{ord(char):02X}}}"
