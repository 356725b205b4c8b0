"""What a human did to messages by a command, told to the running server, so that its log has their ids.

    teller = Teller(folder / "control.sock", "delete")     # in the command
    teller.changed(queue_id); ...; teller.close()
    Teller(..., unheard=keep_by(folder, options))          # where a history is kept

    write(log, arguments)                                  # in the server
    # removed queue_id=bmmm9v73d3tbp by='valija queue delete'

The command changes the queue files itself, whether a server runs or not. The lines are written where one runs; where
none does, the history alone has them (`keep_by`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from valija.admin.control import Arguments, ControlError, poke
from valija.history.options import HistoryOptions
from valija.history.recorder import Recorder
from valija.logs import Log, LogBuffer, build_log
from valija.mail.job import QueueId
from valija.queue.identity import parse

COMMAND: Final = "queue-changed"
_SOURCE: Final = "commands"
_BATCH: Final = 1000  # ids told at once: far below what a line of the control socket holds

Verb = Literal["hold", "release", "retry", "delete"]

_EVENTS: Final[Mapping[Verb, str]] = {"hold": "held", "release": "released", "retry": "due now", "delete": "removed"}


class Deed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of the command: what was done, to which messages, and by what. Nothing at all is a mere poke."""

    verb: Verb | None = None
    queue_ids: tuple[str, ...] = ()
    by: str = ""


def keep_by(folder: Path, options: HistoryOptions) -> Callable[[Arguments], None]:
    """Return who writes lines to the history in the server's place."""

    def keep(arguments: Arguments) -> None:
        recorder = Recorder(folder, _SOURCE, complain=lambda _: None)
        recorder.use(options, 1)
        buffer = LogBuffer(2, "error")  # nothing of it is for the terminal
        buffer.tell = recorder.write
        write(build_log("info", "text", buffer), arguments)
        buffer.flush()
        recorder.close()

    return keep


class Teller:
    """Tells the server what one command does to messages, some at a time, and the rest when it is closed.

    Where no server runs, `unheard` is given the same arguments.
    """

    def __init__(
        self, socket: Path, verb: str, by: str = "", *, unheard: Callable[[Arguments], None] = lambda _: None
    ) -> None:
        self._unheard = unheard
        self._socket = socket
        self._verb = verb
        self._more = {"by": by} if by else {}
        self._queue_ids: list[QueueId] = []

    def changed(self, queue_id: QueueId) -> None:
        """Note a message that was changed."""
        self._queue_ids.append(queue_id)
        if len(self._queue_ids) >= _BATCH:
            self.close()

    def close(self) -> None:
        """Tell what is not told yet."""
        if self._queue_ids:
            arguments = {"verb": self._verb, "queue_ids": self._queue_ids, **self._more}
            if not poke(self._socket, COMMAND, **arguments):
                self._unheard(arguments)
        self._queue_ids = []


def write(log: Log, arguments: Arguments) -> None:
    """Write what was done to the log, a line for each message. Raises ControlError for what makes no sense."""
    try:
        deed = msgspec.convert(dict(arguments), Deed)
        queue_ids = [parse(text) for text in deed.queue_ids]
    except ValueError as error:  # msgspec's too
        raise ControlError(f"no change of the queue: {error}") from None
    if deed.verb is None:
        return
    for queue_id in queue_ids:
        log.info(_EVENTS[deed.verb], queue_id=queue_id, by=deed.by or f"valija queue {deed.verb}")
