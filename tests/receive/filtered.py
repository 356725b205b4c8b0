"""A listener in this process whose mail a scripted milter sees."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.milter.scripted import ScriptedMilter
from tests.receive.reception import Reception, reception
from valija.dns.resolver import Answer, Status
from valija.logs import Log, LogBuffer, build_log
from valija.mail.origin import Role
from valija.milter.options import MilterOptions
from valija.receive.checks import Checks
from valija.receive.milter_check import MilterGround, milter_offer

US = "mail.local.example"


class Names:
    """A resolver that knows one name: 127.0.0.9 is mx.remote.example."""

    async def lookup(self, name: str, rtype: str) -> Answer[Any]:
        known: dict[tuple[str, str], tuple[str, ...]] = {
            ("9.0.0.127.in-addr.arpa", "PTR"): ("mx.remote.example",),
            ("mx.remote.example", "A"): ("127.0.0.9",),
        }
        records = known.get((name, rtype))
        return Answer(Status.FOUND, records) if records else Answer(Status.FAILED, detail="no such name")


@asynccontextmanager
async def filtered(
    tmp_path: Path,
    *milters: ScriptedMilter | MilterOptions,
    role: Role = "smtpd",
    mynetworks: Sequence[str] = ("127.0.0.1/32",),
    **changed: Any,
) -> AsyncIterator[Reception]:
    """Yield the listener; `changed` are settings of [milter] or of the listener."""
    settings = {name: changed.pop(name) for name in list(changed) if name in MilterOptions.__struct_fields__}
    with (tmp_path / "milter.log").open("ab") as file:
        buffer = LogBuffer(file.fileno())
        log: Log = build_log("debug", "text", buffer)
        resolver: Any = Names()
        ground = MilterGround(resolver, log, US, frozenset({"local.example"}))
        options = [MilterOptions(m.place, **settings) if isinstance(m, ScriptedMilter) else m for m in milters]
        checks = Checks([milter_offer(ground, each) for each in options])
        async with reception(tmp_path, role, checks=checks, mynetworks=mynetworks, **changed) as r:
            yield r
        buffer.flush()


def told(tmp_path: Path) -> str:
    """Return what the checks logged."""
    return (tmp_path / "milter.log").read_text()
