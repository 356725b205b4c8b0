"""valija dkim: the keys that sign users' mail, and the DNS records that publish them."""

import time
from typing import TYPE_CHECKING, Any

import click

from valija.cli.frame import Call, Refusal, command, group
from valija.mail.address import AddressError, normalise_domain

if TYPE_CHECKING:
    from valija.config import Config
    from valija.content.dkim_key import DkimKey, Kind
    from valija.dkim_keys import DkimKeys

_PIECE = 255  # octets of one character-string in a TXT record (RFC 1035 section 3.3)


def add_to(main: click.Group) -> None:
    """Add the group and its commands."""
    dkim = group(main, "dkim", "Keys that sign the mail of a domain's users.")

    @command(dkim, "create")
    @click.argument("domain")
    @click.option("--selector", metavar="NAME", help="The key's name in the DNS; today's date by default.")
    @click.option("--kind", type=click.Choice(["rsa", "ed25519"]), default="rsa", show_default=True)
    def create(call: Call, domain: str, selector: str | None, kind: "Kind") -> None:
        """Make a key for DOMAIN; from now on its users' mail is signed, if it is hosted here."""
        from valija.content.dkim_key import KeyProblem

        config = call.enter()
        keys = _keys(call, config)
        domain = _normalised(domain)
        try:
            key = keys.create(domain, selector or time.strftime("%Y%m%d", time.gmtime()), kind)
        except KeyProblem as problem:
            raise Refusal(str(problem)) from None
        except OSError as error:
            raise Refusal(f"the key cannot be kept: {error}") from None
        is_hosted = domain in config.domains
        if not is_hosted:
            call.note(f"{domain} is not hosted here: its mail is not signed until {domain} is in domains")
        words = "publish this record; mail is signed from now on:" if is_hosted else "publish this record:"
        call.answer(_record(key), [words, "", *_zone_lines(key)])

    @command(dkim, "list")
    @click.argument("domain", required=False)
    def list_keys(call: Call, domain: str | None) -> None:
        """List the keys of DOMAIN, or of all domains, with their records."""
        keys = _keys(call, call.enter())
        domains = [_normalised(domain)] if domain else keys.domains()
        found = [key for each in domains for key in keys.list(each)]
        call.answer([_record(key) for key in found], [line for key in found for line in _zone_lines(key)])


def _keys(call: Call, config: "Config") -> "DkimKeys":
    from valija.dkim_keys import DkimKeys

    return DkimKeys(config.dkim_dir, call.note)


def _normalised(domain: str) -> str:
    try:
        return normalise_domain(domain)
    except AddressError as error:
        raise Refusal(f"{domain!r} is no domain: {error}") from None


def _record(key: "DkimKey") -> dict[str, Any]:
    from valija.content.dkim_key import dns_record

    name, value = dns_record(key)
    return {"domain": key.domain, "selector": key.selector, "kind": key.kind, "name": name, "value": value}


def _zone_lines(key: "DkimKey") -> list[str]:
    """Return the record as a zone file has it: the value cut into strings, as the DNS wants it."""
    from valija.content.dkim_key import dns_record

    name, value = dns_record(key)
    pieces = [value[start : start + _PIECE] for start in range(0, len(value), _PIECE)]
    return [f"{name}. IN TXT (", *(f'  "{piece}"' for piece in pieces), ")"]
