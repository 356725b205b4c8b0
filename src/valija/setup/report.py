"""All that `valija init` has to tell, as one value, and as lines for people.

report = make_report(config, choices, machine, path, done=[...], keys=[...], running=())
for line in report_lines(report):
    print(line)
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from valija.admin.dns_records import UNKNOWN
from valija.config import Config
from valija.content.dkim_key import DkimKey
from valija.setup.choices import Choices
from valija.setup.facts import Machine
from valija.setup.todo import (
    Obstacle,
    OpenPort,
    Record,
    firewall_command,
    next_commands,
    obstacles,
    open_ports,
    records,
    zone_line,
)


class Setting(msgspec.Struct, frozen=True):
    """A setting of the configuration, and why it is so."""

    name: str
    value: str
    why: str


class Report(msgspec.Struct, frozen=True):
    """What was found, done, and is left to do. `text` is the configuration, where it was asked for and not written."""

    configuration: str
    settings: tuple[Setting, ...]
    done: tuple[str, ...]
    dns: tuple[Record, ...]
    ports: tuple[OpenPort, ...]
    firewall: str
    obstacles: tuple[Obstacle, ...]
    next: tuple[str, ...]
    text: str = ""


def make_report(
    config: Config,
    choices: Choices,
    machine: Machine,
    path: Path,
    *,
    done: Sequence[str],
    keys: Sequence[DkimKey],
    running: Iterable[int],
    text: str = "",
) -> Report:
    """Return the report on a configuration, which may be another than what would be chosen now."""
    ports = open_ports(config)
    return Report(
        configuration=str(path),
        settings=tuple(_settings(config, choices, path)),
        done=tuple(done),
        dns=tuple(records(config, machine, keys)),
        ports=tuple(ports),
        firewall=firewall_command(machine.firewall, ports),
        obstacles=tuple(obstacles(config, machine, running)),
        next=tuple(next_commands(config, machine, path, (key.domain for key in keys))),
        text=text,
    )


def _settings(config: Config, choices: Choices, path: Path) -> Iterator[Setting]:
    rows = (
        ("hostname", config.hostname, choices.wish.hostname, "as you asked"),
        ("domains", ", ".join(config.domains), ", ".join(choices.domains), choices.why_domains),
        ("certificate", config.tls.certificate, choices.certificate.value, choices.certificate.why),
        ("logins", config.sasl.type, choices.sasl.value, choices.sasl.why),
    )
    for name, value, chosen, why in rows:
        yield Setting(name, value, why if value == chosen else f"{path} says so; it would be {chosen} now: {why}")
    yield Setting("mynetworks", ", ".join(config.mynetworks), "who may send to anywhere without a login")


# For people


def report_lines(report: Report) -> Iterator[str]:
    """Yield the lines."""
    if report.text:
        yield from report.text.splitlines()
        yield ""
    width = max(len(each.value) for each in report.settings)
    for each in report.settings:
        yield f"{each.name:<12} {each.value:<{min(width, 30)}}  {each.why}"
    yield from _section("done", report.done)
    yield from _section("publish in the DNS", _record_lines(report.dns))
    opened = [f"{each.port:<5} {each.remark}" for each in report.ports]
    if report.firewall:
        opened.append(f"by: {report.firewall}")
    yield from _section(
        "let in by the firewall, TCP ports (and out: 25, where your provider has not closed it)", opened
    )
    yield from _section("in the way", [f"{each.text}: {each.remedy}" for each in report.obstacles])
    yield from _section("next", report.next)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"{title}:"
        yield from (f"    {line}" for line in found)


def _record_lines(records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        is_there = ", and is there already" if record.is_there else ""
        yield f"{zone_line(record)}    ; {record.remark}{is_there}"
    if any(record.value == UNKNOWN for record in records):
        yield f"; {UNKNOWN} is the public address of this machine, which could not be found out"
    if not any("DKIM" in record.remark for record in records):
        yield "; and the keys that valija dkim create prints"
