"""Filters that speak the milter protocol: `milters` in [smtpd], [submission] and [local], and the settings of [milter].

    [smtpd]
    milters = ["inet:127.0.0.1:8891", {address = "unix:/run/spam.sock", default_action = "accept"}]

A filter that is written as a table has settings of its own; what it leaves out is as [milter] says.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from valija.config.document import Reader, Table
from valija.config.faults import Setting, refuse
from valija.config.model import Config
from valija.config.readers import choice, duration, each, judged, text
from valija.config.rspamd import is_loopback
from valija.mail.fault import Fault
from valija.milter.options import REMEDY, MilterOptions, Milters, address_of, path_of, place_fault

_DURATION: Final = duration("0.1s", "1h")
_SETTINGS: Final[Mapping[str, Reader[Any]]] = {
    "default_action": choice("tempfail", "accept", "reject", "quarantine"),
    "connect_timeout": _DURATION,
    "command_timeout": _DURATION,
    "content_timeout": _DURATION,
}

_place: Final = judged(text, place_fault)


def read_milters(smtpd: Table, submission: Table, local: Table, milter: Table) -> Milters:
    """Return the filters that each of the tables names."""
    usual = MilterOptions("")
    for name, reader in _SETTINGS.items():
        usual = msgspec.structs.replace(usual, **{name: milter.read(name, reader, getattr(usual, name))})
    filters = each(lambda value: _filter(value, usual))
    none: tuple[MilterOptions, ...] = ()
    return Milters(*(table.read("milters", filters, none) for table in (smtpd, submission, local)))


def _filter(value: object, usual: MilterOptions) -> MilterOptions:
    if not isinstance(value, dict):
        return msgspec.structs.replace(usual, place=_place(value))
    if unknown := value.keys() - _SETTINGS.keys() - {"address"}:
        raise refuse(sorted(unknown)[0], "a filter has no such setting", f"known are address, {', '.join(_SETTINGS)}")
    if "address" not in value:
        raise refuse(value, "it does not say where the filter is", f"add an address: {REMEDY}")
    own = {name: _SETTINGS[name](written) for name, written in value.items() if name != "address"}
    return msgspec.structs.replace(usual, place=_place(value["address"]), **own)


def doubts_about_milters(config: Config) -> Iterator[tuple[Setting, Fault]]:
    """Yield what works but may surprise."""
    ways = {"smtpd": config.milters.smtpd, "submission": config.milters.submission, "local": config.milters.local}
    for table, filters in ways.items():
        for milter in filters:
            if not (path_of(milter.place) or is_loopback(address_of(milter.place)[0])):
                fault = Fault(milter.place, "mail travels there in clear", "let nobody else into that network")
                yield Setting(table, "milters"), fault
