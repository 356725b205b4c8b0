"""Does a reply say "too fast"? And which ones only look like it.

    >>> says_too_fast(Reply(421, "4.7.0", "Try again later"), age=0.0)
    True
    >>> says_too_fast(Reply(451, "4.7.1", "Greylisting in action"), age=2.0)
    False

- 421 is said when a host wants less of us, whatever the words. It is the caller's to leave out the 421 that ends a
  session which had been used before: that says that the session was long enough, and a new one is welcome.
- 4.7.0, 4.7.28 ("mail flood detected"), and the numbers beyond the registered ones that big receivers use (4.7.500,
  4.7.650) are about us and our pace. What the registry has between 4.7.2 and 4.7.30 is about logins, encryption, DKIM
  and SPF: being slower does not help.
- 4.7.1 is what greylisting says (RFC 6647) to each recipient it has not heard of, however slowly they come, and it
  takes them some minutes later. A mailing to a thousand new recipients would make it look like a flood of refusals,
  and strangle those behind it that are known there. So it counts only for a message that has been waiting for longer
  than greylisting lasts; by then it means something else.
- 450 and 451 without such a number are about a mailbox or the host's own trouble, whatever their words.

Known weakness: a host that says 451 4.7.1 for its throttling is slowed down for only when messages have waited for
`GREYLISTING` seconds; until then the retry schedule spreads them.
"""

from typing import Final

from valija.mail.reply import Reply
from valija.smtp.client_transaction import Transaction

GREYLISTING: Final = 1800.0  # seconds; most of it lets a message in after five minutes
_SERVICE_CLOSING: Final = 421
_MAIL_FLOOD: Final = 28
_LAST_REGISTERED: Final = 30


def says_too_fast(reply: Reply, *, age: float) -> bool:
    """Tell whether a peer asks for a slower pace. `age`: seconds since the message arrived here."""
    if reply.code == _SERVICE_CLOSING:
        return True
    if reply.code // 100 != 4 or not reply.enhanced.startswith("4.7."):
        return False
    detail = int(reply.enhanced[4:])
    if detail == 1:
        return age > GREYLISTING
    return detail in (0, _MAIL_FLOOD) or detail > _LAST_REGISTERED


def too_fast_for(transaction: Transaction, *, age: float) -> Reply | None:
    """Return the first reply within a transaction that asks for a slower pace, None where there is none."""
    replies = (transaction.mail_reply, *transaction.rcpt_replies, transaction.data_reply, transaction.final_reply)
    for reply in replies:
        if reply is not None and not reply.is_positive and says_too_fast(reply, age=age):
            return reply
    return None
