"""Does the use of an account look as if its password were stolen? Judged from what was sent from where, purely.

    >>> judge_sending(Sending(networks=8, messages=16))
    'mail from 8 networks where it never was before, within an hour'

A thief sends from elsewhere, fast, and to people who never heard from the account. So all that is judged is *foreign*
mail: from networks (an IPv4 /24, an IPv6 /64) where the account has not been for a day yet. The network where an
account is used first is its home at once. Foreign mail is *strange* where it goes to somebody the account never wrote
to. The account is taken for stolen by any of these:

- many networks: foreign mail from 8 networks within an hour;
- strangers: 25 strange messages within an hour; or 10 with 200 recipients among them that it never wrote to. On its
  first day, when everybody is new to an account, within ten minutes;
- speed: 25 foreign messages within ten minutes, from 2 networks or more;
- bounces: 30 recipients refused for good and 30 % of all, while it writes to more new people than it ever did.

What never is: any mail from home, whatever it is and to how many, as long as it does not bounce; a traveller's mail
from one new network to people who know the account; less than FEWEST messages.

Who has always written to many new people may do so elsewhere, too: the second rule's numbers grow with the account's
busiest day. A connection by IPv4 and IPv6 from one place is one network (the larger number of the two counts).

Known weaknesses: a thief who is patient for a day in each network makes it a home; one who sits in the owner's own
network, or sends through the owner's machine, is found by bounces alone. The limits of policy/limits hold for both.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

FEWEST: Final = 10
"""No account is taken for stolen over fewer messages (bounces: over fewer than three times as many recipients)."""

MOMENT: Final = 600.0  # seconds: what only a machine sends so much within
WINDOW: Final = 3600.0  # seconds
HOME_AFTER: Final = 86_400.0  # seconds since mail first came from a network
BOUNCE_HOURS: Final = 3  # that bounces are counted over

_MANY_NETWORKS: Final = 8
_FROM_MANY_NETWORKS: Final = 16  # messages
_STRANGE: Final = 25  # messages
_MOST_STRANGE: Final = 250  # however busy the account has been
_STRANGERS_PER_MESSAGE: Final = 8
_FAST: Final = 25
_PART_OF_A_BUSY_DAY: Final = 4  # a quarter of it may come within one hour
_BOUNCES: Final = 30
_NEW_PEOPLE: Final = 100  # a day, beyond which bounces speak against an account without a history
_MORE_THAN_EVER: Final = 2


class Sending(msgspec.Struct, frozen=True):
    """Facts of an account's foreign mail within WINDOW, the message that is judged included.

    `networks` and `messages` in all; `strange` messages, and `strangers`, the recipients they have whom it never wrote
    to before. What begins with `lately` is within MOMENT. `busiest` is the most people it ever wrote to for the first
    time on one day before; `is_new`: the account's first day.
    """

    networks: int = 0
    messages: int = 0
    strange: int = 0
    strangers: int = 0
    lately_networks: int = 0
    lately_messages: int = 0
    lately_strange: int = 0
    lately_strangers: int = 0
    busiest: int = 0
    is_new: bool = False


class Bouncing(msgspec.Struct, frozen=True):
    """Facts of what became of an account's mail within BOUNCE_HOURS.

    `refused` recipients for good, of those `ended` in any way; `first_time` those it wrote to for the first time today,
    `busiest` as in Sending.
    """

    refused: int = 0
    ended: int = 0
    first_time: int = 0
    busiest: int = 0


def facts_of(rows: Sequence[tuple[float, str, int]], now: float, *, busiest: int, is_new: bool) -> Sending:
    """Return what messages come to; each is (when, network, recipients whom the account never wrote to before)."""
    lately = [row for row in rows if row[0] > now - MOMENT]
    return Sending(
        networks=_count_places(network for _, network, _ in rows),
        messages=len(rows),
        strange=sum(strangers > 0 for _, _, strangers in rows),
        strangers=sum(strangers for _, _, strangers in rows),
        lately_networks=_count_places(network for _, network, _ in lately),
        lately_messages=len(lately),
        lately_strange=sum(strangers > 0 for _, _, strangers in lately),
        lately_strangers=sum(strangers for _, _, strangers in lately),
        busiest=busiest,
        is_new=is_new,
    )


def _count_places(networks: Iterable[str]) -> int:
    """Return the number of networks, those of IPv4 and of IPv6 not added up: one place has one of each."""
    different = set(networks)
    by_ipv6 = sum(":" in network for network in different)
    return max(by_ipv6, len(different) - by_ipv6)


def judge_sending(facts: Sending) -> str | None:
    """Return in words why an account looks stolen, None where it does not."""
    if facts.networks >= _MANY_NETWORKS and facts.messages >= _FROM_MANY_NETWORKS:
        return f"mail from {facts.networks} networks where it never was before, within an hour"
    strange = facts.lately_strange if facts.is_new else facts.strange
    strangers = facts.lately_strangers if facts.is_new else facts.strangers
    most = min(max(_STRANGE, facts.busiest // _PART_OF_A_BUSY_DAY), _MOST_STRANGE)
    if strange >= most or (strange >= FEWEST and strangers >= most * _STRANGERS_PER_MESSAGE):
        within = "ten minutes" if facts.is_new else "an hour"
        where = _places(facts.lately_networks if facts.is_new else facts.networks)
        return f"{strange} messages to people it never wrote to ({strangers}), from {where}, within {within}"
    if facts.lately_messages >= _FAST and facts.lately_networks > 1:
        return f"{facts.lately_messages} messages from {_places(facts.lately_networks)} within ten minutes"
    return None


def judge_bouncing(facts: Bouncing) -> str | None:
    """Return in words why an account looks stolen, None where it does not."""
    is_unusual = facts.first_time > max(_NEW_PEOPLE, facts.busiest * _MORE_THAN_EVER)
    if facts.refused < _BOUNCES or facts.refused * 10 < facts.ended * 3 or not is_unusual:
        return None
    return (
        f"{facts.refused} of {facts.ended} recipients were refused for good, "
        f"and it wrote to {facts.first_time} people for the first time today"
    )


def _places(networks: int) -> str:
    return f"{networks} network{'s' if networks > 1 else ''} where it never was before"
