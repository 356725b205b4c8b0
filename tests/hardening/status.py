"""What the kernel says of a process: who it is, and which rights it has.

Status.of(pid).uids          # {65534}
"""

from pathlib import Path
from typing import Self

import msgspec


class Status(msgspec.Struct, frozen=True):
    """Real, effective, saved and file system's ids together; capabilities as bits (proc(5), capabilities(7))."""

    name: str
    uids: frozenset[int]
    gids: frozenset[int]
    groups: frozenset[int]
    inheritable: int
    permitted: int
    effective: int
    ambient: int
    forbids_new: bool
    umask: int

    @classmethod
    def of(cls, pid: int) -> Self:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        told = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        uids, gids, groups = (frozenset(map(int, told[name].split())) for name in ("Uid", "Gid", "Groups"))
        return cls(
            told["Name"],
            uids,
            gids,
            groups,
            inheritable=int(told["CapInh"], 16),
            permitted=int(told["CapPrm"], 16),
            effective=int(told["CapEff"], 16),
            ambient=int(told["CapAmb"], 16),
            forbids_new=told["NoNewPrivs"] == "1",
            umask=int(told["Umask"], 8),
        )
