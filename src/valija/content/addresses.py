"""The addresses of a From or Sender field: a strict reader of address lists (RFC 5322 section 3.4, RFC 6532, RFC 6854).

    >>> addresses_of(b' "Alice, A." <Alice@example.org> (work), bob@example.org')
    ['Alice@example.org', 'bob@example.org']

It serves the question whose name a message bears, so it refuses what readers might understand in different ways:
source routes, comments or blanks inside a local part or domain, an `@` in an unquoted display name, empty list
elements, the null address. Display names are skipped, encoded words (RFC 2047) in them undecoded: whatever they decode
to is never an address. The dots of `John Q. Public <...>` are allowed, as everybody writes them.

An address has its local part as written and its domain normalised, as mail/address has it.
"""

import re
from typing import Final, NamedTuple

from valija.content.compose import printable
from valija.mail.address import AddressError, normalise_domain


class AddressListError(ValueError):
    """A text that is no address list, or one that can be read in two ways."""


# Atoms with dots, in any script (RFC 6532); blanks, controls and specials end them.
_WORD: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\u00a1-\U0010ffff-]+")
# Possessive, so that a hostile value costs no backtracking.
_PLAIN: Final = r"\\[^\x00-\x08\x0a-\x1f\x7f]|[^%s\\\x00-\x08\x0a-\x1f\x7f]++"
_QUOTED: Final = re.compile(f'"(?:{_PLAIN % chr(34)})*+"')
_COMMENT_TEXT: Final = re.compile(f"(?:{_PLAIN % '()'})*+")
_LITERAL: Final = re.compile(r"\[[!-Z^-~]*\]")
_BLANKS: Final = re.compile(r"[ \t]*")
_SPECIALS: Final = frozenset("@<>,;:")
LONGEST: Final = 16 * 1024  # octets: hundreds of addresses, and a few milliseconds' work


def addresses_of(value: bytes) -> list[str]:
    """Return the addresses in a field's value (what follows its colon, folds allowed), in order.

    Raises AddressListError, also for a value longer than LONGEST; an empty group (`undisclosed:;`) has no addresses and
    is no error.
    """
    if len(value) > LONGEST:
        raise AddressListError(f"it is longer than {LONGEST} octets")
    text = value.replace(b"\r\n", b"").decode("utf-8", "surrogateescape")
    return _Reader([token.text for token in tokens_of(text)]).address_list()


class Token(NamedTuple):
    """A word, quoted string, domain literal or special, and its place in the text."""

    text: str
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """Cut a text into its tokens; blanks and comments fall away. Raises AddressListError."""
    tokens = []
    position = _skip(text, 0)
    while position < len(text):
        end = _token_end(text, position)
        tokens.append(Token(text[position:end], position, end))
        position = _skip(text, end)
    return tokens


def _token_end(text: str, position: int) -> int:
    if text[position] in _SPECIALS:
        return position + 1
    pattern = {'"': _QUOTED, "[": _LITERAL}.get(text[position], _WORD)
    match = pattern.match(text, position)
    if match is None:
        raise AddressListError(f"not understood in an address list: {printable(text[position:], 20)}")
    return match.end()


def _skip(text: str, position: int) -> int:
    """Return the position after blanks and comments (RFC 5322 section 3.2.2)."""
    while True:
        position = _end_of(_BLANKS, text, position)
        if not text.startswith("(", position):
            return position
        position = _comment_end(text, position)


def _comment_end(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        if text[position] == "(":
            depth += 1
        elif text[position] == ")":
            depth -= 1
        else:
            break
        position += 1
        if depth == 0:
            return position
        position = _end_of(_COMMENT_TEXT, text, position)
    raise AddressListError("a comment that does not end")


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


class _Reader:
    """Reads tokens by the grammar, one method per rule."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def address_list(self) -> list[str]:
        found = self._address()
        while self._take(","):
            found += self._address()
        if self._peek():
            raise AddressListError(f"unexpected in an address list: {printable(self._peek(), 20)}")
        return found

    def _address(self) -> list[str]:
        """Read a mailbox or a group."""
        name = self._words()
        if name and self._take(":"):
            return self._group()
        return [self._mailbox_after(name)]

    def _group(self) -> list[str]:
        found: list[str] = []
        if not self._take(";"):
            found.append(self._mailbox_after(self._words()))
            while self._take(","):
                found.append(self._mailbox_after(self._words()))
            self._expect(";")
        return found

    def _mailbox_after(self, words: list[str]) -> str:
        """Read the rest of a mailbox whose first words are a display name or the local part."""
        if self._take("<"):
            address = self._address_of(self._words())
            self._expect(">")
            return address
        return self._address_of(words)

    def _address_of(self, local: list[str]) -> str:
        if len(local) != 1 or not _is_local_part(local[0]):
            raise AddressListError(f"no address: {printable(' '.join(local) or self._peek(), 40)}")
        self._expect("@")
        return f"{local[0]}@{self._domain()}"

    def _domain(self) -> str:
        token = self._next()
        if token.startswith("["):
            return token
        try:
            return normalise_domain(token)
        except AddressError as error:
            raise AddressListError(f"{printable(token, 40)}: {error}") from None

    def _words(self) -> list[str]:
        words = []
        while (token := self._peek()) and token not in _SPECIALS and token[0] != "[":
            words.append(self._next())
        return words

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise AddressListError("an address list that breaks off")
        self._at += 1
        return token

    def _take(self, special: str) -> bool:
        if self._peek() != special:
            return False
        self._next()
        return True

    def _expect(self, special: str) -> None:
        if not self._take(special):
            raise AddressListError(f"{special} expected, not {printable(self._peek(), 20) or 'the end'}")


def _is_local_part(token: str) -> bool:
    # Not printable are octets that are no UTF-8 (unpaired surrogates), and blanks and controls of other scripts.
    return token.isprintable() and (token[0] == '"' or "" not in token.split("."))
