"""What `valija check` finds on this machine: the configuration's warnings, the user, the keys, and the way out.

    for finding in check_machine(config, now=time.time()):
        print(finding)

Other topics have a module each: check_data, check_system, check_ports, check_certificate, check_sasl, check_rspamd,
check_relay, check_sending. Nothing is written, and nobody is asked but the running server, Dovecot, rspamd and filters.
"""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from valija.admin.check_certificate import check_certificates
from valija.admin.check_data import check_data
from valija.admin.check_mailboxes import check_mailboxes
from valija.admin.check_milters import check_milters
from valija.admin.check_ports import check_ports, find_running
from valija.admin.check_relay import Neighbours, check_relay
from valija.admin.check_rspamd import check_rspamd
from valija.admin.check_sasl import check_sasl
from valija.admin.check_sending import check_logins, sending
from valija.admin.check_system import check_clock, check_limits, descriptors_of
from valija.admin.findings import Finding, failure, fine, unknown, warning
from valija.config import NO_FILE, Config
from valija.content.dkim_key import DkimKey
from valija.dkim_keys import DkimKeys
from valija.privileges import (
    Account,
    PrivilegeError,
    find_account,
    first_barred,
    first_changeable,
    running_as_root,
    unreadable_code,
)

_SHOWN: Final = 5  # domains that a finding names


def check_machine(config: Config, *, now: float) -> Iterator[Finding]:
    """Yield the findings, topic by topic. `now` is seconds since the epoch."""
    account = _account(config)
    running = find_running(config.data_dir)
    yield from _configuration(config)
    yield from _user(config)
    if account:
        yield from check_data(config.data_dir, account, message_size_limit=config.message_size_limit)
    yield from check_clock(now)
    yield from check_limits(config, descriptors_of(*running.pids[:1]))
    yield from check_ports(config, running)
    yield from check_certificates(config, now, account if running_as_root() else None)
    yield from check_sasl(config)
    yield from check_mailboxes(config)
    yield from check_milters(config)
    yield from check_rspamd(config)
    yield from _dkim(config)
    yield from check_relay(config, Neighbours.of_this_machine())
    yield sending(config)
    yield from check_logins(config, account if running_as_root() else None)


def _account(config: Config) -> Account | None:
    """Return who the server is when this user starts it, None where there is no such user."""
    if not running_as_root():
        return Account(_own_name(), os.geteuid(), os.getegid(), tuple(os.getgroups()))
    try:
        return find_account(config.user)
    except PrivilegeError:
        return None


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _configuration(config: Config) -> Iterator[Finding]:
    sound = "there is none, and all is at its default" if config.source == NO_FILE else f"{config.source} is sound"
    yield fine("configuration", f"{sound}; this server is {config.hostname}")
    for each in config.warnings:
        place = f"{each.setting} = {each.value}" if each.value else str(each.setting)
        yield warning("configuration", f"{place}: {each.reason}", each.remedy)


def _user(config: Config) -> Iterator[Finding]:
    if not running_as_root():
        return  # nothing is dropped then, and the user does not matter
    try:
        account = find_account(config.user)
    except PrivilegeError as error:
        yield failure("user", str(error))
        return
    if account.is_root:
        yield fine("user", "the server runs as root")
    elif reason := unreadable_code(account):
        yield failure("user", reason)
    else:
        yield fine("user", f"started by root, the server becomes {config.user}")
        yield from _out_of_reach(config, account)


def _out_of_reach(config: Config, account: Account) -> Iterator[Finding]:
    """Yield the files that root can read and the service's user cannot."""
    source = Path(config.source)
    if source.is_file() and first_barred(source, account):
        yield _for_root_alone(source, account)
    trusted = config.smtp.tls_ca_file
    if trusted and (barred := first_barred(Path(trusted), account)):
        text = f'[smtp] tls_ca_file = "{trusted}": user {account.name!r} cannot read {barred}'
        yield failure("user", text, "let others read it: there is nothing secret in it")


def _for_root_alone(source: Path, account: Account) -> Finding:
    """Return what becomes of a configuration at a reload that the service's user can't read."""
    if open_part := first_changeable(source, account):
        text = f"{source}: user {account.name!r} cannot read it and can change {open_part}: a reload will be refused"
        return warning("user", text, f"chown root {open_part}, and let nobody else write there")
    return fine("user", f"{source} is for root alone: the root helper reads it again at a reload")


def _dkim(config: Config) -> Iterator[Finding]:
    problems: list[str] = []
    keys = DkimKeys(config.dkim_dir, problems.append)
    try:
        keys.check()
        domains = keys.domains()
    except PermissionError:
        yield unknown("dkim", f"you may not look into {config.dkim_dir}", "run the check as root")
        return
    signing = {domain: ", ".join(key.selector for key in keys.for_domain(domain)) for domain in domains}
    for domain, selectors in signing.items():
        if selectors and domain in config.domains:
            yield fine("dkim", f"mail of {domain} is signed by {selectors}")
        elif selectors:
            yield fine("dkim", f"mail of users with an address in {domain}, not hosted here, is signed by {selectors}")
    if unsigned := [domain for domain in config.domains if not signing.get(domain)]:
        text = f"mail of {', '.join(unsigned[:_SHOWN])} is not signed: large providers distrust it"
        yield warning("dkim", text, f"valija dkim create {unsigned[0]}")
    for problem in dict.fromkeys(problems):  # for_domain() meets them again
        yield failure("dkim", problem)


def signing_keys(config: Config) -> tuple[DkimKey, ...]:
    """Return the keys that sign the hosted domains' mail, as far as this user may read them."""
    keys = DkimKeys(config.dkim_dir)
    try:
        return tuple(key for domain in config.domains for key in keys.for_domain(domain))
    except OSError:
        return ()
