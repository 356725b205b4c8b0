"""The root helper's process: it takes requests off the lines and forks a child for each.

    run(Duty(source, account, files, "valija"), lines, supervisor, log)       # in the forked process; never returns

    take a packet -> is it a request? -> is there room? -> fork a child, which writes into memory of its own
                                                             -> it ends well: the memory goes along with the answer
                                                             -> it dies, or is late: "failed"

The loop itself decodes requests and looks at times of files; no file is read in it and no module of PAM is loaded. It
ends with the supervisor, whose process it watches, and obeys no signal but SIGKILL: a terminal's Ctrl-C and a service
manager's SIGTERM reach it too, while workers still end their sessions.

A line has so many children at once, and a user has: neither a crowd at one login nor a worker that is not itself any
more leaves others without an answer.
"""

import gc
import os
import select
import signal
import socket
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NoReturn

import msgspec

from valija.auth.pam import PATIENCE
from valija.logs import Log
from valija.privileges import Account, PrivilegeError
from valija.warden.chores import (
    Files,
    Source,
    is_roots,
    judge_login,
    read_configuration,
    read_pairs,
    stamps_of,
    state_of,
)
from valija.warden.confinement import be_expendable, close_all_but, die_with_parent
from valija.warden.messages import (
    Answer,
    ConfigurationRead,
    Garbage,
    Login,
    ReadConfiguration,
    ReadPairs,
    Request,
    receive_request,
    send_answer,
)

CHILDREN: Final = 96  # at once, for all
CHILDREN_OF_A_LINE: Final = 48
CHILDREN_OF_A_USER: Final = 8
READING: Final = 8.0  # seconds that reading may take
FILES_AT_MOST: Final = 1000  # pairs that are remembered
SUPERVISOR: Final = "supervisor"
_OVER: Final = select.POLLHUP | select.POLLRDHUP
_COMPLAINTS: Final = 60.0  # seconds between two about one line
_SPOKE: Final = 3  # exit status of a child that says what went wrong
_LONGEST_WORDS: Final = 500  # octets


class Duty(msgspec.Struct, frozen=True):
    """What the helper is for. `pam_service` is `""` where it judges no logins; `files` may be read again.

    The configuration of `source` may name other files and another service later, as long as `account`, the service's
    user, could not have written it.
    """

    source: Source
    account: Account
    files: tuple[Files, ...]
    pam_service: str


@dataclass
class _Line:
    """The way to one process of the server."""

    name: str
    socket: socket.socket
    children: int = 0
    complained: float = float("-inf")


@dataclass
class _Child:
    line: _Line
    request: Request
    pid: int
    pidfd: int
    memory: int
    deadline: float
    is_late: bool = False


