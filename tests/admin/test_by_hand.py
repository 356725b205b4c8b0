"""What a human did to messages: from the command to the server's log."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.queue.samples import LogLines
from valija.admin import by_hand
from valija.admin.by_hand import Teller, write
from valija.admin.control import Arguments, ControlError, ControlServer
from valija.queue.identity import from_number

ONE, TWO = from_number(3765841286987022336), from_number(3765841286987022337)


@pytest.mark.parametrize(
    ("verb", "event"), [("hold", "held"), ("release", "released"), ("retry", "due now"), ("delete", "removed")]
)
def test_each_message_has_its_line(verb: str, event: str) -> None:
    lines = LogLines()
    write(lines.log, {"verb": verb, "queue_ids": [ONE, TWO]})
    assert [entry["queue_id"] for entry in lines.of(event)] == [ONE, TWO]
    assert {entry["by"] for entry in lines.entries} == {f"valija queue {verb}"}


def test_a_mere_poke_writes_nothing() -> None:
    lines = LogLines()
    write(lines.log, {})
    assert not lines.entries


@pytest.mark.parametrize(
    "arguments",
    [
        {"verb": "burn", "queue_ids": [ONE]},
        {"verb": "delete", "queue_ids": [ONE, "x queue_id=forged"]},
        {"verb": "delete", "queue_ids": ONE},
        {"verb": "delete", "queue_ids": [7]},
        {"queue_ids": [ONE], "more": 1},
    ],
)
def test_what_makes_no_sense_is_refused_whole(arguments: Arguments) -> None:
    lines = LogLines()
    with pytest.raises(ControlError, match="no change of the queue"):
        write(lines.log, arguments)
    assert not lines.entries


def served(path: Path, act: Callable[[], object]) -> list[Arguments]:
    """Run `act` in a thread beside a control socket; return what it was told."""
    told: list[Arguments] = []

    async def keep(arguments: Arguments) -> object:
        told.append(arguments)
        return None

    async def run() -> None:
        server = ControlServer(path, {by_hand.COMMAND: keep}, LogLines().log)
        await server.start()
        try:
            await asyncio.wait_for(asyncio.to_thread(act), 30)
        finally:
            await server.close()

    asyncio.run(run())
    return told


def test_many_messages_are_told_in_lines_that_the_socket_takes(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    made = [from_number(number) for number in range(2500)]

    def tell() -> None:
        teller = Teller(path, "delete")
        for queue_id in made:
            teller.changed(queue_id)
        teller.close()
        teller.close()

    told = served(path, tell)
    assert [arguments["verb"] for arguments in told] == ["delete"] * 3
    lines = LogLines()
    for arguments in told:
        write(lines.log, arguments)
    assert [entry["queue_id"] for entry in lines.of("removed")] == made


def test_where_nothing_changed_nothing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    assert served(path, Teller(path, "hold").close) == []


def test_without_a_server_nobody_is_told(tmp_path: Path) -> None:
    teller = Teller(tmp_path / "control.sock", "hold")
    teller.changed(ONE)
    teller.close()
