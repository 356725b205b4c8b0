"""valija dkim rotate, check and activate: a new key is published, seen by the world, and signs only then."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from valija.cli.dkim_records import as_json, domain_name, form_lines, keys_of, zone_lines
from valija.cli.frame import Call, Refusal, command

if TYPE_CHECKING:
    from valija.admin.dkim_publication import Found
    from valija.config import Config
    from valija.content.dkim_key import DkimKey
    from valija.dkim_keys import DkimKeys


def add_to(dkim: click.Group) -> None:
    """Add the commands."""

    @command(dkim, "rotate")
    @click.argument("domain", required=False)
    def rotate(call: Call, domain: str | None) -> None:
        """Make a successor for each key that signs for DOMAIN, or for all domains; it signs once it is activated."""
        keys = keys_of(call, call.enter())
        successors = [key for each in _domains(keys, domain) for key in _successors(keys, each)]
        if not successors:
            raise Refusal("there is no key to be followed by another: valija dkim create")
        now = time.time()
        told = [as_json(key, keys.stages(key.domain)[key.selector], now) for key in successors]
        lines = [line for key in successors for line in _to_publish(key)]
        call.answer(told, [*lines, "then, when valija dkim check finds them everywhere: valija dkim activate"])

    @command(dkim, "check")
    @click.argument("domain", required=False)
    def check(call: Call, domain: str | None) -> None:
        """Ask all name servers of DOMAIN, or of all domains, for the keys' records, and say what is wrong with them."""
        import asyncio

        config = call.enter()
        keys = keys_of(call, config)
        found = asyncio.run(_look_up(config, keys, _domains(keys, domain)))
        if not found:
            raise Refusal("there are no keys: valija dkim create makes one")
        now = time.time()
        call.answer([_as_json(each, now) for each in found], [line for each in found for line in _lines(each)])
        if missing := [each.publication.name for each in found if not each.publication.is_complete]:
            raise Refusal(f"not published everywhere: {', '.join(missing)}")

    @command(dkim, "activate")
    @click.argument("domain", required=False)
    @click.option("--selector", metavar="NAME", help="The key; all that wait by default. A retired one may sign again.")
    @click.option("--anyway", is_flag=True, help="Though not all name servers serve it: others refuse its signatures.")
    def activate(call: Call, domain: str | None, selector: str | None, anyway: bool) -> None:
        """Have a new key of DOMAIN sign, if all its name servers serve the record; the one before it is retired."""
        import asyncio

        config = call.enter()
        keys = keys_of(call, config)
        chosen = _to_activate(keys, _domains(keys, domain), selector)
        found = [] if anyway else asyncio.run(_look_up(config, keys, sorted({key.domain for key in chosen})))
        meant = {_place(key) for key in chosen}
        missing = [each for each in found if _place(each.key) in meant and not each.publication.is_complete]
        activated = [key for key in chosen if _place(key) not in {_place(each.key) for each in missing}]
        for key in activated:
            _activate(keys, key)
        told = [{"domain": key.domain, "selector": key.selector, "kind": key.kind} for key in activated]
        call.answer(told, [f"mail of {key.domain} is signed by {key.selector} ({key.kind})" for key in activated])
        if missing:
            raise Refusal("\n".join(map(_refusal, missing)))


def _place(key: "DkimKey") -> tuple[str, str]:
    return key.domain, key.selector


def _domains(keys: "DkimKeys", domain: str | None) -> list[str]:
    return [domain_name(domain)] if domain else keys.domains()


def _successors(keys: "DkimKeys", domain: str) -> "list[DkimKey]":
    """Return a waiting key of each kind that signs, made now where there is none."""
    stages = keys.stages(domain)
    waiting = {key.kind: key for key in keys.list(domain) if stages[key.selector].stage == "waiting"}
    try:
        return [
            waiting.get(key.kind) or keys.create_dated(domain, key.kind, "waiting", time.time())
            for key in keys.for_domain(domain)
        ]
    except OSError as error:
        raise Refusal(f"the key cannot be kept: {error}") from None


def _to_publish(key: "DkimKey") -> Iterator[str]:
    yield f"publish this record for {key.domain}, and leave the old one where it is:"
    yield ""
    yield from zone_lines(key)
    yield ""
    yield from form_lines(key)
    yield ""


async def _look_up(config: "Config", keys: "DkimKeys", domains: "Iterable[str]") -> "list[Found]":
    from valija.admin.dkim_publication import look_up_all
    from valija.dns.authorities import Authorities
    from valija.dns.caching import CachingResolver
    from valija.logs import LogBuffer, build_log

    # What the resolver would log is told by what is found.
    silence = LogBuffer(os.open(os.devnull, os.O_WRONLY))
    resolver = CachingResolver(config.dns, build_log("error", "text", silence))
    try:
        return await look_up_all(keys, domains, Authorities(resolver), time.time())
    finally:
        await resolver.close()


def _as_json(found: "Found", now: float) -> dict[str, Any]:
    publication = found.publication
    return {
        **as_json(found.key, found.stage, now),
        "published": publication.is_complete,
        "problem": publication.failed,
        "servers": [
            {
                "server": place.server,
                "published": place.judgement.fits,
                "words": place.judgement.words,
                "remedy": place.judgement.remedy,
            }
            for place in publication.places
        ],
    }


def _lines(found: "Found") -> "Iterator[str]":
    state = "is published" if found.publication.is_complete else "is NOT published everywhere"
    yield f"{found.publication.name} ({found.key.kind}, {found.stage.stage}) {state}"
    yield from (f"  {line}" for line in found.publication.lines())
    if found.stage.stage == "waiting" and found.publication.is_complete:
        yield f"  it may sign now: valija dkim activate {found.key.domain} --selector {found.key.selector}"
    if found.stage.stage == "retired" and not found.publication.is_complete:
        yield "  mail that it signed may still be on its way: leave its record until valija dkim list says otherwise"


def _to_activate(keys: "DkimKeys", domains: "Sequence[str]", selector: str | None) -> "list[DkimKey]":
    """Return the keys that are meant. Raises Refusal where there are none, or one that is named signs already."""
    chosen = []
    for domain in domains:
        stages = keys.stages(domain)
        for key in keys.list(domain):
            stage = stages[key.selector].stage
            if (key.selector == selector) if selector else stage == "waiting":
                if stage == "signing":
                    raise Refusal(f"{domain}: the key {selector} signs already")
                chosen.append(key)
    if not chosen:
        raise Refusal(f"there is no key {selector}" if selector else "no key waits: valija dkim rotate makes one")
    return chosen


def _activate(keys: "DkimKeys", key: "DkimKey") -> None:
    from valija.policy.dkim_stages import StageProblem, activated

    try:
        keys.change(key.domain, partial(activated, selector=key.selector, now=time.time()))
    except (StageProblem, OSError) as problem:
        raise Refusal(f"{key.domain}: {problem}") from None


def _refusal(found: "Found") -> str:
    lines = [f"{found.publication.name} is not published everywhere: {found.key.selector} does not sign yet"]
    return "\n".join([*lines, *(f"  {line}" for line in found.publication.lines())])
