"""valija check: is everything as it should be? Exit status 1 where the server would not start or would lose mail."""

import os
import time
from typing import TYPE_CHECKING, Final

import click

from valija.cli.frame import Call, Refusal, command
from valija.config.faults import ConfigError

if TYPE_CHECKING:
    from valija.admin.findings import Finding
    from valija.config import Config

_MARKS: Final = {"ok": "ok      ", "warning": "WARNING ", "failure": "FAILURE "}


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "check")
    def check(call: Call) -> None:
        """Check configuration, user, certificate, DNS, and tell who may relay."""
        try:
            config = call.load()
        except ConfigError as refused:
            if call.as_json:
                call.answer({"ok": False, "findings": [_fault(str(fault)) for fault in refused.faults]}, ())
            raise
        findings = _find(config)
        failures = sum(finding.grade == "failure" for finding in findings)
        lines = [f"{_MARKS[finding.grade]}{finding.topic}: {finding}" for finding in findings]
        call.answer({"ok": not failures, "findings": findings}, lines)
        if failures:
            raise Refusal(
                f"{failures} of {len(findings)} findings {'is a failure' if failures == 1 else 'are failures'}"
            )


def _fault(text: str) -> "Finding":
    from valija.admin.findings import failure

    return failure("configuration", text)


def _find(config: "Config") -> "list[Finding]":
    import asyncio

    from valija.admin.check_machine import check_machine

    return [*check_machine(config, now=time.time()), *asyncio.run(_ask_dns(config))]


async def _ask_dns(config: "Config") -> "list[Finding]":
    from valija.admin.check_dns import check_dns
    from valija.dns.caching import CachingResolver
    from valija.logs import LogBuffer, build_log
    from valija.machine import is_local_address

    # What the resolver would log is told by the findings.
    silence = LogBuffer(os.open(os.devnull, os.O_WRONLY))
    resolver = CachingResolver(config.dns, build_log("error", "text", silence))
    try:
        return await check_dns(config, resolver, is_local_address)
    finally:
        await resolver.close()
