"""The acceptance of a content: checks, fix-ups, trace field, signature, and the queue. The 250 comes from here only.

    reply = await accept(site, envelope, origin, incoming)

What is decided about the content is decided by pure functions of content/ and policy/; what is done in between is in
the order of DESIGN's way of a message. The incoming content is kept by the queue or discarded, whatever happens.

A binary content is converted first, in a thread, one at a time: what is checked, signed and stored has lines.
"""

import asyncio
from datetime import UTC, datetime

import msgspec

from valija.content.dkim import sign
from valija.content.submission import author_addresses, check_once, fix_up
from valija.content.tls_required import waives_tls
from valija.content.trace import check_hops, received_field
from valija.mail.address import domain_of
from valija.mail.envelope import Envelope, Recipient
from valija.mail.job import QueueId
from valija.mail.origin import Origin
from valija.mail.reply import Reply
from valija.policy.identity import check_from
from valija.queue.store import NewMessage, QueueFull
from valija.receive.binary import IncomingBinary
from valija.receive.incoming import IncomingContent
from valija.receive.site import Site

_NO_ROOM = Reply(452, "4.3.1", "Insufficient system storage, try again later")
_NO_QUEUE = Reply(451, "4.3.0", "The message could not be queued, try again later")


async def accept(site: Site, envelope: Envelope, origin: Origin, incoming: IncomingContent) -> Reply:
    """Return the reply to the end of a content: 250 once it is durably queued, or why it is not."""
    try:
        if isinstance(incoming, IncomingBinary):
            return await _accept_binary(site, envelope, origin, incoming)
        return await _accept(site, envelope, origin, incoming)
    finally:
        incoming.discard()


async def _accept_binary(site: Site, envelope: Envelope, origin: Origin, incoming: IncomingBinary) -> Reply:
    if incoming.write_error is not None:
        return _no_room(site, incoming)
    async with site.converting:
        content = await asyncio.to_thread(incoming.converted, site.size_limit)
    if isinstance(content, Reply):
        _log_refusal(site, envelope, origin, content)
        return content
    return await accept(site, envelope, origin, content)


async def _accept(site: Site, envelope: Envelope, origin: Origin, incoming: IncomingContent) -> Reply:
    incoming.finish()
    if incoming.write_error is not None:
        return _no_room(site, incoming)
    header = _prepare_header(site, envelope, origin, incoming)
    if isinstance(header, Reply):
        _log_refusal(site, envelope, origin, header)
        return header
    queue_id, message = _compose(site, envelope, origin, incoming, header)
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


def _no_room(site: Site, incoming: IncomingContent) -> Reply:
    site.log.error("content could not be written", reason=str(incoming.write_error))
    return _NO_ROOM


def _prepare_header(site: Site, envelope: Envelope, origin: Origin, incoming: IncomingContent) -> bytes | Reply:
    """Return the header as it may go on, or why the content can't be taken."""
    header = incoming.header
    refusal = incoming.refusal or check_hops(header)
    if refusal:
        return refusal
    return _submitted_header(site, envelope, origin, header) if origin.login else header


def _submitted_header(site: Site, envelope: Envelope, origin: Origin, header: bytes) -> bytes | Reply:
    """Return a user's header, its identity checked and its omissions mended (RFC 6409 section 8)."""
    login = origin.login
    refusal = check_once(header)
    authors = author_addresses(header)
    if refusal:
        return refusal
    if isinstance(authors, Reply):
        return authors
    refusal = check_from(login, authors, hosted=site.relay.domains, owns=site.directory.owns)
    if refusal:
        return refusal
    return fix_up(
        header,
        user_address=_address_of(login, envelope.reverse_path, site),
        hostname=site.hostname,
        now=origin.received_at,
        unique=site.unique(),
    )


def _address_of(login: str, reverse_path: str, site: Site) -> str:
    """Return the address to name a user by whose message does not."""
    if "@" in login:
        return login
    return reverse_path or f"{login}@{site.relay.postmaster_domain}"


def _compose(
    site: Site, envelope: Envelope, origin: Origin, incoming: IncomingContent, header: bytes
) -> tuple[QueueId, NewMessage]:
    """Return the message as it is queued, and its id: aliases followed, trace field and signatures on top."""
    queue_id = site.queue.new_id()
    trace = received_field(
        origin,
        hostname=site.hostname,
        queue_id=queue_id,
        recipients=envelope.recipients,
        priority=envelope.priority,
    )
    signatures = _signatures(site, incoming, header, origin.received_at)
    recipients = _expand(site, envelope.recipients)
    if recipients != envelope.recipients:
        envelope = msgspec.structs.replace(envelope, recipients=recipients)
    if not envelope.require_tls and waives_tls(header):  # RFC 8689 section 4.1
        envelope = msgspec.structs.replace(envelope, tls_optional=True)
    return queue_id, NewMessage(envelope, incoming.take(trace + signatures + header), origin)


def _signatures(site: Site, incoming: IncomingContent, header: bytes, now: float) -> bytes:
    """Return the DKIM signatures for the domain in From, if it is hosted and has keys."""
    if not incoming.hashes_body:
        return b""
    authors = author_addresses(header)
    domain = domain_of(authors[0]) if isinstance(authors, list) and authors else ""
    keys = site.signer.for_domain(domain) if domain in site.relay.domains else ()
    return sign(header, incoming.body_hash(), keys, now) if keys else b""


def _expand(site: Site, recipients: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    """Follow the aliases of hosted recipients, each address once; reports go on naming what the sender used."""
    expanded: dict[str, Recipient] = {}
    for recipient in recipients:
        for target in _targets(site, recipient):
            expanded.setdefault(target.address, target)
    return tuple(expanded.values())


def _targets(site: Site, recipient: Recipient) -> list[Recipient]:
    if domain_of(recipient.address) not in site.relay.domains:
        return [recipient]
    return [
        recipient
        if target == recipient.address
        else Recipient(target, recipient.notify, recipient.orcpt, given=recipient.address)
        for target in site.directory.expand(recipient.address) or (recipient.address,)
    ]


def _log_acceptance(site: Site, queue_id: QueueId, message: NewMessage) -> None:
    envelope, origin = message.envelope, message.origin
    site.log.info(
        "accepted",
        queue_id=queue_id,
        reverse_path=f"<{envelope.reverse_path}>",
        recipients=len(envelope.recipients),
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
    )


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
        reverse_path=f"<{envelope.reverse_path}>",
        client=origin.client_address,
        login=origin.login,
        reply=str(reply),
    )
