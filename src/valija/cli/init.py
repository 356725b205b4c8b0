"""valija init: the first configuration of a machine. It asks nothing that it can find out."""

import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from valija.cli.frame import Call, Refusal, command
from valija.mail.address import AddressError, normalise_domain

if TYPE_CHECKING:
    from valija.config import Config
    from valija.content.dkim_key import DkimKey
    from valija.setup.choices import Wish
    from valija.setup.facts import Machine, Names

_PLACE: Final = Path("/etc/valija/valija.toml")
_DEADLINE: Final = 30.0  # seconds for the command that makes a user
_TIMEOUT: Final = 2.0  # seconds per try that a name server has


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "init")
    @click.argument("hostname")
    @click.option("--domain", "domains", multiple=True, metavar="DOMAIN", help="A domain to host; may be repeated.")
    @click.option("--data-dir", default="/var/lib/valija", metavar="FOLDER", help="Where queue, keys and mail lie.")
    @click.option("--user", default="valija", metavar="NAME", help="Whom the server runs as; made where it is missing.")
    @click.option("--email", default="", metavar="ADDRESS", help="The contact of your account with the authority.")
    @click.option("--offline", is_flag=True, help="Ask the DNS nothing.")
    @click.option("--force", is_flag=True, help="Write a configuration that is there anew; the old one is kept.")
    @click.option("--dry-run", is_flag=True, help="Change nothing; print the configuration.")
    def init(
        call: Call,
        hostname: str,
        *,
        domains: tuple[str, ...],
        data_dir: str,
        user: str,
        email: str,
        offline: bool,
        force: bool,
        dry_run: bool,
    ) -> None:
        """Write a first configuration for the server HOSTNAME, and tell what is left to do."""
        from valija.admin.check_ports import find_running
        from valija.setup.choices import Wish, choose
        from valija.setup.configuration import configuration_text
        from valija.setup.report import make_report, report_lines

        path = call.config_path or _PLACE
        there = call.load() if os.path.lexists(path) and not force else None
        named = tuple(map(_normalised, domains))
        wish = Wish(_normalised(hostname), named, os.path.abspath(data_dir), user, email)
        machine = _find_out(wish, offline=offline)
        choices = choose(wish, machine, time.time())
        text = configuration_text(choices)
        config = there or _parsed(text, path)
        done = [] if dry_run else list(_carry_out(config, path, None if there else text))
        if there:
            done.insert(0, f"{path} is there and stays as it is; --force writes it anew and keeps it too")
        report = make_report(
            config,
            choices,
            machine,
            path,
            done=done,
            keys=_keys(config),
            running=find_running(config.data_dir).pids,
            text=text if dry_run else "",
        )
        call.answer(report, report_lines(report))


def _keys(config: "Config") -> "list[DkimKey]":
    from valija.dkim_keys import DkimKeys

    keys = DkimKeys(config.dkim_dir)
    try:
        return [key for domain in config.domains for key in keys.for_domain(domain)]
    except OSError:  # they are for the service's user and root alone
        return []


def _normalised(name: str) -> str:
    try:
        return normalise_domain(name)
    except AddressError as error:
        raise Refusal(f"{name!r} is no name for a server or a domain: {error}") from None


def _find_out(wish: "Wish", *, offline: bool) -> "Machine":
    from valija.setup.choices import candidate_domain
    from valija.setup.facts import look_around, with_names

    machine = look_around(wish.hostname, wish.user)
    if offline:
        return with_names(machine, None)
    import asyncio

    above = candidate_domain(wish.hostname) or machine.mailname
    candidates = dict.fromkeys((*wish.domains, *([above] if above else []), wish.hostname))
    return with_names(machine, asyncio.run(_ask_dns(wish.hostname, candidates)))


async def _ask_dns(hostname: str, domains: Iterable[str]) -> "Names":
    from valija.dns.caching import CachingResolver
    from valija.dns.options import DnsOptions
    from valija.logs import LogBuffer, build_log
    from valija.setup.facts import look_up

    silence = LogBuffer(os.open(os.devnull, os.O_WRONLY))
    resolver = CachingResolver(DnsOptions(timeout=_TIMEOUT), build_log("error", "text", silence))
    try:
        return await look_up(hostname, domains, resolver)
    finally:
        await resolver.close()


def _parsed(text: str, path: Path) -> "Config":
    from valija.config import MACHINE, parse

    return parse(text, str(path), path.absolute().parent, MACHINE)


def _carry_out(config: "Config", path: Path, text: str | None) -> Iterator[str]:
    from valija.privileges import running_as_root
    from valija.setup.writing import CannotWrite, Steps, carry_out

    try:
        yield from carry_out(Steps(path, text, config.user, config.data_dir), is_root=running_as_root(), run=_run)
    except CannotWrite as problem:
        raise Refusal(str(problem)) from None


def _run(arguments: Sequence[str]) -> None:
    path = "/usr/sbin:/sbin:/usr/bin:/bin"
    try:
        subprocess.run(  # noqa: S603 - useradd, with names that were checked
            arguments, check=True, capture_output=True, text=True, timeout=_DEADLINE, env=os.environ | {"PATH": path}
        )
    except subprocess.CalledProcessError as error:
        raise Refusal(f"{' '.join(arguments)}: {error.stderr.strip() or f'exit status {error.returncode}'}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal(f"{' '.join(arguments)}: {error}") from None
