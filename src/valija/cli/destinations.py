"""valija destinations: how mail fares at each next hop, as the running server knows it."""

from typing import Any, Final, cast

import click

from valija.cli.frame import Call, command, rfc3339
from valija.cli.server import ask

_HALTS: Final = ("throttled", "suspended")


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "destinations")
    @click.argument("name", required=False, default="")
    def destinations(call: Call, name: str) -> None:
        """Tell how mail fares at each next hop, or at NAME, a next hop or the operator of its hosts."""
        answer = cast("dict[str, Any]", ask(call, "destinations", of=name.lower()))
        rows: list[dict[str, Any]] = answer["destinations"]
        for row in rows:
            _with_times(row)
        call.answer(rows, _lines(rows, name))
        if answer["left_out"]:
            call.note(f"and {answer['left_out']} more with less to do; name one to see it")
        if answer["silent"]:
            call.note(f"{answer['silent']} of the workers gave no answer")


def _with_times(row: dict[str, Any]) -> None:
    """Write the times as RFC 3339 has them from now on."""
    for halt in (row[key] for key in _HALTS if row[key] is not None):
        halt["at"] = rfc3339(halt["at"])
        halt["next_try"] = rfc3339(halt["next_try"]) if halt["next_try"] else None
    for suspect in row["suspects"]:
        suspect["next_try"] = rfc3339(suspect["next_try"])


def _lines(rows: list[dict[str, Any]], name: str) -> list[str]:
    if not rows:
        return [f"no mail has gone to {name} since the server was started" if name else "no mail has gone out yet"]
    return [line for row in rows for line in _lines_of(row)]


def _lines_of(row: dict[str, Any]) -> list[str]:
    operator = f" ({row['operator']})" if row["operator"] not in ("", row["next_hop"]) else ""
    pace = "no limit" if row["rate"] is None else f"at most {row['rate']:.2g} a second"
    lines = [
        f"{' '.join(row['lane'].split())}{operator}: {row['waiting']} waiting, {row['connections']} connections "
        f"({row['operator_connections']} of {row['connection_limit']} with its operator), {pace}, "
        f"TLS {row['tls'] or '-'}",
        f"    since the start {row['delivered']} delivered, {row['deferred']} deferred, {row['failed']} failed",
    ]
    if row["throttled"] is not None:
        lines.append(f"    asked for less at {row['throttled']['at']}: {row['throttled']['reply']}")
    if row["suspended"] is not None:
        halt = row["suspended"]
        lines.append(f"    not usable since {halt['at']}, next try {halt['next_try']}: {halt['reply']}")
    if row["recipient_limit"]:
        lines.append(f"    takes {row['recipient_limit']} recipients at once")
    lines += [
        f"    {each['address']} failed {each['failures']} times, next try {each['next_try']}: {each['why']}"
        for each in row["suspects"]
    ]
    return lines
