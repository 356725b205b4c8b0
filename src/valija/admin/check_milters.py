"""What `valija check` finds about filters: does each answer the milter protocol when the service's user asks it."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec

from valija.admin.asked_as import asked_as
from valija.admin.findings import Finding, failure, fine, warning
from valija.config import Config
from valija.milter.line import Line, MilterFailed
from valija.milter.options import MilterOptions
from valija.privileges import PrivilegeError

_PATIENCE: Final = 5.0  # seconds
_WITHOUT: Final = {
    "tempfail": "mail gets 451 until it is back",
    "reject": "mail is refused until it is back",
    "accept": "mail goes on without it until it is back",
    "quarantine": "mail is held until it is back",
}


class _Answer(msgspec.Struct):
    """What asking a filter came to, on its way from one process to another: its version, or what is wrong."""

    version: int = 0
    fault: str = ""


def check_milters(config: Config) -> Iterator[Finding]:
    """Yield the findings. Each filter is asked, for some seconds at most."""
    for options in config.milters.all:
        try:
            said = asked_as(config.user, partial(_ask, options))
        except PrivilegeError:
            return  # said already, of the user
        yield _finding(options, msgspec.json.decode(said, type=_Answer), config.user)


def _finding(options: MilterOptions, answer: _Answer, user: str) -> Finding:
    if not answer.fault:
        return fine("milters", f"{options.place} answers, in version {answer.version} of the milter protocol")
    text = f"{options.place} can't be asked: {answer.fault}; {_WITHOUT[options.default_action]}"
    remedy = f"start the filter, and let user {user!r} into its socket"
    is_loss = options.default_action in ("tempfail", "reject")
    return failure("milters", text, remedy) if is_loss else warning("milters", text, remedy)


def _ask(options: MilterOptions) -> bytes:
    patient = msgspec.structs.replace(options, connect_timeout=min(options.connect_timeout, _PATIENCE))
    return msgspec.json.encode(asyncio.run(_met(patient)))


async def _met(options: MilterOptions) -> _Answer:
    try:
        line = await Line.open(options)
    except (MilterFailed, OSError) as failed:
        return _Answer(fault=str(failed))
    line.close(politely=True)
    return _Answer(line.terms.version)
