"""The acceptance of a content: checks, fix-ups, trace field, signature, and the queue. The 250 comes from here only.

    reply = await accept(site, envelope, origin, incoming)

What is decided about the content is decided by pure functions of content/ and policy/; what is done in between is in
the order of DESIGN's way of a message. The incoming content is kept by the queue or discarded, whatever happens.

A binary content is converted first, in a thread, one at a time: what is checked, signed and stored has lines.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import msgspec

from valija.content.authentication_results import without_claims
from valija.content.header import without
from valija.content.local_addresses import complete_header
from valija.content.submission import CLAIMS, author_addresses, check_once, fix_up, sender_claims
from valija.content.tls_required import waives_tls
from valija.content.trace import check_hops, received_field
from valija.mail.envelope import Envelope
from valija.mail.job import QueueId
from valija.mail.origin import Origin
from valija.mail.reply import Reply
from valija.policy.identity import check_from
from valija.queue.store import NewMessage, QueueFull
from valija.receive.binary import IncomingBinary
from valija.receive.checks import Candidate, Verdict
from valija.receive.following import follow
from valija.receive.incoming import IncomingContent
from valija.receive.signing import seals, signatures
from valija.receive.site import Site, Spending

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
        return _no_room(site, incoming)
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
        return _no_room(site, incoming)
    header = _prepare_header(site, envelope, origin, incoming)
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
            queue_id, origin.received_at, header, incoming.received_header, incoming.body_size, incoming.read_body
        ),
    )
    findings = verdict.findings + ((("hold", verdict.hold),) if verdict.hold else ())
    if findings:
        origin = msgspec.structs.replace(origin, findings=findings)
    if verdict.refusal is not None:
        _log_refusal(site, envelope, origin, verdict.refusal)
        return verdict.refusal
    if verdict.discards:
        reply = Reply(250, "2.0.0", f"Ok: {queue_id}")
        site.log.info("discarded", queue_id=queue_id, **_arrival(envelope, origin), **dict(origin.findings))
        return reply
    if verdict.junk:
        envelope = msgspec.structs.replace(envelope, junk=True)
    return _Passed(envelope, origin, header if verdict.header is None else verdict.header, bool(verdict.hold))


def _no_room(site: Site, incoming: IncomingContent) -> Reply:
    site.log.error("content could not be written", reason=str(incoming.write_error))
    return _NO_ROOM


def _prepare_header(site: Site, envelope: Envelope, origin: Origin, incoming: IncomingContent) -> bytes | Reply:
    """Return the header as it may go on, or why the content can't be taken."""
    header = incoming.header
    refusal = incoming.refusal or check_hops(header)
    if refusal:
        return refusal
    header = _without_forged_results(site, origin, header)
    return _submitted_header(site, envelope, origin, header) if origin.login else header


def _without_forged_results(site: Site, origin: Origin, header: bytes) -> bytes:
    """Return a header in which nobody but us and our own network speaks in our name (RFC 8601 section 5)."""
    cleaned = without_claims(header, site.hostname)
    if cleaned is header or (site.role == "smtpd" and site.relay.trusts(origin.client_address)):
        return header
    return cleaned


def _submitted_header(site: Site, envelope: Envelope, origin: Origin, header: bytes) -> bytes | Reply:
    """Return a user's header, its identity checked and its omissions mended (RFC 6409 section 8)."""
    login = origin.login
    if site.local_names is not None:
        header = complete_header(header, site.local_names)
    refusal = check_once(header) or _check_author(site, login, header)
    if refusal:
        return refusal
    claimed = _without_foreign_sender(site, login, header)
    if isinstance(claimed, Reply):
        return claimed
    header = claimed
    return fix_up(
        header,
        user_address=_address_of(login, "" if site.local_names is not None else envelope.reverse_path, site),
        hostname=site.hostname,
        now=origin.received_at,
        unique=site.unique(),
    )


def _check_author(site: Site, login: str, header: bytes) -> Reply | None:
    authors = author_addresses(header)
    return authors if isinstance(authors, Reply) else _check_theirs(site, login, authors, "From")


def _without_foreign_sender(site: Site, login: str, header: bytes) -> bytes | Reply:
    """Return a header in which nobody else is said to have sent or resent it (RFC 6409 section 8.1)."""
    for name, addresses in sender_claims(header).items():
        refusal: Reply | None = addresses if isinstance(addresses, Reply) else None
        if not isinstance(addresses, Reply):
            refusal = _check_theirs(site, login, addresses, CLAIMS[name])
        if refusal is None:
            continue
        if name != b"sender":
            return refusal
        header = without(header, name)
    return header


def _check_theirs(site: Site, login: str, addresses: list[str], field: str) -> Reply | None:
    hosted, owns = site.relay.domains, site.directory.owns
    return check_from(login, addresses, hosted=hosted, owns=owns, delimiter=site.delimiter, field=field)


def _address_of(login: str, reverse_path: str, site: Site) -> str:
    """Return the address to name a user by whose message does not."""
    if "@" in login:
        return login
    return reverse_path or f"{login}@{site.relay.postmaster_domain}"


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
