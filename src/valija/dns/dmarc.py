"""What DMARC says of a message: the tree walks of policy/dmarc, with the look-ups made (RFC 9989).

    author = await walk("example.org", resolver)           # may begin as soon as From is known
    result = await judge(author, [Identifier("dkim", "mail.example.org", "pass")], resolver)
    result.verdict, result.policy                          # "fail", "reject"

A look-up that gets no answer makes `temperror` wherever the answer could have mattered, a key or an SPF record that
could not be had as well: only what is known to be unproven fails.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from valija.dns.resolver import Resolver, Status
from valija.policy.dmarc import (
    Found,
    Walk,
    WalkFailed,
    discover,
    is_aligned,
    may_be_aligned,
    needs_existence,
    policy_for,
    targets,
)
from valija.policy.dmarc_record import Policy

DmarcVerdict = Literal["none", "pass", "fail", "temperror", "permerror"]

_NO_RECORD: Final = "no DMARC record applies"


class Identifier(msgspec.Struct, frozen=True):
    """A domain that vouches for a message, by `spf` or `dkim`, and whether it is known to: `pass` or `temperror`."""

    method: Literal["spf", "dkim"]
    domain: str
    verdict: Literal["pass", "temperror"]


class DmarcResult(msgspec.Struct, frozen=True):
    """What DMARC says of mail from `author`, and what the owner wants done with it, `none` where that is nothing."""

    verdict: DmarcVerdict
    author: str = ""
    policy: Policy = "none"
    reason: str = ""


async def walk(domain: str, resolver: Resolver) -> Walk:
    """Return the tree walk from a domain. Raises WalkFailed."""
    asked = targets(domain)
    answers = await asyncio.gather(*(resolver.lookup(f"_dmarc.{each}", "TXT") for each in asked))
    texts = {
        each: None if answer.status is Status.FAILED else answer.records
        for each, answer in zip(asked, answers, strict=True)
    }
    return Walk.of(domain, texts)


async def judge(author: Walk, identifiers: Sequence[Identifier], resolver: Resolver) -> DmarcResult:
    """Return whether one of the identifiers is the author's, and if not, what is to be done."""
    found = discover(author)
    if found is None:
        return DmarcResult("none", author.start, reason=_NO_RECORD)
    try:
        verdict = await _verdict(author, found, identifiers, resolver)
        policy = await _policy(author, found, resolver) if verdict == "fail" else "none"
    except WalkFailed as failed:
        return DmarcResult("temperror", author.start, reason=f"the DNS did not answer for {failed}")
    reason = "an answer is missing that might prove it" if verdict == "temperror" else ""
    return DmarcResult(verdict, author.start, policy, reason)


async def _verdict(
    author: Walk, found: Found, identifiers: Sequence[Identifier], resolver: Resolver
) -> Literal["pass", "fail", "temperror"]:
    strict = {"spf": found.record.strict_spf, "dkim": found.record.strict_dkim}
    possible = [each for each in identifiers if may_be_aligned(each.domain, author, strict=strict[each.method])]
    for proven in dict.fromkeys(each.domain for each in possible if each.verdict == "pass"):
        if proven == author.start or is_aligned(await walk(proven, resolver), author):
            return "pass"
    return "temperror" if any(each.verdict == "temperror" for each in possible) else "fail"


async def _policy(author: Walk, found: Found, resolver: Resolver) -> Policy:
    exists = True
    if needs_existence(found, author.start):
        answer = await resolver.lookup(author.start, "A")
        if answer.status is Status.FAILED:
            raise WalkFailed(author.start)
        exists = answer.status is not Status.NO_DOMAIN  # RFC 8020
    return policy_for(found, author.start, exists=exists)
