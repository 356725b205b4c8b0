"""The acceptance of a content: checks, fix-ups, trace field, signature, and the queue. The 250 comes from here only.

    reply = await accept(site, envelope, origin, incoming)

What is decided about the content is decided by pure functions of content/ and policy/; what is done in between is in
the order of DESIGN's way of a message. The incoming content is kept by the queue or discarded, whatever happens.

A binary content is converted first, in a thread, one at a time: what is checked, signed and stored has lines.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import msgspec

from valija.content.tls_required import waives_tls
from valija.content.trace import received_field
from valija.faults.points import fault_point
from valija.mail.envelope import Envelope
from valija.mail.job import QueueId
from valija.mail.origin import Origin
from valija.mail.reply import Reply
from valija.queue.store import NewMessage, QueueFull
from valija.receive.binary import IncomingBinary
from valija.receive.body import Body
from valija.receive.checks import Candidate, Verdict
from valija.receive.examination import changed_envelope
from valija.receive.following import follow
from valija.receive.incoming import IncomingContent
from valija.receive.prepared_header import prepare_header
from valija.receive.signing import seals, signatures
from valija.receive.site import Site, Spending

_accepted = fault_point("reply.accepted")

_NO_ROOM = Reply(452, "4.3.1", "Insufficient system storage, try again later")
_MOST_NAMED = 10  # recipients in a line of the log
_NO_QUEUE = Reply(451, "4.3.0", "The message could not be queued, try again later")


Examine = Callable[[Envelope, Candidate], Awaitable[Verdict]]
"""Has the checks look at a message that is about to be queued."""


async def accept(
    site: Site,
    envelope: Envelope,
    origin: Origin,
    incoming: IncomingContent,
    *,
    examine: Examine | None = None,
    spending: Spending | None = None,
) -> Reply:
    """Return the reply to the end of a content: 250 once it is durably queued, or why it is not."""
    try:
        if isinstance(incoming, IncomingBinary):
            return await _accept_binary(site, envelope, origin, incoming, examine=examine, spending=spending)
        return await _accept(site, envelope, origin, incoming, examine=examine, spending=spending)
    finally:
        incoming.discard()


async def _accept_binary(
    site: Site,
    envelope: Envelope,
    origin: Origin,
    incoming: IncomingBinary,
    *,
    examine: Examine | None,
    spending: Spending | None,
) -> Reply:
    if incoming.write_error is not None:
        return _not_written(site, incoming.write_error)
    async with site.converting:
        content = await asyncio.to_thread(incoming.converted, site.size_limit)
    if isinstance(content, Reply):
        _log_refusal(site, envelope, origin, content)
        return content
    return await accept(site, envelope, origin, content, examine=examine, spending=spending)


async def _accept(
    site: Site,
    envelope: Envelope,
    origin: Origin,
    incoming: IncomingContent,
    *,
    examine: Examine | None,
    spending: Spending | None,
) -> Reply:
    incoming.finish()
    if incoming.write_error is not None:
        return _not_written(site, incoming.write_error)
    header = prepare_header(site, envelope, origin, incoming)
    if isinstance(header, Reply):
        _log_refusal(site, envelope, origin, header)
        return header
    queue_id = site.queue.new_id()
    on_hold = False
    if examine is not None:
        examined = await _examined(site, examine, queue_id, envelope, origin, incoming=incoming, header=header)
        if isinstance(examined, Reply):
            return examined
        envelope, origin, header, on_hold = examined
    if spending is not None:
        refusal = spending.take(origin.received_at)
        if refusal is not None and not isinstance(refusal, Reply):
            refusal = await refusal
        if refusal is not None:
            _log_refusal(site, envelope, origin, refusal)
            return refusal
    message = _compose(site, queue_id, envelope, origin, incoming=incoming, header=header)
    if on_hold:
        message = msgspec.structs.replace(message, on_hold=True)
    try:
        await site.queue.submit(queue_id, message)
    except QueueFull as full:
        site.log.error("queue full", reason=str(full))
        return _NO_ROOM
    except Exception:
        site.log.exception("queue fault", queue_id=queue_id)
        return _NO_QUEUE
    _log_acceptance(site, queue_id, message)
    _accepted()
    return _queued(queue_id)


def _queued(queue_id: QueueId) -> Reply:
    return Reply(250, "2.0.0", f"Ok: queued as {queue_id}")


class _Passed(NamedTuple):
    """A message as the checks leave it."""

    envelope: Envelope
    origin: Origin
    header: bytes
    on_hold: bool


async def _examined(
    site: Site,
    examine: Examine,
    queue_id: QueueId,
    envelope: Envelope,
    origin: Origin,
    *,
    incoming: IncomingContent,
    header: bytes,
) -> _Passed | Reply:
    """Return the message as the checks leave it, or the reply that ends it."""
    verdict = await examine(
        envelope,
        Candidate(
            queue_id,
            origin.received_at,
            header,
            incoming.received_header,
            incoming.body_size,
            incoming.read_body,
            incoming.new_body,
            site.size_limit,
        ),
    )
    findings = verdict.findings + ((("hold", verdict.hold),) if verdict.hold else ())
    if findings:
        origin = msgspec.structs.replace(origin, findings=findings)
    if verdict.refusal is not None:
        _log_refusal(site, envelope, origin, verdict.refusal)
        return verdict.refusal
    if verdict.discards or verdict.recipients == ():
        site.log.info("discarded", queue_id=queue_id, **_arrival(envelope, origin), **dict(origin.findings))
        return _queued(queue_id)  # in the very words: nobody is to know of it from here
    envelope = changed_envelope(envelope, verdict)
    if verdict.junk:
        envelope = msgspec.structs.replace(envelope, junk=True)
    if verdict.body is not None:
        incoming.replace_body(verdict.body)
        if incoming.write_error is not None:
            return _not_written(site, incoming.write_error)
        envelope = _declared(envelope, verdict.body)
    return _Passed(envelope, origin, header if verdict.header is None else verdict.header, bool(verdict.hold))


def _declared(envelope: Envelope, body: Body) -> Envelope:
    """Return an envelope that says of a body which took another's place whether it is 8bit (RFC 6152)."""
    if envelope.body == "8BITMIME" or all(piece.isascii() for piece in body.read()):
        return envelope
    return msgspec.structs.replace(envelope, body="8BITMIME")


