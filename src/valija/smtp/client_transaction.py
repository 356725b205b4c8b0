"""One outgoing mail transaction: its commands, how far it came, and the reply that decides each recipient.

    >>> plan(envelope, envelope.recipients, content, capabilities).commands[0]
    b'MAIL FROM:<alice@example.org> SIZE=812\\r\\n'

Parameters leave only where the peer announced what they belong to. DSN parameters travel as the xtext that came
(RFC 3461 sections 5.2.1 and 5.2.2); an ORCPT beyond ASCII in its ASCII form, which every hop can read (RFC 6533).
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from valija.content.typed_address import ascii_orcpt
from valija.mail.address import split
from valija.mail.content import Content
from valija.mail.envelope import DeliverBy, Envelope, Notify, Recipient
from valija.mail.reply import Reply
from valija.smtp.client_capabilities import Capabilities
from valija.smtp.client_content import Unclean, chunk, stuff

CHUNK_LIMIT: Final = 64 * 1024  # octets that may be sent for nothing, to a peer that takes no recipient

_MOST_SECONDS: Final = 999_999_999  # RFC 2852 section 4
_DATA: Final = b"DATA\r\n"
_NOTIFY: Final = {flags: f" NOTIFY={Notify(flags)!s}" if flags else "" for flags in range(16)}


class Transaction(msgspec.Struct, eq=False, gc=False):
    """A transaction under way. `payload` is the stuffed content, None where it is streamed piece by piece.

    `commands` are MAIL, a RCPT for each recipient, and DATA. One that `is_chunk` has BDAT in its place, and the content
    as it is for a payload: all of it leaves at once. `dsn` tells that the DSN parameters went along, `deliver_by` that
    BY did. `dot_sent` tells that the content is on its way, `chunk_unknown` that the peer did not know what BDAT is.
    """

    commands: list[bytes]
    payload: bytes | None
    is_chunk: bool = False
    dsn: bool = False
    deliver_by: bool = False
    chunk_unknown: bool = False
    mail_reply: Reply | None = None
    rcpt_replies: list[Reply] = msgspec.field(default_factory=list)
    data_reply: Reply | None = None
    final_reply: Reply | None = None
    dot_sent: bool = False

    @property
    def is_untouched(self) -> bool:
        """The peer has not answered any of it."""
        return self.mail_reply is None

    @property
    def has_recipients(self) -> bool:
        """Whether the peer took the reverse-path and at least one recipient."""
        mail = self.mail_reply
        if mail is not None and mail.is_positive:
            for reply in self.rcpt_replies:
                if reply.is_positive:
                    return True
        return False

    def verdict(self, place: int) -> Reply | None:
        """Return the reply that decided the recipient at `place`, None while nothing has."""
        mail = self.mail_reply
        if mail is not None and not mail.is_positive:
            return mail
        if place < len(self.rcpt_replies) and not self.rcpt_replies[place].is_positive:
            return self.rcpt_replies[place]
        if self.data_reply is not None and not self.data_reply.is_positive:
            return self.data_reply
        return self.final_reply

    def is_postponed(self, place: int) -> bool:
        """The peer took others and had enough: this recipient belongs into a further transaction at once.

        RFC 5321 section 4.5.3.1.10. A 452 that says why with another enhanced code means this recipient alone.
        """
        if not self.has_recipients or place >= len(self.rcpt_replies):
            return False
        reply = self.rcpt_replies[place]
        if reply.code == 452:
            return reply.enhanced in ("", "4.5.3", "4.0.0")
        return reply.code == 552 and reply.enhanced == "5.5.3"


def plan(
    envelope: Envelope,
    recipients: Sequence[Recipient],
    content: Content,
    capabilities: Capabilities,
    *,
    now: float = math.nan,
    chunks: bool = False,
    kind: type[Transaction] = Transaction,
) -> Transaction:
    """Write the commands for these recipients of a message.

    `now`, in epoch seconds, has to be given where the envelope has a time to be delivered by. With `chunks` a content
    of up to CHUNK_LIMIT octets leaves in one flight with its commands, where the peer allows it. `kind` is that of the
    protocol that is spoken.

    Raises Unclean where a lone CR or LF would leave, in a command or in a content that is in memory.
    """
    dsn, by = capabilities.dsn, envelope.deliver_by
    commands = [_mail(envelope, recipients, content, capabilities)]
    if by is not None and capabilities.deliver_by:
        commands[0] = commands[0][:-2] + _by(by, now)
    elif by is not None:
        recipients = [_with_delay(recipient) for recipient in recipients]
    commands += [_rcpt(recipient, dsn) for recipient in recipients]
    for command in commands:
        if command.count(b"\n") != 1 or command.count(b"\r") != 1 or b"\0" in command:
            raise Unclean("an address or parameter holds a line break")
    deliver_by = by is not None and capabilities.deliver_by
    if chunks and _fits_a_chunk(content, capabilities):
        command, octets = chunk(content.head)
        return kind([*commands, command], octets, is_chunk=True, dsn=dsn, deliver_by=deliver_by)
    commands.append(_DATA)
    return kind(commands, None if content.body_file else stuff(content.head), dsn=dsn, deliver_by=deliver_by)


def _fits_a_chunk(content: Content, capabilities: Capabilities) -> bool:
    """Whether BDAT saves a round trip: DATA has to be answered before the content may follow it (RFC 2920)."""
    return capabilities.chunking and capabilities.pipelining and not content.body_file and content.size <= CHUNK_LIMIT


def seconds_left(by: DeliverBy, now: float) -> int:
    """Return how many whole seconds are left at `now`, in epoch seconds; less than zero where it is late."""
    return max(-_MOST_SECONDS, min(_MOST_SECONDS, math.floor(by.until - now)))


def _by(by: DeliverBy, now: float) -> bytes:
    return f" BY={seconds_left(by, now)};{'R' if by.returns else 'N'}{'T' if by.traces else ''}\r\n".encode()


def _with_delay(recipient: Recipient) -> Recipient:
    """Return a recipient whose delay is told of: by that the sender hears it is late (RFC 2852 section 4.1.4.2)."""
    if recipient.notify == Notify.NEVER:
        return recipient
    notify = recipient.notify | Notify.DELAY if recipient.notify else Notify.FAILURE | Notify.DELAY
    return msgspec.structs.replace(recipient, notify=int(notify))


def needs_smtputf8(envelope: Envelope, recipients: Sequence[Recipient], content: Content) -> list[bool]:
    """Tell for each recipient whether only a peer with SMTPUTF8 can take the message for it (RFC 6531 section 3.2).

    It is needed for a local part that is not ASCII, and for such a header where the client declared SMTPUTF8: a raw
    header that came without the declaration has always travelled as it is.
    """
    sender = envelope.reverse_path
    whole = not (sender.isascii() or split(sender)[0].isascii())
    whole = whole or (envelope.smtputf8 and not _header(content).isascii())
    return [whole or not (each.address.isascii() or split(each.address)[0].isascii()) for each in recipients]


def _header(content: Content) -> bytes:
    end = content.head.find(b"\r\n\r\n")
    return content.head if end < 0 else content.head[:end]


def _mail(envelope: Envelope, recipients: Sequence[Recipient], content: Content, capabilities: Capabilities) -> bytes:
    command = f"MAIL FROM:<{envelope.reverse_path}>"
    if capabilities.size:
        command += f" SIZE={content.size}"
    if capabilities.eight_bit_mime and (envelope.body == "8BITMIME" or not content.head.isascii()):
        command += " BODY=8BITMIME"
    if capabilities.smtputf8 and any(needs_smtputf8(envelope, recipients, content)):
        command += " SMTPUTF8"
    if capabilities.dsn and envelope.ret:
        command += f" RET={envelope.ret}"
    if capabilities.dsn and envelope.envid:
        command += f" ENVID={envelope.envid}"
    if envelope.require_tls and capabilities.require_tls:
        command += " REQUIRETLS"
    if envelope.priority and capabilities.mt_priority:
        command += f" MT-PRIORITY={envelope.priority}"
    return _line(command)


def _rcpt(recipient: Recipient, dsn: bool) -> bytes:
    if not dsn:
        return _line(f"RCPT TO:<{recipient.address}>")
    orcpt = f" ORCPT={ascii_orcpt(recipient.orcpt)}" if recipient.orcpt else ""
    return _line(f"RCPT TO:<{recipient.address}>{_NOTIFY[recipient.notify & 15]}{orcpt}")


def _line(command: str) -> bytes:
    try:
        return f"{command}\r\n".encode()
    except UnicodeEncodeError:
        raise Unclean("an address is not valid Unicode") from None
