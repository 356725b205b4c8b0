"""Addresses as programs of this machine write them: names without a domain, completed or taken out of a header.

    names = LocalNames("example.org", frozenset({"localhost"}))
    >>> complete(b" root (Cron Daemon)", names)
    b' root@example.org (Cron Daemon)'
    >>> complete(b" Alice <alice@localhost>, bob@example.net", names)
    b' Alice <alice@example.org>, bob@example.net'
    >>> mailboxes(b" root, , Bob <bob@example.net>")
    ['root', 'bob@example.net']

Only what stands where an address stands is touched; display names, comments and folds keep every octet. A value that
cannot be read as an address list is left as it is: whoever reads it strictly (content/addresses) says what is wrong.

Such programs name an author that they are not: cron writes `From: root (Cron Daemon)` over the output of everybody's
jobs. A name of no domain says no more than "this machine", so an author that may not be named becomes the one who may.

`mailboxes` forgives what such programs write: empty elements between commas, and names alone.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from valija.content.addresses import AddressListError, Token, addresses_of, tokens_of
from valija.content.compose import printable
from valija.content.header import fields
from valija.mail.address import split

COMPLETED: Final = frozenset(
    {b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"}
    | {b"resent-from", b"resent-sender", b"resent-to", b"resent-cc", b"resent-bcc"}
)
"""The fields whose addresses are completed, in lower case."""

_AUTHORS: Final = frozenset({b"from", b"sender"})

_PLACEHOLDER: Final = "name.invalid"  # lets a name alone be read by the strict reader (RFC 6761 section 6.4)
_ENDS: Final = frozenset(",;")
_IN_AN_ADDRESS: Final = frozenset("<@")
_SPECIALS: Final = frozenset("<>:")


class LocalNames(msgspec.Struct, frozen=True):
    """`home` is the domain of names without one, and of those in the domains `aliases`, in lower case."""

    home: str
    aliases: frozenset[str] = frozenset()

    def complete(self, address: str) -> str:
        """Return one address with its domain; the null path stays."""
        local, domain = split(address)
        known = not local or (domain and domain.lower() not in self.aliases)
        return address if known else f"{local}@{self.home}"


class _Span(NamedTuple):
    """A place in a text to be replaced."""

    start: int
    end: int
    text: str


Writer = Callable[[str], str]
"""Returns the address that a message is to be from, where its writer named this one without a domain."""


def complete_header(header: bytes, names: LocalNames, writer: Writer | None = None) -> bytes:
    """Return a header whose addresses all have a domain; authors without one as `writer` says. The rest stays."""
    return b"".join(_completed_field(field.name, field.raw, names, writer) for field in fields(header))


def _completed_field(name: bytes, raw: bytes, names: LocalNames, writer: Writer | None) -> bytes:
    if name not in COMPLETED:
        return raw
    start = len(name) + 1
    return raw[:start] + complete(raw[start:-2], names, writer if name in _AUTHORS else None) + raw[-2:]


def complete(value: bytes, names: LocalNames, writer: Writer | None = None) -> bytes:
    """Return an address list (what follows a field's colon, without the last CRLF) with a domain for each address."""
    text = value.decode("utf-8", "surrogateescape")
    try:
        spans = [span for words in _addresses(_tokens(text)) for span in _wanted(words, names, writer)]
    except AddressListError:
        return value
    for span in reversed(spans):
        text = text[: span.start] + span.text + text[span.end :]
    return text.encode("utf-8", "surrogateescape")


def mailboxes(value: bytes) -> list[str]:
    """Return the addresses in a list, names alone among them. Raises AddressListError."""
    text = value.decode("utf-8", "surrogateescape")
    return [_read(words) for words in _addresses(_tokens(text))]


def _tokens(text: str) -> list[Token]:
    return tokens_of(text.replace("\r\n", "  "))  # folds are blanks; every place stays where it is


def _read(words: list[Token]) -> str:
    """Return one address, its domain normalised; it is judged by the strict reader. Raises AddressListError."""
    written = " ".join(word.text for word in words)
    has_domain = any(word.text == "@" for word in words)
    address = addresses_of((written if has_domain else f"{written}@{_PLACEHOLDER}").encode("utf-8", "surrogateescape"))
    return address[0] if has_domain else split(address[0])[0]


def _wanted(words: list[Token], names: LocalNames, writer: Writer | None) -> Iterator[_Span]:
    """Yield what has to change in one address that names no domain, or this machine as such."""
    is_alone = len(words) == 1 and words[0].text not in ("@", ":")
    if is_alone or (len(words) == 3 and words[1].text == "@" and words[2].text.lower() in names.aliases):
        address = f"{words[0].text}@{names.home}"
        yield _Span(words[0].start, words[-1].end, writer(address) if writer else address)


def _addresses(tokens: list[Token]) -> Iterator[list[Token]]:
    """Yield the tokens of each address: those in angle brackets, or all of its element, where there are none."""
    element: list[Token] = []
    for token in tokens:
        if token.text in _ENDS:
            yield from _address(element)
            element = []
        elif token.text == ":" and _IN_AN_ADDRESS.isdisjoint(each.text for each in element):
            element = []  # the name of a group
        else:
            element.append(token)
    yield from _address(element)


def _address(element: list[Token]) -> Iterator[list[Token]]:
    texts = [token.text for token in element]
    if "<" not in texts:
        if element:
            yield element
        return
    start = texts.index("<") + 1
    if texts[-1] != ">" or not _SPECIALS.isdisjoint((*texts[: start - 1], *texts[start:-1])):
        raise AddressListError(f"no address: {printable(' '.join(texts), 40)}")
    yield element[start:-1]
