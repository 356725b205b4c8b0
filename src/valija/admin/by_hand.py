"""What a human did to messages by a command, told to the running server, so that its log has their ids.

    teller = Teller(folder / "control.sock", "delete")     # in the command
    teller.changed(queue_id); ...; teller.close()

    write(log, arguments)                                  # in the server
    # removed queue_id=bmmm9v73d3tbp by='valija queue delete'

The command changes the queue files itself, whether a server runs or not. The lines are written where one runs; where
none does, the command's own answer is the record.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from valija.admin.control import ControlError, poke
from valija.logs import Log
from valija.mail.job import QueueId
from valija.queue.identity import parse

COMMAND: Final = "queue-changed"
_BATCH: Final = 1000  # ids told at once: far below what a line of the control socket holds

Verb = Literal["hold", "release", "retry", "delete"]

_EVENTS: Final[Mapping[Verb, str]] = {"hold": "held", "release": "released", "retry": "due now", "delete": "removed"}


class Deed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of the command: what was done, to which messages, and by what. Nothing at all is a mere poke."""

    verb: Verb | None = None
    queue_ids: tuple[str, ...] = ()
    by: str = ""


class Teller:
    """Tells the server what one command does to messages, some at a time, and the rest when it is closed."""

    def __init__(self, socket: Path, verb: str, by: str = "") -> None:
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
            poke(self._socket, COMMAND, verb=self._verb, queue_ids=self._queue_ids, **self._more)
        self._queue_ids = []


def write(log: Log, arguments: Mapping[str, object]) -> None:
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
