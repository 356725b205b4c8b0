"""What `valija check` finds on this machine: the configuration's warnings, the user, the keys, who may relay.

    for finding in check_machine(config, now=time.time()):
        print(finding)

Nothing is written, and nothing is asked of the network.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from valija.admin.findings import Finding, failure, fine, warning
from valija.config import Config
from valija.dkim_keys import DkimKeys
from valija.privileges import PrivilegeError, find_account, running_as_root, unreadable_code
from valija.receive.options import ListenerOptions
from valija.tls.pair import CertificatePair, certificate_summary, check_pair, read_pair


def check_machine(config: Config, *, now: float) -> Iterator[Finding]:
    """Yield the findings, topic by topic. `now` is seconds since the epoch."""
    yield from _configuration(config)
    yield from _user(config)
    yield from _certificate(config, now)
    yield from _dkim(config)
    yield from relay_set(config)


def _configuration(config: Config) -> Iterator[Finding]:
    yield fine("configuration", f"{config.source} is sound; this server is {config.hostname}")
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
    if not account.is_root and (reason := unreadable_code(account)):
        yield failure("user", reason)
    else:
        yield fine("user", f"the server runs as {config.user}")


def _certificate(config: Config, now: float) -> Iterator[Finding]:
    if config.tls.certificate != "files":
        text = f"a self-signed one for {config.hostname} is kept in {config.data_dir / 'tls'}, made at the first start"
        yield fine("certificate", text)
        yield warning(
            "certificate", "mail programs of users will ask whether to trust it", 'see [tls] certificate = "files"'
        )
        return
    pair, faults = read_pair(config.tls.cert_file, config.tls.key_file)
    faults += check_pair(pair, config.hostname, now)
    for fault in faults:
        grade = failure if fault.is_fatal else warning
        yield grade("certificate", f"{fault.value}: {fault.reason}", fault.remedy)
    if not any(fault.is_fatal for fault in faults):
        yield fine("certificate", _described(pair))


def _described(pair: CertificatePair) -> str:
    summary = certificate_summary(pair)
    until = datetime.fromtimestamp(summary.not_after, UTC).date()
    return f"{pair.chain_file} is for {', '.join(summary.names) or 'no name'}, valid until {until}"


def _dkim(config: Config) -> Iterator[Finding]:
    problems: list[str] = []
    keys = DkimKeys(config.dkim_dir, problems.append)
    try:
        domains = keys.domains()
    except PermissionError:
        return  # only root and the service's user can look into data_dir
    for domain in domains:
        if signing := keys.for_domain(domain):
            selectors = ", ".join(key.selector for key in signing)
            yield fine("dkim", f"mail of {domain} is signed by {selectors}")
    for problem in problems:
        yield failure("dkim", problem)


def relay_set(config: Config) -> Iterator[Finding]:
    """Yield in words who may send where, for each listener: all of it, so that nobody is surprised."""
    hosted = ", ".join(config.domains)
    if places := _places(config.smtpd):
        yield fine("relay", f"smtpd ({places}): anyone may send to {hosted}; nobody can log in")
        trusted = ", ".join(config.mynetworks)
        yield fine(
            "relay", f"smtpd: {f'clients in {trusted}' if trusted else 'no client'} may send anywhere, without a login"
        )
        yield fine("relay", "smtpd: everyone else gets 554 Relay access denied")
    for role, options in (("submission", config.submission), ("submissions", config.submissions)):
        if places := _places(options):
            yield fine(
                "relay", f"{role} ({places}): users that log in, inside TLS, may send anywhere; nobody else may send"
            )
    if not config.endpoints:
        yield warning("relay", "every listener is off: no mail comes in", "set [smtpd] or [submission] listen")


def _places(options: ListenerOptions) -> str:
    return ", ".join(map(str, options.listen))
