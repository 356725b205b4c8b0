"""Whether the world can have a DKIM key: every name server of the domain asked, and what each has judged in words.

    publication = await look_up(key, siblings, Authorities(resolver))
    publication.is_complete                         # all of them serve it: the key may sign
    publication.lines()                             # "ns1.example.net: it is cut off after 255 of 410 characters ..."

Caches are asked nothing: a name that nobody has asked for yet is in none of them, and stays so until the key signs.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from valija.content.dkim_key import DkimKey, dns_record
from valija.content.dkim_published import FITS, Judgement, judge
from valija.dkim_keys import DkimKeys
from valija.dns.authorities import Authorities, Told
from valija.dns.resolver import Status
from valija.policy.dkim_stages import KeyStage, may_go


class Place(msgspec.Struct, frozen=True):
    """What one name server has. `answered` is false where it said nothing."""

    server: str
    judgement: Judgement
    answered: bool = True


class Publication(msgspec.Struct, frozen=True):
    """What all name servers have. `failed` says why there are none to ask; `elsewhere` is a name it has by mistake."""

    name: str
    places: tuple[Place, ...] = ()
    failed: str = ""
    elsewhere: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every name server serves the key."""
        return bool(self.places) and all(place.judgement.fits for place in self.places)

    @property
    def is_sure(self) -> bool:
        """Whether every name server said something."""
        return bool(self.places) and all(place.answered for place in self.places)

    def lines(self) -> Iterator[str]:
        """Say in words what was found: what is alike is said once."""
        if self.failed:
            yield self.failed
        for judgement in dict.fromkeys(place.judgement for place in self.places):
            servers = ", ".join(place.server for place in self.places if place.judgement == judgement)
            words = judgement.words or "it serves the key"
            yield f"{servers}: {words}" + (f"; {judgement.remedy}" if judgement.remedy else "")
        if self.elsewhere:
            relative = self.name.removesuffix(f".{self.elsewhere.removeprefix(self.name).lstrip('.')}")
            yield f"the record stands at {self.elsewhere} by mistake: enter {relative} as its name, without the domain"


class Found(msgspec.Struct, frozen=True):
    """A key, where it stands, and what the world has of it."""

    key: DkimKey
    stage: KeyStage
    publication: Publication


async def look_up_all(keys: DkimKeys, domains: Iterable[str], authorities: Authorities, now: float) -> list[Found]:
    """Return what the world has of the keys of some domains whose records are needed, or will be."""
    found: list[Found] = []
    for domain in domains:
        stages, own = keys.stages(domain), keys.list(domain)
        needed = [key for key in own if not may_go(stages[key.selector], now)]
        published = await asyncio.gather(
            *(look_up(key, [each for each in own if each is not key], authorities) for key in needed)
        )
        found += [Found(key, stages[key.selector], each) for key, each in zip(needed, published, strict=True)]
    return found


async def look_up(key: DkimKey, siblings: Sequence[DkimKey], authorities: Authorities) -> Publication:
    """Return what the name servers have at a key's name. `siblings` are other keys of the domain."""
    name, _ = dns_record(key)
    zone = await authorities.zone_of(name)
    if zone.failed:
        return Publication(name, failed=zone.failed)
    told = await authorities.ask_each_address(name, "TXT")
    places = tuple(_place(key, siblings, each) for each in told)
    elsewhere = ""
    if any(each.answer.status in (Status.NO_DOMAIN, Status.NO_DATA) for each in told):
        elsewhere = await _doubled(key, f"{name}.{zone.apex}", authorities)
    return Publication(name, places, elsewhere=elsewhere)


def _place(key: DkimKey, siblings: Sequence[DkimKey], told: Told) -> Place:
    if told.answer.status is Status.FAILED:
        remedy = "see that it runs and can be reached, or take it out of the zone's NS records"
        return Place(
            told.server, Judgement(False, f"it does not answer ({told.answer.detail})", remedy), answered=False
        )
    return Place(told.server, judge(key, told.answer.records, siblings))


async def _doubled(key: DkimKey, name: str, authorities: Authorities) -> str:
    """Return a name if the record stands there: many web forms add the domain to what they are given."""
    told = await authorities.ask(name, "TXT")
    return name if any(judge(key, each.answer.records) == FITS for each in told) else ""
