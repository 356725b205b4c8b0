"""Whether mail that a DKIM key signed is still in the queue: its record has to stay in the DNS as long.

    is_queued(queue, "example.org", key)          # True, False, or None: too many to be sure
    note_queued(keys, config.queue_dir, now)      # and it is kept with the keys when that was last so

A message signed by the key was taken before the key was retired. Only such are looked into, oldest first.
"""

from functools import partial
from pathlib import Path
from typing import Final

from valija.content.dkim_signature import signatures
from valija.content.header import HeaderCollector
from valija.dkim_keys import DkimKeys
from valija.mail.job import QueueId
from valija.policy.dkim_stages import KeyStage, seen_queued
from valija.queue.directory import QueueDirectory

_PAGE: Final = 200  # messages
_MOST: Final = 20_000  # messages that are looked into
_LATE: Final = 60.0  # seconds after its retirement in which a worker may still have signed by a key


def is_queued(queue: QueueDirectory, domain: str, key: KeyStage) -> bool | None:
    """Whether a message signed by a retired key of `domain` is queued; None if that is not known."""
    if queue.problems:
        return None
    after: QueueId | None = None
    for _ in range(_MOST // _PAGE):
        page = queue.list(_PAGE, after)
        for listed in page:
            if listed.arrived <= key.since + _LATE and _is_signed_by(queue, listed.queue_id, domain, key.selector):
                return True
        if len(page) < _PAGE or page[-1].arrived > key.since + _LATE:
            return False
        after = page[-1].queue_id
    return None


def _is_signed_by(queue: QueueDirectory, queue_id: QueueId, domain: str, selector: str) -> bool:
    shown = queue.show(queue_id)
    if shown is None:
        return False
    collector = HeaderCollector()
    collector.feed(shown[1].content.head)
    collector.finish()
    found = signatures(collector.header)
    return any((each.domain, each.selector) == (domain, selector.lower()) for each in found)


def note_queued(keys: DkimKeys, queue_dir: Path, now: float) -> None:
    """Note for each retired key whether its mail is still queued; what is not known counts as queued.

    Raises OSError where the notes can't be written.
    """
    retired = [(domain, key) for domain in keys.domains() for key in keys.retired(domain)]
    if not retired:
        return
    with QueueDirectory(queue_dir) as queue:
        for domain, key in retired:
            if is_queued(queue, domain, key) is not False:
                keys.change(domain, partial(seen_queued, selector=key.selector, now=now))
