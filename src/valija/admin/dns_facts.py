"""Finding out what the DNS should say: this machine's addresses, the keys that are to be published, the certificate.

    facts = await gather_facts(config, resolver)
    plan_records(config, facts)

Nobody is asked but the name servers, and these only for the addresses of our own host name; they have PATIENCE.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from valija.admin.check_certificate import served_chain
from valija.admin.check_dns import TIMEOUT
from valija.admin.check_host import addresses_of, is_full_name, leaving_from
from valija.admin.dns_records import RecordFacts
from valija.config import Config
from valija.content.dkim_key import DkimKey
from valija.dkim_keys import DkimKeys
from valija.dns.caching import CachingResolver
from valija.dns.resolver import Resolver
from valija.logs import LogBuffer, build_log
from valija.machine import is_local_address, source_addresses
from valija.policy.dkim_stages import may_go
from valija.policy.public import is_public
from valija.tls.names import names_of

PATIENCE: Final = 5.0  # seconds


def quiet_resolver(config: Config) -> CachingResolver:
    """Return a resolver for a command: it waits less long, and logs nothing, as the findings tell it all."""
    silence = LogBuffer(os.open(os.devnull, os.O_WRONLY))
    options = msgspec.structs.replace(config.dns, timeout=min(config.dns.timeout, TIMEOUT))
    return CachingResolver(options, build_log("error", "text", silence))


async def gather_facts(
    config: Config,
    resolver: Resolver,
    keys: Sequence[DkimKey],
    *,
    sources: Callable[[], list[str]] = source_addresses,
    is_local: Callable[[str], bool] = is_local_address,
) -> RecordFacts:
    """Return the facts. `sources` and `is_local` tell of this machine."""
    published = await _published_addresses(config, resolver)
    leaving = [address for address in leaving_from(config, sources()) if is_public(address)]
    kernels = [address for address in sources() if is_public(address)]
    return RecordFacts(
        addresses=_own_addresses(published, kernels, is_local),
        sources=_with_other_families(leaving, published),
        keys=tuple(keys),
        chain_pem=served_chain(config),
        certified=tuple(_certified(config)),
    )


async def _published_addresses(config: Config, resolver: Resolver) -> tuple[str, ...]:
    if not is_full_name(config.hostname):
        return ()
    try:
        async with asyncio.timeout(PATIENCE):
            found = await addresses_of(config.hostname, resolver)
    except TimeoutError:
        return ()
    return tuple(filter(is_public, found.addresses))


def _own_addresses(
    published: Sequence[str], kernels: Sequence[str], is_local: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return where others are to find the server: where they find it already, if that is this machine."""
    right = [address for address in published if is_local(address)]
    return _with_other_families(right, kernels) if right else _with_other_families(kernels, published)


def _with_other_families(addresses: Sequence[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return addresses, and those others that are of a family of which there is none."""
    families = {ip_address(address).version for address in addresses}
    more = [address for address in others if ip_address(address).version not in families]
    return tuple(sorted(dict.fromkeys((*addresses, *more)), key=lambda each: (ip_address(each).version, each)))


def _certified(config: Config) -> Iterator[str]:
    """Yield the names that certificates are for, as far as this user may read them."""
    for wanted in config.tls.wanted(config.hostname):
        yield from wanted.names
        if wanted.certificate == "files":
            try:
                yield from names_of(x509.load_pem_x509_certificates(Path(wanted.cert_file).read_bytes())[0])
            except (OSError, ValueError):  # `valija check` says what is wrong with it
                continue


def keys_to_publish(keys: DkimKeys, domains: Iterable[str], now: float) -> list[DkimKey]:
    """Return the keys whose records have to be there: those that sign, will sign, or were used of late. Raises OSError.

    `now` is in seconds since the epoch.
    """
    found = []
    for domain in domains:
        stages = keys.stages(domain)
        found += [key for key in keys.list(domain) if not may_go(stages[key.selector], now)]
    return found
