"""The queue in the look that mailq(1) has had for forty years, and that scripts read.

-Queue ID-        --Size-- ---Arrival Time---- -Sender/Recipient------
bmmm9v73d3tbp!        1234 Tue Nov 25 02:26:00 alice@example.org
                                     (451 4.7.1 Try later)
                                               bob@example.net

-- 1 Kbytes in 1 Request.

Postfix's marks stand behind the id: `*` for what is being tried or about to be, `!` for what is on hold.
"""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from valija.queue.store import Listed

HEAD: Final = "-Queue ID-        --Size-- ---Arrival Time---- -Sender/Recipient------"
EMPTY: Final = "Mail queue is empty"
_INDENT: Final = " " * 47


def lines(messages: "Iterable[Listed]", now: float) -> Iterator[str]:
    """Yield the lines of the list."""
    count = octets = 0
    for message in messages:
        if not count:
            yield HEAD
        count += 1
        octets += message.size
        yield from _message(message, now)
        yield ""
    if not count:
        yield EMPTY
        return
    yield f"-- {(octets + 1023) // 1024} Kbytes in {count} Request{'' if count == 1 else 's'}."


def _message(message: "Listed", now: float) -> Iterator[str]:
    arrived = time.strftime("%a %b %d %H:%M:%S", time.localtime(message.arrived))
    name = f"{message.queue_id}{_mark(message, now)}"
    yield f"{name:17} {message.size:8} {arrived} {message.reverse_path or 'MAILER-DAEMON'}"
    words = None
    for recipient in message.recipients:
        if recipient.last_reply != words and recipient.last_reply:
            yield f"({recipient.last_reply})".rjust(len(_INDENT) + 20)
        words = recipient.last_reply
        yield f"{_INDENT}{recipient.address}"


def _mark(message: "Listed", now: float) -> str:
    if message.hold:
        return "!"
    return "*" if any(recipient.next_attempt <= now for recipient in message.recipients) else ""
