"""What a filter's changes make of a message: its header, its recipients, its reverse-path, the lines of its body.

    header = header_after(header, changes, leading_blanks=terms.has_leading_blanks)
    recipients = recipients_after(envelope.recipients, changes)
    lines = Lines(); body = lines.update(chunk) + ... + lines.finish()

Changes are made in the order in which they came, each on what the one before left. As in Sendmail and Postfix a field
is inserted at a place counted in the message as it will be delivered, with our own Received field as number 0. As in
Postfix it is changed by its number among those of its name that are left; Sendmail counts removed ones, too, which is
why filters remove several from the last to the first. All raise Nonsense for what can't be a message.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain

from valija.content.compose import printable
from valija.content.header import MAX_FIELDS, MAX_HEADER, Field, check, fields
from valija.mail.address import fold_case, split
from valija.mail.envelope import Recipient
from valija.milter.answers import (
    AddField,
    AddRecipient,
    Change,
    ChangeField,
    ChangeFrom,
    DeleteRecipient,
    InsertField,
    folded,
)
from valija.milter.packets import Nonsense
from valija.smtp import commands

_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")


def header_after(header: bytes, changes: Iterable[Change], *, leading_blanks: bool) -> bytes:
    """Return a header as changes leave it."""
    found = fields(header)
    for change in changes:
        match change:
            case AddField(name, value):
                found.append(_field(name, value, leading_blanks))
            case InsertField(place, name, value):
                found.insert(max(0, place - 1), _field(name, value, leading_blanks))
            case ChangeField(number, name, value):
                _change(found, number, name, value, leading_blanks)
        if len(found) > MAX_FIELDS:
            raise Nonsense(f"it makes a header of more than {MAX_FIELDS} fields")
    changed = b"".join(field.raw for field in found)
    if len(changed) > MAX_HEADER:
        raise Nonsense(f"it makes the header larger than {MAX_HEADER} octets")
    if refusal := check(changed):
        raise Nonsense(f"it makes no header: {refusal.text}")
    return changed


def recipients_after(
    recipients: Sequence[Recipient], changes: Iterable[Change], *, smtputf8: bool = False
) -> tuple[Recipient, ...]:
    """Return who is to get a message. Cases are the same to a filter; those whom the client named in two both stay."""
    found: dict[str, tuple[Recipient, ...]] = {}
    for recipient in recipients:
        key = _key(recipient.address)
        found[key] = (*found.get(key, ()), recipient)
    for change in changes:
        match change:
            case AddRecipient(path, parameters):
                added = _recipient(path, parameters, smtputf8=smtputf8)
                found.setdefault(_key(added.address), (added,))
            case DeleteRecipient(path):
                found.pop(_key(_recipient(path, smtputf8=True).address), None)
    return tuple(chain.from_iterable(found.values()))


def reverse_path_after(reverse_path: str, changes: Iterable[Change], *, smtputf8: bool = False) -> str:
    """Return who a message is from. What more a change says of it (SIZE, BODY ...) is known here already."""
    for change in changes:
        if isinstance(change, ChangeFrom):
            command = f"MAIL FROM:{_bracketed(change.path)}" + (" SMTPUTF8" if smtputf8 else "")
            try:
                reverse_path = commands.mail(_argument(command), extended=True).reverse_path
            except commands.Refused:
                raise Nonsense(f"no reverse-path: {printable(change.path, 80)!r}") from None
    return reverse_path


class Lines:
    """Gives the octets of a body that come in pieces the line ends of SMTP. NUL is Nonsense."""

    __slots__ = ("_ends_in_line", "_held")

    def __init__(self) -> None:
        self._held = b""  # a CR, of which it is not known yet what follows
        self._ends_in_line = False

    def update(self, data: bytes) -> bytes:
        """Take the next octets; return as many as can be told."""
        if b"\0" in data:
            raise Nonsense("a body with a NUL octet in it")
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        told = data[: len(data) - len(self._held)]
        if told:
            self._ends_in_line = not told.endswith(b"\n")
        return _with_line_ends(told)

    def finish(self) -> bytes:
        """Return what is left: the last line's end, where it is missing."""
        is_unfinished = bool(self._held) or self._ends_in_line
        self._held, self._ends_in_line = b"", False
        return b"\r\n" if is_unfinished else b""


def _with_line_ends(data: bytes) -> bytes:
    pairs = data.count(b"\r\n")
    if data.count(b"\n") == pairs and data.count(b"\r") == pairs:
        return data
    return _ANY_LINE_END.sub(b"\r\n", data)


def _field(name: bytes, value: bytes, leading_blanks: bool) -> Field:
    blank = b"" if leading_blanks else b" "
    return Field(name.lower(), name + b":" + blank + folded(value) + b"\r\n")


def _change(found: list[Field], number: int, name: bytes, value: bytes, leading_blanks: bool) -> None:
    """Change, or remove, a field; one that is not there is added, as in Sendmail."""
    lowered = name.lower()
    places = [place for place, field in enumerate(found) if field.name == lowered]
    if number > len(places):
        if value:
            found.append(_field(name, value, leading_blanks))
    elif value:
        found[places[number - 1]] = _field(name, value, leading_blanks)
    else:
        del found[places[number - 1]]


def _recipient(path: str, parameters: str = "", *, smtputf8: bool) -> Recipient:
    command = f"RCPT TO:{_bracketed(path)}" + (f" {parameters}" if parameters else "")
    try:
        recipient = commands.rcpt(_argument(command), extended=True, smtputf8=smtputf8)
    except commands.Refused:
        raise Nonsense(f"no recipient: {printable(command[5:], 120)!r}") from None
    if "@" not in recipient.address:  # postmaster, whose domain nobody would know further on
        raise Nonsense(f"a recipient without a domain: {printable(path, 80)!r}")
    return recipient


def _argument(command: str) -> str:
    """Return a command's argument, as if a client had sent it: whatever no line may hold is refused."""
    return commands.split(command.encode("utf-8", "surrogateescape"))[1]


def _bracketed(path: str) -> str:
    if any("\ud800" <= char <= "\udfff" for char in path):
        raise Nonsense(f"an address that is not UTF-8: {printable(path, 80)!r}")
    return path if path.startswith("<") else f"<{path}>"


def _key(address: str) -> str:
    local, domain = split(address)
    return f"{fold_case(local)}@{domain}"
