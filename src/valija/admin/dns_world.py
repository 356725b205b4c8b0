"""The DNS as the world sees it: what the name servers of our own zones say, compared with what a resolver has heard.

    world = World(resolver, Authorities(resolver), ("example.org", "mail.example.org"))
    answer = await world.lookup("example.org", "MX")      # it is a Resolver: any check can look through it
    world.findings()                                      # where servers differ, are silent, or caches are behind

Names of others are the resolver's to answer. Of our own the name servers are asked, each of them, and where they differ
the poorest answer counts: whoever asks that one gets no more. Where none of them can be asked, the resolver's answer
has to do, and that is told.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Literal, overload

from valija.admin.findings import Finding, failure, unknown, warning
from valija.dns.authorities import Authorities, Told
from valija.dns.resolver import Answer, MxRecord, RecordType, Resolver, Status, TextType

_SHOWN: Final = 60  # characters of an answer


class World:
    """Looks names up, and remembers what was odd about the answers."""

    def __init__(self, resolver: Resolver, authorities: Authorities, ours: Iterable[str]) -> None:
        self._resolver = resolver
        self._authorities = authorities
        self._ours = tuple(ours)
        self._findings: dict[Finding, None] = {}

    @overload
    async def lookup(self, name: str, rtype: Literal["MX"]) -> Answer[MxRecord]: ...
    @overload
    async def lookup(self, name: str, rtype: TextType) -> Answer[str]: ...
    async def lookup(self, name: str, rtype: RecordType) -> Answer[Any]:
        """Return what the world would hear."""
        if not self._is_ours(name):
            return await self._resolver.lookup(name, rtype)
        asking = asyncio.create_task(self._authorities.ask(name, rtype))
        heard: Answer[Any] = await self._resolver.lookup(name, rtype)
        return self._weighed(name, rtype, heard, await asking)

    def findings(self) -> list[Finding]:
        """Return what was odd so far, each of it once."""
        return sorted(self._findings, key=lambda finding: finding.text)

    def _is_ours(self, name: str) -> bool:
        return any(name == own or name.endswith(f".{own}") for own in self._ours)

    def _weighed(self, name: str, rtype: RecordType, heard: Answer[Any], told: tuple[Told, ...]) -> Answer[Any]:
        for silent in (each for each in told if each.answer.status is Status.FAILED):
            self._note(_silent(silent, is_only=all(each.answer.status is Status.FAILED for each in told)))
        answers = [each for each in told if each.answer.status is not Status.FAILED]
        if not answers:
            if not told:
                self._note(unknown("servers", f"the name servers of {name} are not known: a cache was asked"))
            return heard
        poorest = min(answers, key=lambda each: (len(each.answer.records), each.server)).answer
        views = {_view(each.answer): each for each in answers}
        if len(views) > 1:
            self._note(_they_differ(name, rtype, answers))
        elif _view(heard) != _view(poorest):
            self._note(_behind(name, rtype, heard, poorest))
        is_same = _view(heard) == _view(poorest)
        return Answer(poorest.status, poorest.records, heard.authentic and is_same, poorest.canonical_name)

    def _note(self, finding: Finding) -> None:
        self._findings[finding] = None


def _view(answer: Answer[Any]) -> tuple[str, ...]:
    return tuple(sorted(map(_shown, answer.records)))


def _shown(record: Any) -> str:
    return f"{record.preference} {record.host}" if isinstance(record, MxRecord) else str(record)


def _words(answer: Answer[Any]) -> str:
    text = ", ".join(_view(answer)) or "nothing"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _silent(told: Told, *, is_only: bool) -> Finding:
    text = f"the name server {told.server} gives no answer ({told.answer.detail})"
    if is_only:
        return unknown("servers", f"{text}, nor does any other of its zone: a cache was asked")
    return warning("servers", text, "see that it runs and knows the zone, or take it out of the NS records")


def _they_differ(name: str, rtype: RecordType, told: Iterable[Told]) -> Finding:
    said = "; ".join(f"{each.server}: {_words(each.answer)}" for each in told)
    text = f"the name servers differ about {rtype} of {name}: {said}"
    return failure("servers", text, "wait until all have the new zone; if it stays so, see how it is passed on to them")


def _behind(name: str, rtype: RecordType, heard: Answer[Any], true: Answer[Any]) -> Finding:
    if heard.status is Status.FAILED:
        text = f"the name servers answer {rtype} of {name}, and a resolver does not ({heard.detail})"
        return warning("servers", text, "see whether the zone's DNSSEC signatures are right and its DS record is")
    text = f"{rtype} of {name} is {_words(true)}, and a cache still has {_words(heard)}"
    return warning("servers", text, "others may have it too, until its TTL is over")
