"""The settings of `[smtp]` about connections: where they leave from, how long things may take, and `[[smtp.pool]]`."""

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, ip_address
from typing import Final

import msgspec

from valija.config.document import Document, Table
from valija.config.faults import Refused, Setting, refuse
from valija.config.model import Config
from valija.config.readers import domain, duration, each, judged, number, text
from valija.deliver.options import SmtpOptions, SourcePool
from valija.mail.fault import Fault

Finding = tuple[Setting, Fault]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_TIME_LIMIT: Final = duration("0.1s", "1h")
_REMEDY: Final = 'write addresses of this machine, "192.0.2.5" or "2001:db8::5"'


def read_connections(table: Table, default: SmtpOptions) -> SmtpOptions:
    """Return `default` with what `[smtp]` says about connections."""
    return msgspec.structs.replace(
        default,
        bind_addresses=table.read("bind_addresses", source_addresses, default.bind_addresses),
        helo_name=table.read("helo_name", domain, default.helo_name),
        mx_address_limit=table.read("mx_address_limit", number(1, 100), default.mx_address_limit),
        destination_recipient_limit=table.read(
            "destination_recipient_limit", number(1, 10_000), default.destination_recipient_limit
        ),
        connection_cache_time=table.read(
            "connection_cache_time_limit", duration("0s", "10m"), default.connection_cache_time
        ),
        connection_reuse_time_limit=table.read(
            "connection_reuse_time_limit", duration("0s", "1d"), default.connection_reuse_time_limit
        ),
        helo_timeout=table.read("helo_timeout", _TIME_LIMIT, default.helo_timeout),
        mail_timeout=table.read("mail_timeout", _TIME_LIMIT, default.mail_timeout),
        rcpt_timeout=table.read("rcpt_timeout", _TIME_LIMIT, default.rcpt_timeout),
        data_init_timeout=table.read("data_init_timeout", _TIME_LIMIT, default.data_init_timeout),
        data_xfer_timeout=table.read("data_xfer_timeout", _TIME_LIMIT, default.data_xfer_timeout),
        data_done_timeout=table.read("data_done_timeout", _TIME_LIMIT, default.data_done_timeout),
        rset_timeout=table.read("rset_timeout", _TIME_LIMIT, default.rset_timeout),
    )


def read_pool(table: Table) -> SourcePool:
    """Return the pool in a `[[smtp.pool]]` table."""
    default = SourcePool()
    return SourcePool(
        name=table.read("name", judged(text, _name_fault), default.name),
        addresses=table.read("addresses", source_addresses, default.addresses),
        helo_name=table.read("helo_name", domain, default.helo_name),
    )


def _name_fault(written: str) -> tuple[str, str] | None:
    if _NAME.fullmatch(written):
        return None
    return "it is no name for a pool", "write 1 to 64 letters, digits, dots, hyphens or underscores"


def source_addresses(value: object) -> tuple[str, ...]:
    """Read addresses that connections leave from, each once."""
    addresses = each(_source_address)(value)
    for address in addresses:
        if addresses.count(address) > 1:
            raise Refused(Fault(address, "it stands there twice", "name each address once"))
    return addresses


def _source_address(value: object) -> str:
    try:
        address = ip_address(text(value))
    except ValueError:
        raise refuse(value, "it is not an IP address", _REMEDY) from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        raise refuse(value, "it is an IPv4 address, written as an IPv6 one", f'write "{address.ipv4_mapped}"')
    if address.is_unspecified:
        raise refuse(value, "it is no address that anything leaves from", "leave it out: the system chooses then")
    if address.is_multicast or address.is_link_local:
        raise refuse(value, "no mail server can be reached from such an address", _REMEDY)
    return str(address)


def check_pools(document: Document, config: Config) -> None:
    """Refuse pools that nobody could name, or that say nothing."""
    seen: dict[str, str] = {}
    for place, pool in enumerate(config.smtp.pools, start=1):
        table = f"smtp.pool#{place}"
        for setting, fault in _faults(table, pool, seen):
            if document.is_sound(table, "name", setting.key):
                document.refuse(setting, fault)


def _faults(table: str, pool: SourcePool, seen: dict[str, str]) -> Iterator[Finding]:
    if not pool.name:
        yield Setting(table, "name"), Fault(None, "no route can name it", 'give it a name = "..."')
    elif (where := seen.setdefault(pool.name, table)) != table:
        yield Setting(table, "name"), Fault(pool.name, f"{Setting(where, '')} has this name", "choose another")
    if not (pool.addresses or pool.helo_name):
        what = "nothing sets it apart from mail of no pool"
        yield Setting(table, "addresses"), Fault(None, what, "name addresses, or a helo_name")


def foreign_addresses(config: Config, is_local_address: Callable[[str], bool]) -> Iterator[Finding]:
    """Yield a warning for each source address that this machine does not have now: mail would wait for it."""
    pools = enumerate(config.smtp.pools, start=1)
    places = [(Setting("smtp", "bind_addresses"), config.smtp.bind_addresses)]
    places += [(Setting(f"smtp.pool#{place}", "addresses"), pool.addresses) for place, pool in pools]
    for setting, addresses in places:
        for address in addresses:
            if not is_local_address(address):
                what = "this machine does not have this address: no mail can leave from it"
                yield setting, Fault(address, what, "give the machine the address, or correct it")
