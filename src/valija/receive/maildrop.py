"""Mail that programs of this machine left in a folder while the server was away.

    maildrop = Maildrop(folder, site=lambda: site, report=report, lifetime=lambda: 432_000.0, log=log)
    await maildrop.watch()              # in one worker

Everybody may put files into the folder, so each is looked at with suspicion; valija/sendmail/drop writes them:

- a name of 32 hexadecimal digits, which nobody guesses, as the folder cannot be listed by others (its mode is 1733);
- an ordinary file with one name, that only its owner may write to; the owner is who sends;
- the extended attribute MARK with the file's inode number. Nobody but the owner can write it, and no copy has the
  number. Without it a file that root once wrote into a user's folder, of the user's words, could be moved in here and
  would speak for root.

The mode is the sign of completeness: the server cannot read a file that is still written (0600). What is not so is
removed, at once or, where it may yet become a message, after a day.

A message that is refused goes back to its user as a report, to the postmaster where the user has no mailbox. One that
is refused for now stays, and is given up after the queue's lifetime.

Known weaknesses: it can be taken twice, where the server is killed between the commit and the removal. A user can fill
the disk here, as in any folder where all may write, until the server has looked.
"""

import asyncio
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from valija.content.reported import Reported, ReportKind
from valija.faults.points import fault_point
from valija.logs import Log
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.job import QueueId
from valija.mail.origin import Origin
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.policy.relay import POSTMASTER
from valija.queue.store import NewMessage
from valija.receive.batch import Taken, replay
from valija.receive.local import LocalUser, user_of
from valija.receive.site import Site
from valija.smtp.server import ServerRules

INTERVAL: Final = 5.0  # seconds between two looks
PAUSE: Final = 60.0  # seconds until a message that was refused for now is tried again
UNFINISHED_FOR: Final = 86_400.0  # seconds after which what cannot be read will never be finished
MARK: Final = "user.valija.maildrop"

_queued = fault_point("maildrop.queued")

_NAME: Final = re.compile(r"[0-9a-f]{32}")
_PIECE: Final = 64 * 1024
_ENVELOPE: Final = 1024 * 1024  # octets that a message's envelope may add to its size
_MOST_LATER: Final = 10_000  # messages remembered as refused for now
_MOST_TOLD: Final = 20  # removals logged one by one in a look

Report = Callable[[ReportKind, QueueId, NewMessage, Sequence[Reported]], Content]


class _Odd(Exception):
    """What lies there is no message of ours; the reason."""


