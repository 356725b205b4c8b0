"""What `valija check` finds about rspamd: does it judge a message, as the service's user asks it to."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec

from valija.admin.asked_as import asked_as
from valija.admin.findings import Finding, failure, fine, warning
from valija.config import Config
from valija.privileges import PrivilegeError
from valija.rspamd.condition import RspamdAway
from valija.rspamd.options import RspamdOptions
from valija.rspamd.request import Facts

_MESSAGE: Final = b"From: postmaster@%s\r\nSubject: is anybody there\r\n\r\n"
_PATIENCE: Final = 5.0  # seconds
_MEANWHILE: Final = {"tempfail": "mail is deferred", "accept": "mail comes in unexamined"}


def check_rspamd(config: Config) -> Iterator[Finding]:
    """Yield the findings, none where rspamd is off. It is asked about a message of ours, for some seconds at most."""
    options = config.rspamd
    if not options.url:
        return
    try:
        said = asked_as(config.user, partial(_ask, options, config.hostname))
    except PrivilegeError:
        return  # said already, of the user
    if why := msgspec.json.decode(said, type=str):
        meanwhile = _MEANWHILE[options.on_failure]
        remedy = f"as long as that is so, {meanwhile} (on_failure); see [rspamd] url, and whether it runs"
        found = failure if options.on_failure == "tempfail" else warning
        yield found("rspamd", f"{options.url} can't be asked: {why}", remedy)
    else:
        whose = "mail from strangers and from users" if options.users else "mail from strangers"
        yield fine("rspamd", f"{whose} is examined by rspamd at {options.url}")


def _ask(options: RspamdOptions, hostname: str) -> bytes:
    """Return why there is no opinion, `""` where there is one, on its way from one process to another."""
    return msgspec.json.encode(asyncio.run(_asked(options, hostname)))


async def _asked(options: RspamdOptions, hostname: str) -> str:
    from valija.rspamd.client import Message, RspamdClient, TooLarge  # with its HTTP client, which is slow to import

    options = msgspec.structs.replace(options, timeout=min(options.timeout, _PATIENCE))
    rspamd = RspamdClient(options)
    facts = Facts("check", "", (f"postmaster@{hostname}",), hostname)
    try:
        await rspamd.scan(facts, Message(_MESSAGE % hostname.encode(), 0, lambda: iter(())), is_logged=False)
    except (RspamdAway, TooLarge) as none:
        return str(none)
    finally:
        await rspamd.close()
    return ""
