"""Gathers what is known of what is asked about: from the history, the queue files and the configuration.

    with Inquiry(config, since=0.0) as inquiry:
        answer = inquiry.answer(subject_of("bmmn4132bzj2q"))
        answer.stories          # nothing: nothing was found
        inquiry.notes           # files that can't be read

It reads only, whether a server runs or not.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import apsw
import msgspec

from valija.admin.way import find_way
from valija.config import Config
from valija.history.lines import Event
from valija.history.search import Archive
from valija.mail.address import AddressError
from valija.mail.envelope import Envelope
from valija.mail.job import QueueId
from valija.queue.directory import QueueDirectory
from valija.queue.identity import made_at
from valija.queue.store import Listed, NewMessage
from valija.why.message import Facts, accepted, tell_message
from valija.why.party import concerns, tell_party, tell_session
from valija.why.story import Story
from valija.why.subject import Subject, same
from valija.why.telling import seconds_of

MESSAGES: Final = 10  # the latest, where an address is asked about
_MOST_EVENTS: Final = 5000  # lines looked at for a client or a login
_OF_ITS_SESSION: Final = 30  # lines
_LOOKED_THROUGH: Final = 20_000  # messages of the queue, where the history knows nothing
_PAGE: Final = 500
_LONGEST_SESSION: Final = 86_400.0  # seconds before a message in which its session may have begun
_FIRST_ATTEMPTS, _LAST_ATTEMPTS = 3, 8  # those whose way is told
_ON_THE_WAY: Final = ("hosts found", "host not usable", "TLS failed, going on", "trying a fall-back relay")
_BEFORE, _AFTER = 0.1, 0.1  # seconds around an attempt
_CLOCKS: Final = 2.0  # seconds that the lines of a message may seem older than its id


class Answer(msgspec.Struct, frozen=True):
    """What was found: of an address or login the sum first, then its latest messages. `begins`: of the history."""

    subject: Subject
    stories: tuple[Story, ...]
    begins: float | None


class Inquiry:
    """One look at everything. `since` leaves out what is older (epoch seconds). A context manager."""

    def __init__(self, config: Config, since: float = 0.0) -> None:
        self._config = config
        self._since = since
        self._archive = Archive(config.history_dir)
        self._queue: QueueDirectory | None = None
        self.notes: list[str] = []
        try:
            self._queue = QueueDirectory(config.queue_dir)
            self.notes += [f"a queue file cannot be used: {problem}" for problem in self._queue.problems]
        except (apsw.Error, OSError) as error:
            self.notes.append(f"the queue in {config.queue_dir} cannot be used: {error}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._queue is not None:
            self._queue.close()

    def answer(self, subject: Subject) -> Answer:
        """Return what is known."""
        if subject.kind == "message":
            stories = self._message(subject)
        elif subject.kind == "session":
            stories = self._session(subject)
        elif subject.kind == "client":
            stories = self._client(subject)
        else:
            stories = self._user(subject)
        self.notes += [f"a file of the history cannot be used: {problem}" for problem in self._archive.problems]
        return Answer(subject, tuple(stories), self._archive.begins)

    # A message

    def _message(self, subject: Subject) -> list[Story]:
        queue_id = QueueId(subject.value)
        events = self._events(subject, since=max(self._since, made_at(queue_id) - _CLOCKS))
        queued = self._in_queue(queue_id)
        if not events and queued is None:
            return []
        facts = Facts(queue_id, events, queued=queued[0] if queued else None, explain=self._explain)
        session = self._session_of(facts, queued)
        around = self._around([event for event in events if event.event == "attempt"], made_at(queue_id))
        account = self._freezes(events)
        return [tell_message(msgspec.structs.replace(facts, session=session, around=around, account=account))]

    def _session_of(self, facts: Facts, queued: tuple[Listed, NewMessage] | None) -> Sequence[Event]:
        line = accepted(facts)
        session = line.get("session") if line else queued[1].origin.session if queued else ""
        if not session:
            return ()
        at = line.time if line else queued[0].arrived if queued else 0.0
        found = self._archive.find([session], since=at - _LONGEST_SESSION)
        return [event for event in found if event.get("session") == session][-_OF_ITS_SESSION:]

    def _around(self, attempts: Sequence[Event], since: float) -> list[Event]:
        """Return what happened on the way to the hosts, for the first attempts and the last.

        Where a connection was open already, nothing did.
        """
        chosen = [*attempts[:_FIRST_ATTEMPTS], *attempts[_FIRST_ATTEMPTS:][-_LAST_ATTEMPTS:]]
        found: list[Event] = []
        for attempt in chosen:
            began = max(since, attempt.time - seconds_of(attempt) - _BEFORE)
            lines = self._archive.find(_ON_THE_WAY, began, attempt.time + _AFTER, attempt.source)
            found += [line for line in lines if line.get("next_hop") == attempt.get("next_hop")]
        return found

    def _freezes(self, events: Iterable[Event]) -> list[Event]:
        logins = {event.get("login") for event in events if event.event == "held" and event.get("login")}
        return [
            event
            for login in logins
            for event in self._archive.find([login])
            if event.event == "account frozen" and same(event.get("login"), login)
        ]

    def _in_queue(self, queue_id: QueueId) -> tuple[Listed, NewMessage] | None:
        if self._queue is None:
            return None
        try:
            return self._queue.show(queue_id)
        except apsw.Error as error:
            self.notes.append(f"the queue in {self._config.queue_dir} cannot be used: {error}")
            return None

    def _explain(self, sender: str, address: str) -> tuple[str, str]:
        """Ask the configuration for a route; the null reverse-path is a bounce's."""
        with suppress(AddressError):
            route = self._config.router.route(Envelope(sender, ()), address)
            return route.next_hop, find_way(self._config, address, sender).why
        return "", ""

    # A session, a client

    def _session(self, subject: Subject) -> list[Story]:
        events = self._events(subject)
        return [tell_session(subject.value, events)] if events else []

    def _client(self, subject: Subject) -> list[Story]:
        events = self._latest_events(subject)
        rule = self._config.networks.find(subject.value)
        remarks = [f"it is in mynetworks, by {rule}: it may relay on smtpd without a login"] if rule else []
        return [tell_party(subject, events, remarks, now=time.time())] if events else []

    # An address, a login

    def _user(self, subject: Subject) -> list[Story]:
        events = self._latest_events(subject)
        queue_ids = [QueueId(event.get("queue_id")) for event in reversed(events) if event.get("queue_id")]
        messages = list(dict.fromkeys(queue_ids))[:MESSAGES] or self._waiting_for(subject)
        alone = [event for event in events if not event.get("queue_id")]
        if not alone and len(messages) == 1:
            return self._message(Subject("message", messages[0]))
        sums = [tell_party(subject, alone, now=time.time())] if alone else []
        return sums + self._brief(messages)

    def _brief(self, queue_ids: Sequence[QueueId]) -> list[Story]:
        """Return the stories of some messages, without what was around them."""
        if not queue_ids:
            return []
        events: dict[str, list[Event]] = {queue_id: [] for queue_id in queue_ids}
        for event in self._archive.find(queue_ids, since=min(map(made_at, queue_ids)) - _CLOCKS):
            for queue_id in {event.get("queue_id"), event.get("about")}.intersection(events):
                events[queue_id].append(event)
        stories = []
        for queue_id in queue_ids:
            queued = self._in_queue(queue_id)
            stories.append(tell_message(Facts(queue_id, events[queue_id], queued=queued[0] if queued else None)))
        return stories

    def _waiting_for(self, subject: Subject) -> list[QueueId]:
        """Return messages of the queue that are to or from an address, for want of a history."""
        found: list[QueueId] = []
        after: QueueId | None = None
        for _ in range(_LOOKED_THROUGH // _PAGE):
            page = self._queue.list(_PAGE, after) if self._queue is not None else ()
            if not page:
                break
            after = page[-1].queue_id
            found += [listed.queue_id for listed in page if _is_about(listed, subject.value)]
        return found[: -MESSAGES - 1 : -1]

    # Lines

    def _events(self, subject: Subject, since: float = 0.0) -> list[Event]:
        found = self._archive.find([subject.value], since=max(since, self._since))
        return [event for event in found if concerns(event, subject)]

    def _latest_events(self, subject: Subject) -> list[Event]:
        """Return the latest lines about something, oldest first."""
        found: list[Event] = []
        for events, left_until in self._archive.newest_first([subject.value], self._since, _MOST_EVENTS):
            found += [event for event in events if concerns(event, subject)]
            found.sort(key=lambda event: event.time)
            found = found[-_MOST_EVENTS:]
            if len(found) == _MOST_EVENTS and found[0].time > left_until:
                break
        return found


def _is_about(listed: Listed, address: str) -> bool:
    names = (listed.reverse_path, listed.login, *(recipient.address for recipient in listed.recipients))
    return any(same(name, address) for name in names)