class Maildrop:
    """Takes what lies in `folder`. `site` is how local programs are treated now; `lifetime` in seconds."""

    def __init__(
        self, folder: Path, *, site: Callable[[], Site], report: Report, lifetime: Callable[[], float], log: Log
    ) -> None:
        self._folder = folder
        self._site = site
        self._report = report
        self._lifetime = lifetime
        self._log = log
        self._later: dict[str, float] = {}  # name -> not before
        self._told = 0

    async def watch(self) -> None:
        """Look for ever."""
        fault = ""
        while True:
            try:
                await self.look()
                fault = ""
            except OSError as error:
                if str(error) != fault:
                    fault = str(error)
                    self._log.warning("the maildrop cannot be used", reason=fault)
            except Exception:
                self._log.exception("maildrop fault")
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """Take all that is there now. Raises OSError where the folder can't be used."""
        self._told = 0
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    await self._consider(folder, entry.name)
        finally:
            os.close(folder)

    async def _consider(self, folder: int, name: str) -> None:
        if self._site().clock() < self._later.get(name, 0.0):
            return
        try:
            opened = _open(folder, name)
        except _Odd as odd:
            self._remove(folder, name, str(odd))
            return
        if opened is None:
            self._give_up_unfinished(folder, name)
            return
        try:
            await self._take(folder, name, opened)
        finally:
            os.close(opened)

    async def _take(self, folder: int, name: str, opened: int) -> None:
        site, status = self._site(), os.fstat(opened)
        if status.st_size > site.size_limit + _ENVELOPE:
            self._remove(folder, name, f"larger than a message may be, of uid {status.st_uid}")
            return
        user = user_of(status.st_uid)
        taken = await replay(site, _rules(site), user, _pieces(opened))
        if taken.is_for_later and site.clock() - status.st_mtime <= self._lifetime():
            self._note_for_later(name, site.clock() + PAUSE)
            return
        await self._return_refused(site, user, taken, received_at=status.st_mtime)
        _queued()
        os.unlink(name, dir_fd=folder)
        self._later.pop(name, None)
        if taken.is_broken:
            self._log.warning("removed from the maildrop", name=name, uid=user.uid, reason=str(taken.reply))

    def _note_for_later(self, name: str, moment: float) -> None:
        if len(self._later) >= _MOST_LATER:
            self._later.clear()
        self._later[name] = moment

    # What is refused

    async def _return_refused(self, site: Site, user: LocalUser, taken: Taken, *, received_at: float) -> None:
        """Queue a report on the recipients that were refused, to the user whose message it is."""
        refused = [(each, taken.reply) for each in taken.recipients] if not taken.reply.is_positive else taken.refused
        if not refused:
            return
        reader = _reader(site, user)
        queue_id = site.queue.new_id()
        message = _refused_message(taken, refused, user, reader, received_at)
        reported = [
            Reported(recipient, Outcome(number, State.FAILED, reply))
            for number, (recipient, reply) in enumerate(refused)
        ]
        content = self._report(ReportKind.FAILURE, queue_id, message, reported)
        targets = site.directory.expand(reader) or (reader,)
        envelope = Envelope("", tuple(map(Recipient, targets)), "8BITMIME")
        await site.queue.submit(queue_id, NewMessage(envelope, content, message.origin))
        self._log.info(
            "refused from the maildrop", queue_id=queue_id, uid=user.uid, reply=str(refused[0][1]), reported_to=reader
        )

    # What is no message

    def _give_up_unfinished(self, folder: int, name: str) -> None:
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if self._site().clock() - status.st_ctime > UNFINISHED_FOR:
            self._remove(folder, name, f"never finished, of uid {status.st_uid}")

    def _remove(self, folder: int, name: str, reason: str) -> None:
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            reason = _without_folder(folder, name)
        except OSError as error:
            reason = f"{reason}; it can't be removed: {error.strerror}"
        self._told += 1
        if self._told <= _MOST_TOLD:
            self._log.warning("removed from the maildrop", name=name, reason=reason)


def _open(folder: int, name: str) -> int | None:
    """Return a descriptor of a message, None for what may yet become one. Raises _Odd."""
    if not _NAME.fullmatch(name):
        raise _Odd("no name of ours")
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
    except (PermissionError, FileNotFoundError):
        return None
    except OSError as error:  # a symbolic link, a socket
        raise _Odd(f"no file: {error.strerror}") from None
    try:
        is_marked = _judge(opened)
    except BaseException:
        os.close(opened)
        raise
    if is_marked:
        return opened
    os.close(opened)
    return None


def _judge(opened: int) -> bool:
    """Tell whether a file is a complete message. Raises _Odd where it will never be one."""
    status = os.fstat(opened)
    if not stat.S_ISREG(status.st_mode):
        raise _Odd("no ordinary file")
    if status.st_nlink != 1:
        raise _Odd(f"a file with {status.st_nlink} names")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _Odd("a file that others may write to")
    if not status.st_mode & stat.S_IROTH:
        return False  # we could read it all the same: it is our own user's
    try:
        mark = os.getxattr(opened, MARK)
    except OSError:
        raise _Odd("no mark of its owner's") from None
    if mark != str(status.st_ino).encode():
        raise _Odd("the mark of another file")
    return True


def _without_folder(folder: int, name: str) -> str:
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        return f"a folder, which can't be removed: {error.strerror}"
    return "a folder"


def _pieces(opened: int) -> Iterator[bytes]:
    while piece := os.read(opened, _PIECE):
        yield piece


def _rules(site: Site) -> ServerRules:
    return ServerRules(site.hostname, "local", site.size_limit, site.options.recipient_limit, "none")


def _reader(site: Site, user: LocalUser) -> str:
    """Return who is told of a user's mail."""
    assert site.local_names is not None
    home = site.local_names.home
    own = f"{user.name}@{home}"
    return own if site.directory.exists(own) else f"{POSTMASTER}@{home}"


def _refused_message(
    taken: Taken, refused: list[tuple[Recipient, Reply]], user: LocalUser, reader: str, received_at: float
) -> NewMessage:
    """Return what the report is about: the message as far as it was refused, and only its header."""
    envelope = Envelope(reader, tuple(recipient for recipient, _ in refused), ret="HDRS")
    origin = Origin("local", received_at, login=user.name, uid=user.uid)
    return NewMessage(envelope, Content.of(taken.header + b"\r\n"), origin)
