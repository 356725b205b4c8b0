"""What `valija check` finds on this machine: the configuration's warnings, the user, the keys, who may relay, and how.

    for finding in check_machine(config, now=time.time()):
        print(finding)

Nothing is written, and nothing but Dovecot is asked.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from valija.admin.check_sasl import check_sasl
from valija.admin.findings import Finding, failure, fine, warning
from valija.config import NO_FILE, Config, reload_fault
from valija.dkim_keys import DkimKeys
from valija.privileges import Account, PrivilegeError, find_account, first_barred, running_as_root, unreadable_code
from valija.receive.options import ListenerOptions
from valija.tls.pair import CertificatePair, PairFault, certificate_summary, check_pair, covers, read_pair


def check_machine(config: Config, *, now: float) -> Iterator[Finding]:
    """Yield the findings, topic by topic. `now` is seconds since the epoch."""
    yield from _configuration(config)
    yield from _user(config)
    yield from _data_dir(config.data_dir)
    yield from _certificate(config, now)
    yield from check_sasl(config)
    yield from _dkim(config)
    yield from relay_set(config)
    yield sending(config)


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
        fault = reload_fault(source, account.name)
        yield warning("user", f"{source}: {fault.reason}", fault.remedy)
    trusted = config.smtp.tls_ca_file
    if trusted and (barred := first_barred(Path(trusted), account)):
        text = f'[smtp] tls_ca_file = "{trusted}": user {account.name!r} cannot read {barred}'
        yield failure("user", text, "let others read it: there is nothing secret in it")


def _data_dir(path: Path) -> Iterator[Finding]:
    """Yield what is in the way of the data folder."""
    present = next(part for part in (path, *path.parents) if os.path.lexists(part))
    if not present.is_dir():
        yield failure(
            "configuration", f'data_dir = "{path}": {present} is not a folder', "move it away, or name a folder"
        )


def _certificate(config: Config, now: float) -> Iterator[Finding]:
    if config.tls.certificate != "files":
        text = f"a self-signed one for {config.hostname} is kept in {config.data_dir / 'tls'}, made at the first start"
        yield fine("certificate", text)
        yield warning(
            "certificate",
            "mail programs of users will ask whether to trust it",
            'name one from an authority: [tls] certificate = "files", cert_file and key_file',
        )
        return
    pair, faults = read_pair(config.tls.cert_file, config.tls.key_file)
    faults += check_pair(pair, config.hostname, now)
    if any(fault.is_fatal for fault in faults):
        grade = failure
    else:
        # The server starts with such a pair, but whoever verifies its name or date hands it no mail.
        grade = warning if _is_for(pair, config.hostname, now) else failure
    for fault in faults:
        yield grade("certificate", _placed(fault, config), fault.remedy)
    if not faults:
        yield fine("certificate", _described(pair))


def _is_for(pair: CertificatePair, hostname: str, now: float) -> bool:
    """Whether a certificate names the host, and is valid now."""
    summary = certificate_summary(pair)
    return summary.not_before <= now < summary.not_after and any(covers(name, hostname) for name in summary.names)


def _placed(fault: PairFault, config: Config) -> str:
    is_key = fault.value == config.tls.key_file != config.tls.cert_file
    key = "key_file" if is_key else "cert_file"
    return f'[tls] {key} = "{fault.value}": {fault.reason}'


def _described(pair: CertificatePair) -> str:
    summary = certificate_summary(pair)
    until = datetime.fromtimestamp(summary.not_after, UTC).date()
    return f"{pair.chain_file} is for {', '.join(summary.names) or 'no name'}, valid until {until}"


def _dkim(config: Config) -> Iterator[Finding]:
    problems: list[str] = []
    keys = DkimKeys(config.dkim_dir, problems.append)
    try:
        keys.check()
        domains = keys.domains()
    except PermissionError:
        return  # only root and the service's user can look into data_dir
    for domain in domains:
        if signing := keys.for_domain(domain):
            selectors = ", ".join(key.selector for key in signing)
            if domain in config.domains:
                yield fine("dkim", f"mail of {domain} is signed by {selectors}")
            else:
                yield warning("dkim", f"{domain} has keys ({selectors}) but is not in domains: its mail is not signed")
    for problem in dict.fromkeys(problems):  # for_domain() meets them again
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


_ENCRYPTED: Final = {
    "none": "never encrypted",
    "may": "encrypted wherever the other side can",
    "encrypt": "always encrypted, whatever the certificate",
    "verify": "always encrypted, to hosts with a trusted certificate for their name",
    "secure": "always encrypted, to hosts with a trusted certificate for the domain",
}


def sending(config: Config) -> Finding:
    """Return in words where mail for other domains goes, and how."""
    where = f"goes to {config.relayhost}" if config.relayhost else "goes to the MX hosts of each"
    level = config.smtp.tls_security_level
    text = f"mail for other domains {where}, {_ENCRYPTED[level]}"
    if level == "none":
        return warning("sending", text, '[smtp] tls_security_level = "may" encrypts it where it can be')
    return fine("sending", text)


def _places(options: ListenerOptions) -> str:
    return ", ".join(map(str, options.listen))
