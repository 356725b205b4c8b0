"""valija queue: what is on its way, and a hand on it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from valija.cli.frame import Call, Refusal, command, group, rfc3339
from valija.config.faults import printable

if TYPE_CHECKING:
    from valija.config import Config
    from valija.mail.job import QueueId
    from valija.queue.directory import QueueDirectory
    from valija.queue.store import Listed, NewMessage

_ON_HOLD = "on hold, due when released"
_NAMED = 10  # ids told beside the answer
_PAGE = 500  # messages read at once: the queue may be larger than the memory


def add_to(main: click.Group) -> None:
    """Add the group and its commands."""
    queue = group(main, "queue", "The queue: what is on its way.")

    @command(queue, "list")
    @click.option("--all", "_everything", is_flag=True, hidden=True)
    def list_messages(call: Call, _everything: bool) -> None:
        """List all messages, those on hold included."""
        with opened(call, call.enter()) as directory:
            if call.as_json:
                _print_array(_as_json(message) for message in messages(directory))
            else:
                _print_lines(messages(directory))

    @command(queue, "show")
    @click.argument("queue_id", metavar="ID")
    def show(call: Call, queue_id: str) -> None:
        """Show a message: envelope, origin and header."""
        with opened(call, call.enter()) as directory:
            found = directory.show(_queue_id(queue_id))
        if found is None:
            raise Refusal(f"there is no message {queue_id} in the queue")
        call.answer(_whole(*found), _whole_lines(*found))

    for name, done, words in (
        ("hold", "on hold", "Keep messages from being attempted or given up, until they are released."),
        ("release", "released", "End the hold of messages; they are due now."),
        ("retry", "due now", "Have messages attempted now, those on hold when they are released."),
        ("delete", "deleted", "Remove messages, without a report to the sender."),
    ):
        _add_verb(queue, name, done, words)


def _add_verb(queue: click.Group, name: str, done: str, words: str) -> None:
    def verb(call: Call, queue_ids: tuple[str, ...], everything: bool) -> None:
        if bool(queue_ids) == everything:
            raise click.UsageError("name messages by their ids, or all of them by --all")
        config = call.enter()
        changed: list[str] = []
        missing: list[str] = []
        waiting: set[str] = set()
        with opened(call, config) as directory, _told(config, name) as tell:
            act = _VERBS[name](directory)
            for queue_id in _all_ids(directory) if everything else [_queue_id(text) for text in queue_ids]:
                if not act(queue_id):
                    missing.append(queue_id)
                    continue
                tell(queue_id)
                changed.append(queue_id)
                if name == "retry" and directory.is_held(queue_id):
                    waiting.add(queue_id)
        lines = (f"{queue_id} {_ON_HOLD if queue_id in waiting else done}" for queue_id in changed)
        call.answer({"changed": changed, "missing": missing}, lines)
        if waiting and call.as_json:
            call.note(f"{len(waiting)} of them {_ON_HOLD}: {', '.join(sorted(waiting)[:_NAMED])}")
        if missing and not everything:
            raise Refusal("\n".join(f"there is no message {queue_id} in the queue" for queue_id in missing))

    verb.__doc__ = words
    all_option = click.option("--all", "everything", is_flag=True, help="All messages.")
    argument = click.argument("queue_ids", nargs=-1, metavar="ID...")
    command(queue, name)(argument(all_option(verb)))


@contextlib.contextmanager
def opened(call: Call, config: "Config") -> "Iterator[QueueDirectory]":
    """Open the queue files for a while; what cannot be read of them is noted, and no reason to hide the rest."""
    import apsw

    from valija.queue.directory import QueueDirectory

    try:
        with QueueDirectory(config.queue_dir, clock=time.time) as directory:
            for problem in directory.problems:
                call.note(f"a queue file cannot be used: {problem}")
            yield directory
    except apsw.Error as error:
        raise Refusal(f"the queue in {config.queue_dir} cannot be used: {error}") from None


def _all_ids(directory: "QueueDirectory") -> "list[QueueId]":
    """Return the ids of what is in the queue now. They are gathered first: what is changed must not be met twice."""
    return [message.queue_id for message in messages(directory)]


@contextlib.contextmanager
def _told(config: "Config", verb: str) -> "Iterator[Callable[[QueueId], None]]":
    """Have the running server told what was done to messages, also where the command is cut short."""
    from valija.admin.by_hand import Teller, keep_by
    from valija.admin.control import SOCKET_NAME

    unheard = keep_by(config.history_dir, config.history)
    teller = Teller(config.data_dir / SOCKET_NAME, verb, unheard=unheard)
    try:
        yield teller.changed
    finally:
        teller.close()


def _queue_id(text: str) -> "QueueId":
    from valija.queue.identity import parse

    try:
        return parse(text)
    except ValueError as error:
        raise Refusal(str(error)) from None


def messages(directory: "QueueDirectory") -> "Iterator[Listed]":
    """Yield all messages, in the order of their queue ids."""
    after = None
    while page := directory.list(_PAGE, after):
        yield from page
        after = page[-1].queue_id


def _as_json(message: "Listed") -> dict[str, Any]:
    return {
        "queue_id": message.queue_id,
        "reverse_path": message.reverse_path,
        "size": message.size,
        "arrived": rfc3339(message.arrived),
        "hold": message.hold,
        **({"hold_until": rfc3339(message.hold_until)} if message.hold_until else {}),
        "recipients": [
            {
                "address": recipient.address,
                "state": recipient.state,
                "attempts": recipient.attempts,
                "next_attempt": rfc3339(recipient.next_attempt),
                "last_reply": recipient.last_reply,
            }
            for recipient in message.recipients
        ],
    }


def _print_array(values: Iterator[dict[str, Any]]) -> None:
    """Print a JSON array one value at a time."""
    separator = "["
    for value in values:
        click.echo(separator + msgspec.json.encode(value).decode())
        separator = ","
    click.echo("]" if separator == "," else "[]")


def _print_lines(messages: "Iterator[Listed]") -> None:
    count = 0
    for count, message in enumerate(messages, 1):  # noqa: B007 the number of the last one is told below
        for line in _lines(message):
            click.echo(printable(line))
    click.echo(f"{count} message{'' if count == 1 else 's'} in the queue" if count else "the queue is empty")


def _lines(message: "Listed") -> Iterator[str]:
    hold = ", on hold" if message.hold else ""
    until = f", to be sent at {rfc3339(message.hold_until)}" if message.hold_until else ""
    sender = message.reverse_path or "<>"
    yield f"{message.queue_id}  {rfc3339(message.arrived)}  {message.size} octets  from {sender}{until}{hold}"
    for recipient in message.recipients:
        attempts = f"{recipient.attempts} attempt{'' if recipient.attempts == 1 else 's'}"
        yield f"    {recipient.address}  {recipient.state}, {attempts}, next {rfc3339(recipient.next_attempt)}"
        if recipient.last_reply:
            yield f"        {recipient.last_reply}"


def _whole(listed: "Listed", message: "NewMessage") -> dict[str, Any]:
    origin = msgspec.to_builtins(message.origin)
    origin["received_at"] = rfc3339(message.origin.received_at)
    return {
        **_as_json(listed),
        "envelope": msgspec.to_builtins(message.envelope),
        "origin": origin,
        "header": _header(message),
    }


def _whole_lines(listed: "Listed", message: "NewMessage") -> Iterator[str]:
    yield from _lines(listed)
    origin = message.origin
    login = f", logged in as {origin.login}" if origin.login else ""
    if origin.uid is None:
        yield f"came by {origin.role} from [{origin.client_address}] ({origin.helo}) with {origin.protocol}{login}"
    else:
        yield f"came from a program of this machine, run by {origin.login} (uid {origin.uid})"
    yield f"allowed by {origin.rule}"
    yield ""
    yield from _header(message).splitlines()


def _header(message: "NewMessage") -> str:
    """Return the header, its tabs as blanks; octets that are no UTF-8 stand as escapes."""
    header = message.content.head.partition(b"\r\n\r\n")[0].decode("utf-8", "backslashreplace")
    return header.replace("\r\n", "\n").replace("\t", "    ")


# Which of the directory's verbs a command means.
_VERBS: "dict[str, Callable[[QueueDirectory], Callable[[QueueId], bool]]]" = {
    "hold": lambda directory: directory.hold,
    "release": lambda directory: directory.release,
    "retry": lambda directory: directory.retry,
    "delete": lambda directory: directory.delete,
}
