"""Whether a sender's requests about a message's way and time are granted, and what they come to.

    granted = grant(requests, now, RequestLimits(longest_hold=86400.0))
    if isinstance(granted, Reply): ...                      # the refusal of MAIL
    envelope = granted.applied_to(envelope)

A date in the past asks for nothing: the message is released at once (RFC 4865 leaves it open). A priority above what
users may ask for is lowered, and the sender told so (RFC 6710 section 4.1).
"""

from typing import Final

import msgspec

from valija.mail.envelope import DeliverBy, Envelope
from valija.mail.reply import Reply
from valija.smtp.requests import Requests

_TOO_LONG: Final = Reply(501, "5.5.4", "Messages are not held as long as that")
_TOO_LATE: Final = Reply(501, "5.5.4", "The message would be released after it has to be delivered")


class RequestLimits(msgspec.Struct, frozen=True, gc=False):
    """How far requests may go: `longest_hold` in seconds (0: nothing is held), `highest_priority` from -9 to 9."""

    longest_hold: float = 30 * 86_400.0
    highest_priority: int = 4  # urgent, as RFC 6710 has it in its appendix B


class Granted(msgspec.Struct, frozen=True, gc=False):
    """What is promised: see mail/envelope.Envelope. `lowered` tells that a lower priority was given than asked for."""

    require_tls: bool
    hold_until: float
    deliver_by: DeliverBy | None
    priority: int
    lowered: bool

    @property
    def reply(self) -> Reply | None:
        """The reply to MAIL where it has something to tell, None for the plain one."""
        if self.lowered:
            return Reply(250, "2.3.6", f"{self.priority} is the priority of the message, no higher one is granted")
        return None

    def applied_to(self, envelope: Envelope) -> Envelope:
        """Return the envelope with all that was promised."""
        return msgspec.structs.replace(
            envelope,
            require_tls=self.require_tls,
            hold_until=self.hold_until,
            deliver_by=self.deliver_by,
            priority=self.priority,
        )


def grant(requests: Requests, now: float, limits: RequestLimits) -> Granted | Reply:
    """Return what a site that has these limits promises at `now`, in epoch seconds, or why MAIL is refused."""
    hold_until = now + requests.hold_for if requests.hold_for else requests.hold_until
    if hold_until > now + limits.longest_hold:
        return _TOO_LONG
    by = requests.by
    deliver_by = DeliverBy(now + by.seconds, by.returns, by.traces) if by else None
    if hold_until <= now:
        hold_until = 0.0
    elif deliver_by is not None and hold_until > deliver_by.until:
        return _TOO_LATE  # RFC 4865 section 5.2.2
    priority = min(requests.priority, limits.highest_priority)
    return Granted(requests.require_tls, hold_until, deliver_by, priority, lowered=priority < requests.priority)
