"""The agent that puts mail of hosted domains into Maildirs: `ROOT/DOMAIN/LOCALPART/{tmp,new,cur}`.

    agent = MaildirAgent(Path("/var/lib/valija/mail"), "mail.example.org", read=spool.read, log=log, clock=time.time)
    outcomes = await agent.deliver(job)

A message is written to `tmp`, synced, renamed into `new`, and the folder is synced: then it is delivered, and a reader
never sees half of it. Return-Path and Delivered-To are put on top. Line ends in the file are LF alone, as is the custom
of Maildir and what Dovecot expects. Folders are 0700 and files 0600. See deliver/mailbox_folder for LOCALPART.

What a check called unwanted lands in the mailbox's folder `.Junk`, which is made when it is needed (Maildir++).

Where Delivered-To already names the recipient the message has been here before: it fails with 5.4.6.

Disk work happens in threads, at most MAX_WRITERS at a time. Known weakness: no quotas, and one folder per mailbox.
"""

import asyncio
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from valija.content.trace import delivered_to_field, return_path_field, was_delivered_to
from valija.deliver.attempt_log import tell
from valija.deliver.mailbox_folder import mailbox_folder
from valija.faults.points import fault_point
from valija.logs import Log
from valija.mail.content import Content
from valija.mail.job import Job
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply

MAX_WRITERS: Final = 4
JUNK: Final = ".Junk"
"""The folder of unwanted mail within a mailbox, as Maildir++ names it; IMAP servers show it as `Junk`."""

_DELIVERED: Final = Reply(250, "2.0.0", "Delivered to the mailbox")
_LOOP: Final = Reply(554, "5.4.6", "Mail loop: the message was delivered to this address before")
_NO_SPACE: Final = Reply(452, "4.3.1", "No space left for the mailbox")
_LOCAL_FAULT: Final = Reply(451, "4.3.0", "The mailbox can't be written to, it will be tried again")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

_write = fault_point("maildir.write")
_sync = fault_point("maildir.sync")
_rename = fault_point("maildir.rename")
_renamed = fault_point("maildir.renamed")
_kept = fault_point("maildir.delivered")

Read = Callable[[Content], Iterator[bytes]]


class MaildirAgent:
    """Delivers into the Maildirs below `root`. `hostname` makes file names unique among hosts that share them.

    What stands behind the `delimiter` in a local part is a subaddress.
    """

    def __init__(
        self,
        root: Path,
        hostname: str,
        *,
        read: Read,
        log: Log,
        clock: Callable[[], float],
        delimiter: str = "+",
    ) -> None:
        self._root = root
        self._delimiter = delimiter
        self._host = hostname.replace("/", "\\057").replace(":", "\\072")
        self._read = read
        self._log = log
        self._clock = clock
        self._turn = asyncio.Semaphore(MAX_WRITERS)
        self._count = 0

    async def deliver(self, job: Job) -> list[Outcome]:
        """Return one outcome for each recipient of the job (see deliver/agent)."""
        began = asyncio.get_running_loop().time()
        outcomes = []
        for number in job.numbers:
            reply = await self._deliver_to(job, job.envelope.recipients[number].address)
            state = State.DELIVERED if reply.is_positive else State.FAILED if reply.is_permanent else State.DEFERRED
            outcomes.append(Outcome(number, state, reply))
        tell(self._log, job, outcomes, asyncio.get_running_loop().time() - began)
        return outcomes

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _deliver_to(self, job: Job, address: str) -> Reply:
        if was_delivered_to(job.content.head.partition(b"\r\n\r\n")[0] + b"\r\n", address):
            return _LOOP
        top = return_path_field(job.envelope.reverse_path) + delivered_to_field(address)
        try:
            folder = self._root / mailbox_folder(address, self._delimiter)
            inner = JUNK if job.envelope.junk else ""
            async with self._turn:
                await asyncio.to_thread(_write_message, folder, inner, self._new_name(), top, self._read(job.content))
        except OSError as error:
            self._log.error("mailbox fault", queue_id=job.queue_id, recipient=address, reason=str(error))
            return _NO_SPACE if error.errno in _FULL else _LOCAL_FAULT
        except Exception:
            self._log.exception("mailbox fault", queue_id=job.queue_id, recipient=address)
            return _LOCAL_FAULT
        return _DELIVERED

    def _new_name(self) -> str:
        """Return a file name that no other delivery has: time, process, count and chance."""
        self._count += 1
        seconds, fraction = divmod(self._clock(), 1)
        return f"{int(seconds)}.M{int(fraction * 1e6)}P{os.getpid()}Q{self._count}R{secrets.token_hex(4)}.{self._host}"


def _write_message(folder: Path, inner: str, name: str, top: bytes, content: Iterator[bytes]) -> None:
    """Write a message to disk and return when it would survive a power cut. Raises OSError, and leaves nothing then.

    `inner` is a folder within the mailbox, `""` for the mailbox itself.
    """
    _make_maildir(folder)
    if inner:
        folder /= inner
        _make_maildir(folder)
        (folder / "maildirfolder").touch(mode=0o600)  # so that others see that it is part of a mailbox
    temporary = folder / "tmp" / name
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb", buffering=0) as file:
            _write()
            for octets in _with_lf(top, content):
                _write_all(file.fileno(), octets)
            _sync()
            os.fsync(file.fileno())
        _rename()
        os.rename(temporary, folder / "new" / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _renamed()
    _sync_folder(folder / "new")
    _kept()


def _write_all(descriptor: int, octets: bytes) -> None:
    left = memoryview(octets)
    while left:
        left = left[os.write(descriptor, left) :]


def _with_lf(top: bytes, content: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the message with LF for CRLF, also where a piece ends between the two."""
    held = top
    for piece in content:
        octets = held + piece
        held = b"\r" if octets.endswith(b"\r") else b""
        yield octets[: len(octets) - len(held)].replace(b"\r\n", b"\n")
    if held:
        yield held.replace(b"\r\n", b"\n")


def _make_maildir(folder: Path) -> None:
    for inner in ("tmp", "new", "cur"):
        _make_folder(folder / inner)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each name synced, private to the server's user."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
