"""What can be found out for a first configuration: of this machine, and of its names in the DNS.

    machine = look_around("mail.example.org", "valija")
    machine = with_names(machine, "mail.example.org", await look_up(...))

Nothing is written, and nobody is asked but the name servers.
"""

import asyncio
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from valija.admin.check_host import addresses_of
from valija.admin.check_ports import Holder, holders
from valija.auth.options import SaslOptions
from valija.dns.resolver import Resolver, Status
from valija.machine import is_local_address, source_addresses
from valija.mail.address import AddressError, normalise_domain
from valija.mail.endpoint import Endpoint
from valija.policy.public import is_public
from valija.privileges import PrivilegeError, find_account, running_as_root
from valija.tls.pair import MAX_FILE, CertificatePair, certificate_summary, covers

PORTS: Final = (25, 587, 465, 80)  # who listens there is of interest
PATIENCE: Final = 8.0  # seconds for the name servers
_ROOT: Final = Path("/")
_FIREWALLS: Final = ("ufw", "firewall-cmd")


class Names(msgspec.Struct, frozen=True):
    """What the DNS says. `mail_hosts` are a domain's MX hosts, a domain that could not be looked up left out."""

    addresses: tuple[str, ...] = ()
    failed: str = ""
    mail_hosts: Mapping[str, tuple[str, ...]] = {}


class CertbotPair(msgspec.Struct, frozen=True):
    """The files of a certificate that certbot keeps for a host name; `expires` is seconds since the epoch."""

    cert_file: str
    key_file: str
    expires: float


class Machine(msgspec.Struct, frozen=True):
    """The facts. `sources` are the addresses that connections leave from; `local` those of its names that are its own.

    `holders` are the programs that listen, by port. `mailname` is what /etc/mailname says. `firewall` is the command
    of the firewall that is installed, `""` where none is known.
    """

    is_root: bool = False
    has_user: bool = False
    sources: tuple[str, ...] = ()
    local: frozenset[str] = frozenset()
    names: Names | None = None
    holders: Mapping[int, tuple[Holder, ...]] = {}
    mailname: str = ""
    certbot: CertbotPair | None = None
    has_dovecot: bool = False
    firewall: str = ""
    has_systemd: bool = False

    @property
    def public(self) -> tuple[str, ...]:
        """The addresses that others reach this machine by, as far as they are known: its own, or its name's."""
        own = tuple(filter(is_public, self.sources))
        return own or tuple(filter(is_public, self.names.addresses if self.names else ()))


def look_around(hostname: str, user: str, root: Path = _ROOT) -> Machine:
    """Return what this machine tells of itself. `root` is where its files are looked for."""
    return Machine(
        is_root=running_as_root(),
        has_user=_has_user(user),
        sources=tuple(source_addresses()),
        holders={port: _who_listens(port) for port in PORTS},
        mailname=_mailname(root),
        certbot=_certbot_pair(hostname, root),
        has_dovecot=_has_dovecot(root),
        firewall=next((name for name in _FIREWALLS if _program(name)), ""),
        has_systemd=(root / "run/systemd/system").is_dir(),
    )


def with_names(machine: Machine, names: Names | None) -> Machine:
    """Return the machine with what the DNS says of its name; None where it was not asked."""
    local = frozenset(filter(is_local_address, names.addresses if names else ()))
    return msgspec.structs.replace(machine, names=names, local=local)


async def look_up(hostname: str, domains: Iterable[str], resolver: Resolver) -> Names:
    """Return what the DNS says of a host and of domains that it may have mail for. Takes PATIENCE at most."""
    wanted = tuple(domains)
    try:
        async with asyncio.timeout(PATIENCE):
            found = await addresses_of(hostname, resolver)
            hosts = await asyncio.gather(*(_mail_hosts(domain, resolver) for domain in wanted))
    except TimeoutError:
        return Names(failed=f"no answer within {PATIENCE:g} s")
    known = {domain: each for domain, each in zip(wanted, hosts, strict=True) if each is not None}
    return Names(found.addresses, found.failed, known)


async def _mail_hosts(domain: str, resolver: Resolver) -> tuple[str, ...] | None:
    answer = await resolver.lookup(domain, "MX")
    return None if answer.status is Status.FAILED else tuple(record.host for record in answer.records)


def _has_user(name: str) -> bool:
    try:
        find_account(name)
    except PrivilegeError:
        return False
    return True


def _who_listens(port: int) -> tuple[Holder, ...]:
    found = (holder for host in ("0.0.0.0", "::") for holder in holders(Endpoint(host, port)))  # noqa: S104 asked for
    return tuple(dict.fromkeys(found))


def _mailname(root: Path) -> str:
    """Return the domain that Debian's programs write mail from."""
    try:
        return normalise_domain((root / "etc/mailname").read_text().strip())
    except (OSError, UnicodeDecodeError, AddressError):
        return ""


def _certbot_pair(hostname: str, root: Path) -> CertbotPair | None:
    """Return the pair of certbot's for a name: the one that is called so, else the one that lasts longest."""
    live = root / "etc/letsencrypt/live"
    try:
        folders = [folder for folder in live.iterdir() if folder.is_dir()]
    except OSError:
        return None
    found = [pair for folder in folders if (pair := _pair_in(folder, hostname))]
    return max(found, key=lambda pair: (Path(pair.cert_file).parent.name == hostname, pair.expires), default=None)


def _pair_in(folder: Path, hostname: str) -> CertbotPair | None:
    chain, key = folder / "fullchain.pem", folder / "privkey.pem"
    try:
        with chain.open("rb") as file:
            summary = certificate_summary(CertificatePair(file.read(MAX_FILE), b""))
    except (OSError, ValueError):
        return None
    is_for_it = any(covers(name, hostname) for name in summary.names)
    return CertbotPair(str(chain), str(key), summary.not_after) if is_for_it and key.exists() else None


def _has_dovecot(root: Path) -> bool:
    """Whether Dovecot is installed, or its socket is there."""
    socket = root / SaslOptions().path.removeprefix("/")
    return socket.exists() or _program("dovecot") is not None


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))
