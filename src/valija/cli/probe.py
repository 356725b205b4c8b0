"""valija probe: what is wrong with a mail server, as seen from outside. Exit status 1 where anything is bad."""

import ipaddress
import os
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import click

from valija.cli.frame import Call, Refusal, command

if TYPE_CHECKING:
    from valija.probe.judgement import Judgement
    from valija.probe.names import Names
    from valija.probe.target import Role, Target

_LONGEST: Final = 600.0  # seconds for all of it; a healthy server takes a few
_PORT: Final = click.IntRange(0, 65535)


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "probe", configured=False)
    @click.argument("host")
    @click.option("--port-smtp", type=_PORT, default=25, help="Where servers hand over mail; 0 leaves it out.")
    @click.option("--port-submission", type=_PORT, default=587, help="Where users begin in clear; 0 leaves it out.")
    @click.option("--port-submissions", type=_PORT, default=465, help="Where TLS comes first; 0 leaves it out.")
    @click.option("--yes", is_flag=True, help="The server is yours, or its owner agrees.")
    @click.option("--name", metavar="NAME", help="The name its certificate has to be for, by default HOST.")
    @click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="Whom to trust.")
    @click.option("--domain", metavar="DOMAIN", default="", help="A domain that is hosted there.")
    @click.option("--recipient", metavar="ADDRESS", default="", help="A mailbox there, which may get some messages.")
    @click.option("--outside", metavar="ADDRESS", default="valija-probe@example.com", help="A mailbox elsewhere.")
    @click.option("--source", metavar="ADDRESS", default="", help="The address to connect from.")
    @click.option("--ehlo", metavar="NAME", help="What to call ourselves.")
    @click.option("--timeout", type=click.FloatRange(0.1, 600), default=10.0, help="Seconds for each answer.")
    def probe(call: Call, /, host: str, **options: Any) -> None:
        """Judge any mail server from outside: open relay, AUTH, STARTTLS, certificates."""
        target = _target(host, options)
        if not (options["yes"] or ipaddress.ip_address(target.address.partition("%")[0]).is_loopback):
            raise click.UsageError(f"{host} is another machine: probe only your own, and say so with --yes")
        judgements = _probe(call, target)
        _tell_end(call, target, judgements)


def _target(host: str, options: dict[str, Any]) -> "Target":
    from valija.machine import full_host_name, is_local_address
    from valija.probe.target import ROLES, Target

    ports: dict[Role, int] = {role: options[f"port_{role}"] for role in ROLES if options[f"port_{role}"]}
    if not ports:
        raise click.UsageError("every port is left out")
    source = options["source"]
    if source and not _is_address(source):
        raise click.UsageError(f"--source {source!r} is no IP address")
    for option in ("recipient", "outside"):
        if options[option] and (not options[option].isprintable() or "@" not in options[option]):
            raise click.UsageError(f"--{option} {options[option]!r} is no address")
    address = _resolve(host, source)
    return Target(
        host=host,
        address=address,
        name=options["name"] or ("" if _is_address(host) or host == "localhost" else host),
        ehlo=options["ehlo"] or full_host_name(),
        ports=ports,
        outside=options["outside"],
        recipient=options["recipient"],
        domain=options["domain"],
        source=source,
        ca_file=options["ca_file"] or "",
        timeout=options["timeout"],
        deadline=time.monotonic() + _LONGEST,
        is_at_home=not source and is_local_address(address),
    )


def _resolve(host: str, source: str) -> str:
    """Return the first address of a host, of the family of the one that we come from."""
    family = socket.AF_UNSPEC
    if source:
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
    try:
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refusal(f"{host!r} leads nowhere: {getattr(error, 'strerror', None) or error}") from None
    return str(found[0][4][0])


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _probe(call: Call, target: "Target") -> "list[Judgement]":
    """Probe port by port, and tell of each as soon as it is done."""
    from valija.probe.probing import probe_port
    from valija.probe.report import port_lines

    judgements: list[Judgement] = []
    for role, port in target.ports.items():
        found = list(probe_port(target, role, lookup=_ask_dns, now=time.time()))
        if not call.as_json:
            call.answer(None, port_lines(role, port, found))
        judgements += found
    return judgements


def _tell_end(call: Call, target: "Target", judgements: "list[Judgement]") -> None:
    from valija.probe.probing import UNREACHABLE
    from valija.probe.report import summary

    bad = [each for each in judgements if each.verdict == "bad"]
    if call.as_json:
        value = {"host": target.host, "address": target.address, "ok": not bad, "tests": judgements}
        call.answer(value, ())
    else:
        call.answer(None, ("", summary(judgements)))
    if all(each.id.endswith(UNREACHABLE) for each in judgements):
        raise Refusal(f"nothing answers at {target.address}: {'; '.join(judgements[0].evidence)}")
    if bad:
        raise Refusal(f"{len(bad)} of {len(judgements)} tests {'is' if len(bad) == 1 else 'are'} bad")


def _ask_dns(address: str, name: str) -> "Names":
    """Ask the DNS where the answer can matter: for a server that the world sees."""
    import asyncio

    from valija.dns.caching import CachingResolver
    from valija.dns.options import DnsOptions
    from valija.logs import LogBuffer, build_log
    from valija.probe.lookups import ask
    from valija.probe.names import Names

    if not ipaddress.ip_address(address.partition("%")[0]).is_global:
        return Names()

    async def lookup() -> Names:
        silence = LogBuffer(os.open(os.devnull, os.O_WRONLY))
        resolver = CachingResolver(DnsOptions(), build_log("error", "text", silence))
        try:
            return await ask(resolver, address, name)
        finally:
            await resolver.close()

    return asyncio.run(lookup())