def _not_written(site: Site, error: OSError) -> Reply:
    site.log.error("content could not be written", reason=str(error))
    return _NO_ROOM if error.errno in (errno.ENOSPC, errno.EDQUOT) else _NO_QUEUE


def _compose(
    site: Site, queue_id: QueueId, envelope: Envelope, origin: Origin, *, incoming: IncomingContent, header: bytes
) -> NewMessage:
    """Return the message as it is queued: aliases followed, trace field and signatures on top."""
    trace = received_field(
        origin,
        hostname=site.hostname,
        queue_id=queue_id,
        recipients=envelope.recipients,
        priority=envelope.priority,
    )
    header = signatures(site, origin, incoming, header) + header
    return_path = partial(site.return_path, envelope.reverse_path)
    recipients = follow(site.directory, site.relay.domains, envelope.recipients, header, return_path)
    if recipients != envelope.recipients:
        envelope = msgspec.structs.replace(envelope, recipients=recipients)
    if not envelope.require_tls and waives_tls(header):  # RFC 8689 section 4.1
        envelope = msgspec.structs.replace(envelope, tls_optional=True)
    sealed = seals(site, origin, incoming, header, recipients) + header
    return NewMessage(envelope, incoming.take(trace + sealed), origin)


def _log_acceptance(site: Site, queue_id: QueueId, message: NewMessage) -> None:
    envelope, origin = message.envelope, message.origin
    site.log.info(
        "accepted",
        queue_id=queue_id,
        session=origin.session,
        reverse_path=f"<{envelope.reverse_path}>",
        recipients=len(envelope.recipients),
        to=_named(envelope),
        size=message.content.size,
        role=origin.role,
        client=origin.client_address,
        helo=origin.helo,
        protocol=origin.protocol,
        tls_version=origin.tls.version if origin.tls else "none",
        cipher=origin.tls.cipher if origin.tls else "",
        login=origin.login,
        rule=origin.rule,
        **_requests(envelope),
        **dict(origin.findings),
    )


def _named(envelope: Envelope) -> str | list[str]:
    """Return whom the sender named, the first of them: an alias where one led on."""
    if len(envelope.recipients) == 1:
        return envelope.recipients[0].reported_address
    return list(dict.fromkeys(each.reported_address for each in envelope.recipients[:_MOST_NAMED]))


def _requests(envelope: Envelope) -> dict[str, object]:
    """Return what the sender asked for, for the log (RFC 6710 section 4.1 wants the priority there)."""
    if not (envelope.tls_demand or envelope.hold_until or envelope.deliver_by or envelope.priority):
        return {}
    told = {
        "tls_demand": envelope.tls_demand,
        "hold_until": _date_time(envelope.hold_until),
        "deliver_by": _date_time(envelope.deliver_by.until if envelope.deliver_by else 0.0),
        "priority": envelope.priority,
    }
    return {key: value for key, value in told.items() if value}


def _date_time(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else ""


def _log_refusal(site: Site, envelope: Envelope, origin: Origin, reply: Reply) -> None:
    site.log.info(
        "content refused",
        **_arrival(envelope, origin),
        reply=str(reply),
        **dict(origin.findings),
    )


def _arrival(envelope: Envelope, origin: Origin) -> dict[str, object]:
    return {
        "session": origin.session,
        "reverse_path": f"<{envelope.reverse_path}>",
        "to": _named(envelope),
        "client": origin.client_address,
        "helo": origin.helo,
        "login": origin.login,
        "role": origin.role,
    }
