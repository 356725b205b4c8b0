"""valija dkim: the keys that sign users' mail, and the DNS records that publish them. Their rotation: dkim_rotation."""

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from valija.cli import dkim_rotation
from valija.cli.dkim_records import as_json, domain_name, form_lines, keys_of, stage_line, zone_lines
from valija.cli.frame import Call, Refusal, command, group

if TYPE_CHECKING:
    from valija.config import Config
    from valija.content.dkim_key import DkimKey, Kind
    from valija.dkim_keys import DkimKeys
    from valija.policy.dkim_stages import Stage

_BOTH = "both"


def add_to(main: click.Group) -> None:
    """Add the group and its commands."""
    dkim = group(main, "dkim", "Keys that sign the mail of a domain's users.")

    @command(dkim, "create")
    @click.argument("domain")
    @click.option("--selector", metavar="NAME", help="The key's name in the DNS; today's date by default.")
    @click.option("--kind", type=click.Choice(["rsa", "ed25519", _BOTH]), default="rsa", show_default=True)
    def create(call: Call, domain: str, selector: str | None, kind: str) -> None:
        """Make a key for DOMAIN; its users' mail is signed from now on, or by a second key once it is activated."""
        config = call.enter()
        keys, domain = keys_of(call, config), domain_name(domain)
        made = [_create(keys, domain, selector, each) for each in _kinds(kind)]
        _answer_created(call, config, keys, made, as_list=kind == _BOTH)

    @command(dkim, "list")
    @click.argument("domain", required=False)
    def list_keys(call: Call, domain: str | None) -> None:
        """List the keys of DOMAIN, or of all domains, with their records and where each of them stands."""
        config, now = call.enter(), time.time()
        keys = keys_of(call, config)
        _note_queued(keys, config, now)
        listed, lines = [], []
        for each in [domain_name(domain)] if domain else keys.domains():
            stages = keys.stages(each)
            for key in keys.list(each):
                listed.append(as_json(key, stages[key.selector], now))
                lines += [*zone_lines(key), stage_line(stages[key.selector], now)]
        call.answer(listed, lines)

    dkim_rotation.add_to(dkim)
    _add_ends_to(dkim)


def _add_ends_to(dkim: click.Group) -> None:
    @command(dkim, "retire")
    @click.argument("domain")
    @click.option("--selector", metavar="NAME", required=True, help="The key.")
    @click.option("--anyway", is_flag=True, help="Though no other key signs: mail of DOMAIN leaves unsigned then.")
    def retire(call: Call, domain: str, selector: str, anyway: bool) -> None:
        """Have a key of DOMAIN sign no more, or wait no more; its record stays as long as list says so."""
        from valija.policy.dkim_stages import StageProblem, retired

        keys, domain = keys_of(call, call.enter()), domain_name(domain)
        try:
            keys.change(domain, partial(retired, selector=selector, now=time.time(), may_be_last=anyway))
        except StageProblem as problem:
            raise Refusal(f"{domain}: {problem}") from None
        except OSError as error:
            raise Refusal(f"{domain}: {error}") from None
        signing = [key.selector for key in keys.for_domain(domain)]
        words = f"mail of {domain} is signed by {', '.join(signing)}" if signing else f"mail of {domain} is not signed"
        call.answer({"domain": domain, "retired": selector, "signing": signing}, [words])

    @command(dkim, "remove")
    @click.argument("domain")
    @click.option("--selector", metavar="NAME", required=True, help="The key.")
    @click.option("--anyway", is_flag=True, help="Though mail signed by it may still be on its way.")
    def remove(call: Call, domain: str, selector: str, anyway: bool) -> None:
        """Delete a retired key of DOMAIN for good, once its record is needed no more."""
        config, domain = call.enter(), domain_name(domain)
        keys = keys_of(call, config)
        _check_removable(keys, config, domain, selector, anyway)
        try:
            keys.remove(domain, selector)
        except OSError as error:
            raise Refusal(f"{domain}: {error}") from None
        call.answer({"domain": domain, "removed": selector}, [f"{selector} of {domain} is deleted"])


def _kinds(kind: str) -> "list[Kind]":
    if kind == _BOTH:
        return ["rsa", "ed25519"]
    return ["rsa" if kind == "rsa" else "ed25519"]


def _create(keys: "DkimKeys", domain: str, selector: str | None, kind: "Kind") -> "DkimKey":
    """Make a key. One whose kind signs already waits: its record has to be seen by the world first."""
    from valija.content.dkim_key import KeyProblem

    stage: Stage = "waiting" if any(key.kind == kind for key in keys.for_domain(domain)) else "signing"
    try:
        if selector is None:
            return keys.create_dated(domain, kind, stage, time.time())
        return keys.create(domain, selector, kind, stage)
    except KeyProblem as problem:
        raise Refusal(str(problem)) from None
    except OSError as error:
        raise Refusal(f"the key cannot be kept: {error}") from None


def _answer_created(call: Call, config: "Config", keys: "DkimKeys", made: "list[DkimKey]", *, as_list: bool) -> None:
    domain, now = made[0].domain, time.time()
    stages = keys.stages(domain)
    if domain not in config.domains:
        call.note(f"{domain} is not hosted here: signed is the mail of users who have an address there")
    told: list[dict[str, Any]] = []
    lines: list[str] = []
    for key in made:
        stage = stages[key.selector]
        told.append(as_json(key, stage, now))
        lines += [_what_to_do(key, stage.stage), "", *zone_lines(key), "", *form_lines(key), ""]
    call.answer(told if as_list else told[0], [*lines, f"then let valija dkim check {domain} look at it"])


def _what_to_do(key: "DkimKey", stage: str) -> str:
    if stage == "signing":
        return "publish this record; mail is signed from now on:"
    return f"publish this record; the key signs once valija dkim activate {key.domain} has found it everywhere:"


def _note_queued(keys: "DkimKeys", config: "Config", now: float) -> None:
    from valija.admin.signed_mail import note_queued

    try:
        note_queued(keys, config.queue_dir, now)
    except OSError as error:
        raise Refusal(f"the queue cannot be looked into: {error}") from None


def _check_removable(keys: "DkimKeys", config: "Config", domain: str, selector: str, anyway: bool) -> None:
    from valija.policy.dkim_stages import MARGIN, may_go

    now = time.time()
    _note_queued(keys, config, now)
    stage = keys.stages(domain).get(selector)
    if stage is None:
        raise Refusal(f"{domain}: there is no key {selector}")
    if stage.stage != "retired":
        raise Refusal(f"{domain}: the key {selector} is {stage.stage}: valija dkim retire comes first")
    if not anyway and not may_go(stage, now):
        days = int(MARGIN // 86_400)
        words = f"mail signed by {selector} was on its way less than {days} days ago: others still ask for its record"
        raise Refusal(f"{domain}: {words}; --anyway deletes it all the same")
