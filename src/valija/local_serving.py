"""What serves programs of this machine: a site that knows their users, and the maildrop.

site = as_local(site, config.local, users)
maildrop = build_maildrop(config.local, site=lambda: site, report=report, lifetime=lambda: 432_000.0, log=log)
"""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from valija.auth.system_users import SystemUsers
from valija.content.local_addresses import LocalNames
from valija.logs import Log
from valija.policy.local_sender import LocalSenders
from valija.receive.local import LocalConduct, LocalDirectory
from valija.receive.maildrop import Maildrop, Report
from valija.receive.options import ListenerOptions, LocalOptions
from valija.receive.site import Site

LISTENING: Final = ListenerOptions(tls_security_level="none", greet_pause=0.0)
"""How a socket of the file system is listened on; connections are counted by user, not by address."""

_NAMES: Final = frozenset({"localhost", "localhost.localdomain"})


def as_local(site: Site, options: LocalOptions, users: SystemUsers) -> Site:
    """Return a site as it is for programs of this machine."""
    hosted = site.relay.domains
    senders = LocalSenders(
        hosted, frozenset(options.trusted_users), options.senders, options.unclaimed_senders, site.delimiter
    )
    directory = LocalDirectory(site.directory, senders, lambda name: users.canonical(name) is not None)
    names = LocalNames(site.relay.postmaster_domain, machine_names(site.hostname) - hosted)
    conduct = LocalConduct(site.conduct) if site.conduct is not None else None
    return replace(site, directory=directory, local_names=names, conduct=conduct)


def machine_names(hostname: str) -> frozenset[str]:
    """Return the domains that programs put behind a user's name where they know no better."""
    names = (hostname, socket.gethostname().lower())
    return _NAMES | {each for name in names for each in (name, name.partition(".")[0])}


def build_maildrop(
    options: LocalOptions,
    *,
    site: Callable[[], Site],
    report: Report,
    lifetime: Callable[[], float],
    log: Log,
) -> Maildrop | None:
    """Return who takes what was left in the maildrop, None where there is none."""
    if not options.maildrop:
        return None
    return Maildrop(Path(options.maildrop), site=site, report=report, lifetime=lifetime, log=log)
