"""Ten situations as the log tells them, and what is asked about each.

Each is a text of log lines, as a server wrote them (times and ids made up); the stories told of them are in
tests/golden/why.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from valija.history.lines import Event, parse
from valija.mail.job import QueueId
from valija.queue.store import Listed, PendingRecipient
from valija.why.message import Facts, tell_message
from valija.why.party import tell_session
from valija.why.story import Story

ID: Final = "bmmn4132bzj2q"
SESSION: Final = "4kz02vwm9"
_DAY: Final = "2026-11-25T04:"

_IN: Final = f"""\
{_DAY}38:48.608Z info  accepted  queue_id={ID} session={SESSION} reverse_path=<alice@example.org> recipients=1 \
to=bob@example.net size=1027 role=submission client=198.51.100.7 helo=laptop protocol=ESMTPSA tls_version=TLSv1.3 \
cipher=TLS_AES_256_GCM_SHA384 login=alice@example.org rule="login alice@example.org"
{_DAY}38:48.640Z info  session  session={SESSION} role=submission client=198.51.100.7 helo=laptop tls=TLSv1.3 \
cipher=TLS_AES_256_GCM_SHA384 login=alice@example.org messages=1 errors=0 seconds=0.512 ended=quit
"""
_HOSTS: Final = f"""\
{_DAY}38:48.612Z info  hosts found  next_hop=example.net \
hosts="mx1.example.net[203.0.113.25],mx2.example.net[203.0.113.26]" dnssec=true
"""


def _attempt(time: str, outcome: str, reply: str, *, remote: str = "mx1.example.net", more: str = "") -> str:
    tls = more or "tls=encrypted tls_version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 tls_level=may tls_source=default"
    host = f"remote={remote or chr(34) * 2} remote_address=203.0.113.25"
    return (
        f"{_DAY}{time}Z info  attempt  queue_id={ID} recipient=bob@example.net outcome={outcome} next_hop=example.net "
        f'{host} {tls} reply="{reply}" seconds=0.31\n'
    )


def _deferred(time: str, attempts: int, again: str) -> str:
    return (
        f"{_DAY}{time}Z info  deferred  queue_id={ID} recipients=1 to=bob@example.net attempts={attempts} "
        f"next_attempt=2026-11-25T{again}Z\n"
    )


def _report(time: str) -> str:
    return f"{_DAY}{time}Z info  report queued  queue_id=bmmn4rrrrrrrr kind=failure about={ID}\n"


_REMOVED: Final = f"{_DAY}58:00.001Z info  removed  queue_id={ID}\n"
_NO_DANE: Final = "450 4.7.5 mx1.example.net: certificate does not match the TLSA records"
_DANE: Final = 'tls=none tls_version="" cipher="" tls_level=dane tls_source=dane'

LOGS: Final[Mapping[str, str]] = {
    "delivered at once": _IN + _HOSTS + _attempt("38:48.922", "delivered", "250 2.0.0 Ok: queued as 4Fxyz") + _REMOVED,
    "greylisted, then delivered": _IN
    + _HOSTS
    + _attempt("38:48.922", "deferred", "450 4.7.1 Greylisted, come back in 60 seconds")
    + _deferred("38:48.925", 1, "04:43:54")
    + _attempt("43:54.400", "delivered", "250 2.0.0 Ok: queued as 4Fxyz")
    + _REMOVED,
    "bounced, unknown user": _IN
    + _HOSTS
    + _attempt("38:48.922", "failed", "550 5.1.1 <bob@example.net>: Recipient address rejected: User unknown")
    + _report("38:48.930")
    + _REMOVED,
    "deferred by DANE": _IN
    + _HOSTS
    + f"{_DAY}38:48.800Z info  host not usable  next_hop=example.net remote=mx1.example.net "
    f'remote_address=203.0.113.25 tls_level=dane tls_source=dane reply="{_NO_DANE}"\n'
    + _attempt("38:48.922", "deferred", _NO_DANE, remote="", more=_DANE)
    + _deferred("38:48.925", 1, "05:05:00"),
    "spam refused": _IN
    + _HOSTS
    + _attempt("38:48.922", "failed", "550 5.7.1 Message rejected as spam, see https://spam.example/198.51.100.7")
    + _report("38:48.930")
    + _REMOVED,
    "expired": _IN
    + _attempt("38:48.922", "deferred", "450 4.4.1 No connection to mx1.example.net: timed out", remote="")
    + _deferred("38:48.925", 1, "04:43:54")
    + _attempt("57:58.000", "deferred", "450 4.4.1 No connection to mx1.example.net: timed out", remote="")
    + f"{_DAY}57:59.000Z info  given up  queue_id={ID} recipients=1 to=bob@example.net attempts=39\n"
    + _report("57:59.500")
    + _REMOVED,
    "held by hand": _IN
    + _attempt("38:48.922", "deferred", "451 4.3.0 Mail server temporarily unavailable")
    + _deferred("38:48.925", 1, "04:43:54")
    + f'{_DAY}40:00.000Z info  held  queue_id={ID} by="valija queue hold"\n',
    "held, the account is frozen": _IN + f"{_DAY}39:00.000Z warn  account frozen  login=alice@example.org "
    'reason="it looks stolen: mail from 8 networks where it never was before, within an hour" '
    'began="2026-11-25 04:00 UTC" client=192.0.2.9\n'
    f'{_DAY}39:00.100Z info  held  queue_id={ID} login=alice@example.org reason="the account is frozen"\n',
}

REFUSED: Final[Mapping[str, str]] = {
    "relay denied": f"""\
{_DAY}38:48.608Z info  recipient refused  session={SESSION} client=192.0.2.9 recipient=victim@remote.example \
reply="554 5.7.1 <victim@remote.example>: Relay access denied" login="" role=smtpd helo=printer
{_DAY}38:48.640Z info  session  session={SESSION} role=smtpd client=192.0.2.9 helo=printer tls=none cipher="" \
login="" messages=0 errors=1 seconds=0.2 ended=quit
""",
    "wrong password": f"""\
{_DAY}38:48.608Z warn  login refused  session={SESSION} client=192.0.2.9 login=alice@example.org role=submissions
{_DAY}38:48.640Z info  session  session={SESSION} role=submissions client=192.0.2.9 helo=phone tls=TLSv1.3 \
cipher=TLS_AES_256_GCM_SHA384 login="" messages=0 errors=1 seconds=0.9 ended=quit
""",
}


def events(text: str) -> list[Event]:
    """Return the events of a log; each line must be one."""
    found = [parse(line.encode()) for line in text.splitlines(keepends=True)]
    assert None not in found
    return [event for event in found if event is not None]


def in_queue(*, hold: bool = False) -> Listed:
    """Return the message as the queue has it while it waits."""
    pending = PendingRecipient("bob@example.net", "deferred", 1, 1795583100.0, "451 4.3.0 Mail server ...")
    return Listed(QueueId(ID), "alice@example.org", 1027, 1795581528.6, hold, (pending,), login="alice@example.org")


_QUEUED: Final[Mapping[str, Callable[[], Listed]]] = {
    "deferred by DANE": in_queue,
    "held by hand": lambda: in_queue(hold=True),
    "held, the account is frozen": lambda: in_queue(hold=True),
}


def explain(_sender: str, _address: str) -> tuple[str, str]:
    """Say what the configuration says of a route."""
    return "example.net", "no route and no relayhost: the domain's own hosts"


def facts_of(name: str) -> Facts:
    """Return what is known of a situation's message, parted as an inquiry parts it."""
    found = events(LOGS[name])
    own = [event for event in found if ID in (event.get("queue_id"), event.get("about"))]
    session = [event for event in found if event.get("session") == SESSION]
    around = [event for event in found if event.event in ("hosts found", "host not usable")]
    account = [event for event in found if event.event == "account frozen"]
    queued = _QUEUED[name]() if name in _QUEUED else None
    if name == "deferred by DANE" and queued is not None:
        pending = msgspec.structs.replace(queued.recipients[0], last_reply=_NO_DANE)
        queued = msgspec.structs.replace(queued, recipients=(pending,))
    return Facts(ID, own, session, around, account, queued, explain)


def story_of(name: str) -> Story:
    """Return what is told of a situation."""
    if name in REFUSED:
        return tell_session(SESSION, events(REFUSED[name]))
    return tell_message(facts_of(name))


SITUATIONS: Final = (*LOGS, *REFUSED)
