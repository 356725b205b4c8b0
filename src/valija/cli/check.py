"""valija check: is everything as it should be? Exit status 1 where the server would not start or mail would suffer."""

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from valija.cli.frame import Call, Refusal, command
from valija.config.faults import ConfigError

if TYPE_CHECKING:
    from valija.admin.findings import Finding
    from valija.config import Config


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "check")
    @click.option("--offline", is_flag=True, help="Ask the DNS nothing.")
    def check(call: Call, offline: bool) -> None:
        """Check this machine, the configuration and the DNS, and tell who may relay."""
        from valija.admin.check_relay import relay_table

        try:
            config = call.load()
        except ConfigError as refused:
            if call.as_json:
                faults = [_fault(str(fault)) for fault in refused.faults]
                call.answer({"ok": False, "findings": faults, "relay": []}, ())
            raise
        findings = _find(config, offline=offline)
        tell(call, findings, relay_table(config))
        refuse_failures(findings)


def refuse_failures(findings: "Sequence[Finding]") -> None:
    """Say no where one of them is a failure. Raises Refusal."""
    if failures := sum(finding.grade == "failure" for finding in findings):
        raise Refusal(f"{failures} of {len(findings)} findings {'is a failure' if failures == 1 else 'are failures'}")


def _fault(text: str) -> "Finding":
    from valija.admin.findings import failure

    return failure("configuration", text)


def tell(call: Call, findings: "Sequence[Finding]", relay: Sequence[Any] | None = None) -> None:
    """Print findings as a page, or as JSON, with the table of who may relay where there is one."""
    from valija.admin.check_report import report_lines, summary

    if call.as_json:
        is_well = all(finding.grade != "failure" for finding in findings)
        more = {} if relay is None else {"relay": relay}
        call.answer({"ok": is_well, "findings": findings, **more}, ())
        return
    # Not by `call.answer`, which would make the colours visible as text.
    for line in report_lines(findings, relay or (), styled=_wants_colours()):
        click.echo(line)
    click.echo(f"\n{summary(findings)}")


def _wants_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _find(config: "Config", *, offline: bool) -> "list[Finding]":
    from valija.admin.check_machine import check_machine

    findings = list(check_machine(config, now=time.time()))
    if not offline:
        import asyncio

        findings += asyncio.run(_ask_dns(config))
    return findings


async def _ask_dns(config: "Config") -> "list[Finding]":
    from valija.admin.check_certificate import served_chain
    from valija.admin.check_dns import check_dns
    from valija.admin.check_host import DnsFacts, leaving_from
    from valija.admin.check_machine import signing_keys
    from valija.admin.dns_facts import quiet_resolver
    from valija.admin.policy_fetching import PolicyFetching
    from valija.machine import is_local_address, source_addresses

    resolver = quiet_resolver(config)
    sources = leaving_from(config, source_addresses())
    fetch = PolicyFetching(resolver).fetch
    facts = DnsFacts(is_local_address, sources, signing_keys(config), served_chain(config), fetch)
    try:
        return await check_dns(config, resolver, facts)
    finally:
        await resolver.close()
