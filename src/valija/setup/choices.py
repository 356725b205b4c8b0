"""What a first configuration says, from what was found out: a pure function, and a reason for each choice.

    choices = choose(Wish("mail.example.org"), machine, now)
    choices.certificate        # Choice("acme", "mail.example.org leads to this machine, and port 80 is free")

Certificate: the one that certbot keeps for the name; else one is ordered from Let's Encrypt, where that is sure to
work; else it is self-signed, and the reason tells what to do about it.

Logins: by Dovecot, where it is installed; else accounts of valija's own. The system's users are never chosen without
Dovecot: their passwords open more than mail, and a server that the whole internet may ask is a place to guess them.

Domains: what was asked for; else the domain above a host name such as `mail`, unless another server takes its mail.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from valija.auth.options import SaslOptions
from valija.policy.public import is_public
from valija.setup.facts import CertbotPair, Machine

_MAIL_LABELS: Final = {
    *("mail", "mail1", "mail2", "smtp", "smtp1", "smtp2", "mx", "mx1", "mx2", "mta", "relay", "out", "post", "email"),
    *("correo", "correos", "mailhost", "imap"),
}
_HTTP: Final = 80


class Wish(msgspec.Struct, frozen=True):
    """What was asked for; `()` and `""` leave it to us."""

    hostname: str
    domains: tuple[str, ...] = ()
    data_dir: str = "/var/lib/valija"
    user: str = "valija"
    email: str = ""


class Choice(msgspec.Struct, frozen=True):
    """What was chosen, and why, in words."""

    value: str
    why: str


class Choices(msgspec.Struct, frozen=True):
    """A first configuration's settings. `pair` is there where the certificate is `files`."""

    wish: Wish
    domains: tuple[str, ...]
    why_domains: str
    certificate: Choice
    sasl: Choice
    pair: CertbotPair | None = None


def choose(wish: Wish, machine: Machine, now: float) -> Choices:
    """Return the settings. `now` is seconds since the epoch."""
    domains, why = _domains(wish, machine)
    certificate = _certificate(wish.hostname, machine, now)
    pair = machine.certbot if certificate.value == "files" else None
    return Choices(wish, domains, why, certificate, _sasl(machine), pair)


# Domains


def candidate_domain(hostname: str) -> str:
    """Return the domain that a host name such as mail.example.org stands for; `""` where it does not look like one."""
    first, _, rest = hostname.partition(".")
    return rest if first in _MAIL_LABELS and "." in rest else ""


def _domains(wish: Wish, machine: Machine) -> tuple[tuple[str, ...], str]:
    if wish.domains:
        return wish.domains, "as you asked"
    above = candidate_domain(wish.hostname)
    if not above and machine.mailname and wish.hostname.endswith(f".{machine.mailname}"):
        above = machine.mailname
    if not above:
        return (wish.hostname,), "the host name itself; --domain names others"
    hosts = machine.names.mail_hosts.get(above) if machine.names else None
    if hosts and wish.hostname not in hosts:
        led = f"mail for {above} is led to {hosts[0] or 'nowhere'}, and hosted here it would never get there"
        return (wish.hostname,), f"the host name itself; {led}"
    return (above,), f"the domain above {wish.hostname}; --domain names others"


# Certificate


def _certificate(hostname: str, machine: Machine, now: float) -> Choice:
    ended = ""
    if pair := machine.certbot:
        if pair.expires > now:
            return Choice("files", f"certbot keeps one for {hostname}: {pair.cert_file}")
        day = datetime.fromtimestamp(pair.expires, UTC).date()
        ended = f"certbot's ended on {day}, and "
    obstacle = _obstacle_to_acme(hostname, machine)
    if obstacle:
        return Choice("self-signed", ended + obstacle)
    return Choice("acme", f"{ended}{hostname} leads to this machine, and port 80 is free")


def _obstacle_to_acme(hostname: str, machine: Machine) -> str:
    """Return why an order might fail, and what to do; `""` where it will not."""
    later = 'write certificate = "acme" once it leads here'
    if "." not in hostname:
        return f"no authority vouches for {hostname}, a name without a dot"
    names = machine.names
    if names is None:
        return f"the DNS was not asked about {hostname}; {later}"
    if not names.addresses:
        what = f"cannot be looked up ({names.failed})" if names.failed else "has no address yet: publish one"
        return f"{hostname} {what}; {later}"
    if elsewhere := [address for address in names.addresses if address not in machine.local]:
        own = ", ".join(machine.sources) or "none that is known"
        what = f"{hostname} is {', '.join(elsewhere)}, and this machine's address is {own}"
        return f'{what}; where a router passes port 80 on to it, write certificate = "acme"'
    if holders := machine.holders.get(_HTTP):
        program = holders[0].program or "another program"
        return f'{program} has port 80; name the folder it serves: acme_webroot, and certificate = "acme"'
    if hidden := [address for address in names.addresses if not is_public(address)]:
        return f"{hostname} is {', '.join(hidden)}, which the internet cannot reach"
    return ""


# Logins


def _sasl(machine: Machine) -> Choice:
    if machine.has_dovecot:
        return Choice("dovecot", f"Dovecot is here; it judges logins at {SaslOptions().path}")
    return Choice("accounts", "there is no Dovecot here: accounts are made by valija user add")
