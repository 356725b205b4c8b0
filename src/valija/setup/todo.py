"""What only people can do after `valija init`: DNS records, the firewall, other mail servers, and the next commands.

    for record in records(config, machine, keys):
        print(zone_line(record), record.remark)

Functions of the configuration and the facts of valija/setup/facts; nothing is asked or changed here.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from valija.admin import dns_records, dns_zone
from valija.admin.dns_records import RecordFacts, plan_records
from valija.config import Config
from valija.content.dkim_key import DkimKey
from valija.setup.facts import Machine
from valija.setup.writing import user_command

# What others' mail servers are called in lists of processes, and their units.
_SERVERS: Final = {
    "master": ("Postfix", "postfix"),
    "exim4": ("Exim", "exim4"),
    "exim": ("Exim", "exim"),
    "sendmail-mta": ("sendmail", "sendmail"),
    "sendmail": ("sendmail", "sendmail"),
    "smtpd": ("OpenSMTPD", "opensmtpd"),
    "nullmailer-send": ("nullmailer", "nullmailer"),
}


class Record(msgspec.Struct, frozen=True):
    """A record to publish; `name` without the last dot. `is_there` where the DNS has it already."""

    name: str
    type: str
    value: str
    remark: str = ""
    is_there: bool = False


class OpenPort(msgspec.Struct, frozen=True):
    """A port that clients must reach, and whose."""

    port: int
    remark: str


class Obstacle(msgspec.Struct, frozen=True):
    """What keeps the server from its ports, and the command that ends it."""

    text: str
    remedy: str


# The DNS


def records(config: Config, machine: Machine, keys: Iterable[DkimKey]) -> Iterator[Record]:
    """Yield what others have to find to begin with; `valija dns` prints all there is."""
    facts = RecordFacts(machine.public, machine.public, tuple(keys))
    for record in plan_records(config, facts).records:
        if record.is_needed or record.name.startswith("_dmarc."):
            yield Record(record.name, record.type, record.value, record.purpose, _is_there(record, config, machine))


def _is_there(record: dns_records.Record, config: Config, machine: Machine) -> bool:
    if machine.names is None:
        return False
    if record.type == "MX":
        return config.hostname in machine.names.mail_hosts.get(record.name, ())
    return record.type in ("A", "AAAA") and record.value in machine.names.addresses


def zone_line(record: Record) -> str:
    """Return a record as a zone file has it; a long text is cut into strings."""
    return dns_zone.zone_line(dns_records.Record("", record.name, record.type, record.value, record.remark))


# Ports


def open_ports(config: Config) -> list[OpenPort]:
    """Return the ports that the firewall has to let in."""
    roles = {
        "smtpd": "other servers, from everywhere",
        "submission": "your users' mail programs",
        "submissions": "your users' mail programs",
    }
    found = {
        endpoint.port: OpenPort(endpoint.port, roles[role])
        for role, options in config.listeners.items()
        for endpoint in options.listen
    }
    for endpoint in config.https.listen:
        found[endpoint.port] = OpenPort(endpoint.port, "other servers and mail programs, by HTTPS")
    for endpoint in config.tls.challenge_listen:
        found[endpoint.port] = OpenPort(endpoint.port, "the authority, while a certificate is ordered")
    return list(found.values())


def firewall_command(firewall: str, ports: Sequence[OpenPort]) -> str:
    """Return what opens the ports in a firewall that is known, `""` for others."""
    numbers = [str(each.port) for each in ports]
    if firewall == "ufw":
        return f"ufw allow {','.join(numbers)}/tcp"
    if firewall == "firewall-cmd":
        added = " ".join(f"--add-port={number}/tcp" for number in numbers)
        return f"firewall-cmd --permanent {added} && firewall-cmd --reload"
    return ""


def obstacles(config: Config, machine: Machine, running: Iterable[int]) -> Iterator[Obstacle]:
    """Yield who has the server's ports. `running` are the processes of a valija that runs already."""
    ours = set(running)
    found: dict[tuple[str, int], list[int]] = {}
    for port in dict.fromkeys(each.port for each in open_ports(config)):
        for holder in machine.holders.get(port, ()):
            # systemd (process 1) holds sockets for valija.socket, or for whatever it would start.
            if holder.pid not in ours | {1}:
                found.setdefault((holder.program, holder.pid), []).append(port)
    for (program, pid), ports in found.items():
        yield _obstacle(program, pid, ports, machine)


def _obstacle(program: str, pid: int, ports: Sequence[int], machine: Machine) -> Obstacle:
    where = f"port{'s' * (len(ports) > 1)} {', '.join(map(str, ports))}"
    if not pid:
        return Obstacle(f"a program has {where}; as root, this command tells which", "stop it")
    name, unit = _SERVERS.get(program, (program, ""))
    if not unit:
        return Obstacle(f"{name} (process {pid}) has {where}", "stop it, or give valija other ports")
    remedy = f"systemctl disable --now {unit}" if machine.has_systemd else f"service {unit} stop"
    return Obstacle(f"{name} (process {pid}) has {where}", remedy)


# Commands


def next_commands(config: Config, machine: Machine, path: Path, signed: Iterable[str]) -> Iterator[str]:
    """Yield what to run, in order. `path` is the configuration's; mail of the `signed` domains has keys already."""
    option = "" if path == Path("/etc/valija/valija.toml") else f" -c {shlex.quote(str(path))}"
    if not (machine.is_root or machine.has_user):
        yield f"as root: {shlex.join(user_command(config.user, config.data_dir))}"
    yield from (f"valija dkim create {domain}{option}" for domain in config.domains if domain not in set(signed))
    if config.sasl.type == "dovecot":
        yield f"valija dovecot-config{option} >/etc/dovecot/conf.d/99-valija.conf && doveadm reload"
    elif config.sasl.type == "accounts" and config.domains:
        yield f"valija user add YOU@{config.domains[0]}{option}"
    yield f"valija check{option}"
    if machine.has_systemd:
        yield f"valija systemd install{option}"
        yield "systemctl daemon-reload && systemctl enable --now valija.service"
    else:
        yield f"valija serve{option}"
