"""The program that others call by the names sendmail, mailq and newaliases.

    sys.exit(main(sys.argv, Places("/run/valija/sendmail.sock", "/var/spool/valija/maildrop")))

It ends with a status of sysexits(3) and says on standard error why. A message is handed to the server; where the server
is away it is left in the maildrop, and that is success too. Recipients that are refused are named, and the others get
the message.
"""

import os
import pwd
import sys
from typing import BinaryIO, Final, NamedTuple

from valija.content.compose import readable
from valija.mail.address import quote
from valija.sendmail import drop, handover
from valija.sendmail.arguments import Wish, parse
from valija.sendmail.exits import Exit, Failure, exit_for
from valija.sendmail.handover import Away
from valija.sendmail.message import Message
from valija.sendmail.text import Text, addresses, read

_LIMIT_WITHOUT_SERVER: Final = 50 * 1024 * 1024  # octets; the server has its own say later


class Places(NamedTuple):
    """Where the server is found: its socket, its maildrop, "" for none; and the command that can do the rest."""

    socket: str
    maildrop: str
    command: tuple[str, ...] = ()


def main(argv: list[str], places: Places) -> int:
    """Do what the arguments say; return the exit status."""
    name = os.path.basename(argv[0])
    try:
        wish = parse(name, argv[1:])
        if wish.mode in ("list", "flush") and places.command:
            flag = "-bp" if wish.mode == "list" else "-q"
            os.execv(places.command[0], [*places.command, flag])  # noqa: S606 - named when this was installed
        return do(wish, places, sys.stdin.buffer, sys.stdout.buffer)
    except Failure as failure:
        complain(name, str(failure))
        return failure.status
    except KeyboardInterrupt:
        return Exit.TEMPFAIL


def complain(name: str, words: str) -> None:
    """Say what is wrong, on standard error."""
    print(f"{name or 'sendmail'}: {readable(words)}", file=sys.stderr)


def do(wish: Wish, places: Places, reading: BinaryIO, writing: BinaryIO) -> int:
    """Send, or speak SMTP; return the exit status. Raises Failure."""
    if wish.mode == "aliases":
        return Exit.OK  # they are in force as soon as `valija alias` has changed them
    if wish.mode == "talk":
        try:
            handover.pass_through(places.socket, reading, writing)
        except Away as away:
            raise Failure(Exit.TEMPFAIL, f"the server is away: {away}") from None
        return Exit.OK
    return _send(_message(wish, places, reading), wish, places, writing)


def _message(wish: Wish, places: Places, reading: BinaryIO) -> Message:
    given = [each for word in wish.recipients for each in addresses(os.fsencode(word), "recipient")]
    if not given and not wish.from_header:
        raise Failure(Exit.USAGE, "name a recipient, or take them from the header with -t")
    sender = _sender(wish)
    text = Text.of(read(reading, dot_ends=wish.dot_ends, limit=lambda: _limit(places)))
    recipients = tuple(dict.fromkeys(given + (text.recipients() if wish.from_header else [])))
    if not recipients:
        raise Failure(Exit.USAGE, "no recipient is named, neither as an argument nor in To, Cc or Bcc")
    text = text.with_author(sender or _user(), wish.full_name)
    return Message(sender, recipients, text.content, wish.notify, wish.ret, wish.envid)


def _sender(wish: Wish) -> str:
    if wish.sender is None:
        return _user()
    if wish.sender.strip() in ("", "<>"):
        return ""
    found = addresses(os.fsencode(wish.sender), "-f")
    if len(found) != 1:
        raise Failure(Exit.USAGE, f"-f {wish.sender[:100]}: write one address")
    return found[0]


def _user() -> str:
    """Return whom the caller is taken for when nothing else is said; the server asks the kernel."""
    uid = os.geteuid()
    try:
        return quote(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return f"uid-{uid}"


def _limit(places: Places) -> int:
    try:
        return handover.size_limit(places.socket) or sys.maxsize
    except Away:
        return _LIMIT_WITHOUT_SERVER


def _send(message: Message, wish: Wish, places: Places, writing: BinaryIO) -> int:
    try:
        receipt = handover.hand_over(places.socket, message)
    except Away as away:
        return _leave(message.to(away.rest or message.recipients), places, str(away))
    except Failure:
        _send_back(message, wish, places)
        raise
    if wish.verbose:
        writing.write(b"".join(f"queued as {queue_id}\n".encode() for queue_id in receipt.queue_ids))
    for recipient, reply in receipt.refused:
        complain("sendmail", f"{recipient}: {reply}")
    if not receipt.refused:
        return Exit.OK
    _send_back(message.to(tuple(recipient for recipient, _ in receipt.refused)), wish, places)
    reply = receipt.refused[0][1]
    return exit_for(reply.code, reply.enhanced)


def _leave(message: Message, places: Places, why: str) -> int:
    if not places.maildrop:
        raise Failure(Exit.TEMPFAIL, f"the server is away: {why}")
    try:
        drop.leave(places.maildrop, message)
    except OSError as error:
        what = f"the server is away ({why}), and nothing can be left in {places.maildrop}"
        raise Failure(Exit.TEMPFAIL, f"{what}: {error.strerror}") from None
    return Exit.OK


def _send_back(message: Message, wish: Wish, places: Places) -> None:
    """Where that is wanted (-oem, as by cron), have the server return what it refused: the maildrop is reported on."""
    if wish.errors_to == "mail" and places.maildrop:
        try:
            drop.leave(places.maildrop, message)
        except OSError as error:
            complain("sendmail", f"it cannot be sent back by mail either: {places.maildrop}: {error.strerror}")