@dataclass
class Warden:
    """The loop. `supervisor` is a descriptor that becomes readable when the supervisor is gone."""

    duty: Duty
    lines: list[_Line]
    supervisor: int
    log: Log
    files: dict[Files, None] = field(default_factory=dict)
    pam_service: str = ""

    def __post_init__(self) -> None:
        self.files = dict.fromkeys(self.duty.files)
        self.pam_service = self.duty.pam_service
        self._children: dict[int, _Child] = {}
        self._of_user: Counter[str] = Counter()
        self._poll = select.poll()
        self._on: dict[int, Callable[[int], None]] = {}
        for line in self.lines:
            self._watch(line.socket.fileno(), partial(self._hear, line))
        self._watch(self.supervisor, lambda _: self._leave())

    def run(self) -> NoReturn:
        """Work until the supervisor is gone."""
        while True:
            for descriptor, event in self._poll.poll(self._until_next_deadline()):
                self._guarded(descriptor, event)
            self._end_the_late()

    def _guarded(self, descriptor: int, event: int) -> None:
        act = self._on.get(descriptor)
        if act is None:  # it was let go of in this very round
            return
        try:
            act(event)
        except Exception as error:
            self.log.error("root helper fault", fault=_words_of(error))

    def _watch(self, descriptor: int, act: Callable[[int], None]) -> None:
        self._on[descriptor] = act
        self._poll.register(descriptor, select.POLLIN | select.POLLRDHUP)

    def _forget(self, descriptor: int) -> None:
        del self._on[descriptor]
        self._poll.unregister(descriptor)

    def _leave(self) -> NoReturn:
        os._exit(0)  # the children go with their parent

    # Requests

    def _hear(self, line: _Line, event: int) -> None:
        try:
            request = receive_request(line.socket)
        except (Garbage, OSError) as fault:
            if event & _OVER:
                self._give_up(line)
            else:
                self._complain(line, f"this is no request: {fault}")
            return
        if request is not None:
            self._take(line, request)

    def _give_up(self, line: _Line) -> None:
        """Nobody will ever speak there again."""
        if line.name == SUPERVISOR:
            self._leave()
        self._forget(line.socket.fileno())
        self._complain(line, "the line is closed, and cannot be opened again before a restart")

    def _complain(self, line: _Line, what: str) -> None:
        now = time.monotonic()
        if now - line.complained > _COMPLAINTS:
            line.complained = now
            self.log.error("root helper", line=line.name, complaint=what)

    def _take(self, line: _Line, request: Request) -> None:
        if isinstance(request, ReadPairs) and request.seen and request.seen == self._state():
            send_answer(line.socket, Answer(request.number, "same"))
        elif isinstance(request, Login) and not self.pam_service:
            send_answer(line.socket, Answer(request.number, "failed", "the root helper was not started for logins"))
        elif isinstance(request, ReadConfiguration) and line.name != SUPERVISOR:
            send_answer(line.socket, Answer(request.number, "failed", "only the supervisor reads the configuration"))
        elif not self._has_room(line, request):
            send_answer(line.socket, Answer(request.number, "busy"))
        else:
            self._begin(line, request)

    def _state(self) -> bytes:
        return state_of(stamps_of(tuple(self.files)), time.time())

    def _has_room(self, line: _Line, request: Request) -> bool:
        if isinstance(request, Login) and self._of_user[_user_of(request)] >= CHILDREN_OF_A_USER:
            return False
        return len(self._children) < CHILDREN and line.children < CHILDREN_OF_A_LINE

    # Children

    def _begin(self, line: _Line, request: Request) -> None:
        memory = os.memfd_create("answer", os.MFD_CLOEXEC)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_a_child(request, memory)
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            os.close(memory)
            send_answer(line.socket, Answer(request.number, "failed", f"no process for it: {error.strerror}"))
            return
        patience = PATIENCE if isinstance(request, Login) else READING
        child = _Child(line, request, pid, pidfd, memory, time.monotonic() + patience)
        self._children[pidfd] = child
        self._count(child, 1)
        self._watch(pidfd, lambda _: self._reap(child))

    def _count(self, child: _Child, change: int) -> None:
        child.line.children += change
        if isinstance(child.request, Login):
            user = _user_of(child.request)
            self._of_user[user] += change
            if not self._of_user[user]:
                del self._of_user[user]

    def _be_a_child(self, request: Request, memory: int) -> NoReturn:
        """Do one request and be gone."""
        status = 1
        try:
            gc.disable()
            os.setpgid(0, 0)
            for number in _IGNORED:
                signal.signal(number, signal.SIG_DFL)
            die_with_parent(signal.SIGKILL)
            be_expendable()
            close_all_but({memory})
            os.dup2(1, 2)  # to nowhere: a module may say anything
            _write(memory, msgspec.msgpack.encode(self._content(request)))
            status = 0
        except Exception as error:
            _write(memory, _words_of(error).encode(errors="replace"))
            status = _SPOKE
        finally:
            os._exit(status)

    def _content(self, request: Request) -> msgspec.Struct:
        match request:
            case Login():
                return judge_login(request, self.pam_service)
            case ReadConfiguration():
                return read_configuration(self.duty.source, self.duty.account)
            case ReadPairs():
                return read_pairs(tuple(self.files), self.duty.account)

    def _reap(self, child: _Child) -> None:
        self._forget(child.pidfd)
        del self._children[child.pidfd]
        os.close(child.pidfd)
        self._count(child, -1)
        try:
            _kill_group(child.pid)  # a module may have left a program behind; not reaped yet, the number is its own
            _, status = os.waitpid(child.pid, 0)
            self._answer(child, os.waitstatus_to_exitcode(status))
        finally:
            os.close(child.memory)

    def _answer(self, child: _Child, code: int) -> None:
        number, line = child.request.number, child.line.socket
        if code == 0 and os.fstat(child.memory).st_size:
            if isinstance(child.request, ReadConfiguration):
                self._learn(child.memory)
            send_answer(line, Answer(number, "done"), child.memory)
            return
        how = "it took too long" if child.is_late else _last_words(child.memory, code)
        what = "PAM gave no answer" if isinstance(child.request, Login) else "the files could not be read"
        send_answer(line, Answer(number, "failed", f"{what}: {how}"))

    def _learn(self, memory: int) -> None:
        """Live by what a configuration says that was just read, where its author is one to obey."""
        read = msgspec.msgpack.decode(os.pread(memory, os.fstat(memory).st_size, 0), type=ConfigurationRead)
        if read.faults or not is_roots(self.duty.source, self.duty.account):
            return
        # Those of the one before stay: it is in force until the server has taken up this one.
        for files in read.files:
            if len(self.files) < FILES_AT_MOST:
                self.files[files] = None
        if self.pam_service and read.pam_service:
            self.pam_service = read.pam_service

    # Time

    def _until_next_deadline(self) -> float | None:
        waiting = [child.deadline for child in self._children.values() if not child.is_late]
        return max(0.0, min(waiting) - time.monotonic()) * 1000 if waiting else None

    def _end_the_late(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if not child.is_late and now >= child.deadline:
                child.is_late = True
                _kill_group(child.pid)
                os.kill(child.pid, signal.SIGKILL)  # where it had not got so far as to have a group


_IGNORED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)


def run(duty: Duty, lines: Sequence[socket.socket], supervisor: int, log: Log) -> NoReturn:
    """Be the root helper. The first line is the supervisor's, the others are the workers'."""
    named = [_Line(f"worker {number - 1}" if number else SUPERVISOR, line) for number, line in enumerate(lines)]
    for line in lines:
        line.setblocking(False)
    gc.freeze()  # children share what is here, as long as nobody touches it
    Warden(duty, named, supervisor, log).run()


def ignore_signals() -> None:
    """End when the supervisor does, and for no other reason."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)


def _user_of(request: Login) -> str:
    return request.names[-1]


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _write(memory: int, content: bytes) -> None:
    with open(memory, "wb", closefd=False) as file:
        file.write(content)


def _words_of(error: Exception) -> str:
    """Return what a fault is, without the values in it: one of them may be a password."""
    if isinstance(error, PrivilegeError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {place.name}, line {place.lineno}"


def _last_words(memory: int, code: int) -> str:
    if code == _SPOKE:
        return os.pread(memory, _LONGEST_WORDS, 0).decode(errors="replace")
    how = f"exit status {code}" if code >= 0 else signal.Signals(-code).name
    return f"its process died ({how})"
