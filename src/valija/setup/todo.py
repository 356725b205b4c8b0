"""What only people can do after `valija init`: DNS records, the firewall, other mail servers, and the next commands.

    for record in records(config, machine, keys):
        print(zone_line(record), record.remark)

Functions of the configuration and the facts of valija/setup/facts; nothing is asked or changed here.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec

from valija.admin.check_spf import suggestion
from valija.config import Config
from valija.content.dkim_key import DkimKey, dns_record
from valija.setup.facts import Machine
from valija.setup.writing import user_command

UNKNOWN: Final = "ADDRESS"  # stands in records for one that could not be found out
_PIECE: Final = 255  # octets of one string in a TXT record (RFC 1035 section 3.3)

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
    """Yield what others have to find."""
    host = config.hostname
    addresses = machine.public
    published = set(machine.names.addresses) if machine.names else set()
    for address in addresses or (UNKNOWN,):
        kind = "AAAA" if ":" in address else "A"
        yield Record(host, kind, address, "the address of this machine", address in published)
    for address in addresses:
        yield Record(ip_address(address).reverse_pointer, "PTR", f"{host}.", "your provider sets it")
    for domain in config.domains:
        yield from _of_domain(config, domain, machine)
    for key in keys:
        name, value = dns_record(key)
        yield Record(name, "TXT", value, "DKIM: the key that signs")


def _of_domain(config: Config, domain: str, machine: Machine) -> Iterator[Record]:
    hosts = machine.names.mail_hosts.get(domain, ()) if machine.names else ()
    yield Record(domain, "MX", f"10 {config.hostname}.", "mail for the domain comes here", config.hostname in hosts)
    own = suggestion(map(ip_address, machine.public))
    remark = (
        f"SPF: {'the relayhost' if config.relayhost else 'this machine'} sends its mail; a domain has one such record"
    )
    yield Record(domain, "TXT", own, remark)
    policy = f"v=DMARC1; p=none; rua=mailto:postmaster@{domain}"
    yield Record(f"_dmarc.{domain}", "TXT", policy, "DMARC: p=quarantine or p=reject once the reports are good")


def zone_line(record: Record) -> str:
    """Return a record as a zone file has it; a long text is cut into strings."""
    value = record.value
    if record.type == "TXT":
        value = " ".join(f'"{value[at : at + _PIECE]}"' for at in range(0, len(value), _PIECE))
    return f"{record.name}. IN {record.type} {value}"


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
