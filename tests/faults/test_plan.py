"""The text that says what goes wrong is read aright, or refused with the reason; every point is where it should be."""

import re
from pathlib import Path

import pytest

from valija.faults.plan import DISK_POINTS, POINTS, Fault, UnknownFault, parse

PROJECT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("", ()),
        (" , ", ()),
        ("queue.committed:kill", (Fault("queue.committed", "kill", 1, 1),)),
        ("queue.committed:kill@3", (Fault("queue.committed", "kill", 3, 3),)),
        ("disk.write:full@2-9", (Fault("disk.write", "full", 2, 9),)),
        ("disk.sync:io@5%", (Fault("disk.sync", "io", percent=5),)),
        ("queue.write:kill, disk.sync:io", (Fault("queue.write", "kill"), Fault("disk.sync", "io"))),
    ],
)
def test_what_is_understood(text: str, plan: tuple[Fault, ...]) -> None:
    assert parse(text) == plan


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("queue.committed", "write POINT:ACTION"),
        ("queue.comitted:kill", "no fault point 'queue.comitted'"),
        ("queue.committed:explode", "the actions are kill, full, io"),
        ("queue.committed:full", "nothing is asked of the disk there"),
        ("queue.committed:kill@", "write POINT:ACTION"),
        ("queue.committed:kill@0", "when?"),
        ("queue.committed:kill@3-x", "write POINT:ACTION"),
        ("queue.committed:kill@3%%", "when?"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(UnknownFault, match=re.escape(words)):
        parse(f"queue.write:kill,{text}")


def test_when_a_fault_strikes() -> None:
    some, from_then_on, by_chance = parse("disk.write:full@2-3,disk.write:full@2-,disk.write:full@25%")
    assert [some.strikes(passes, 0.9) for passes in range(1, 5)] == [False, True, True, False]
    assert [from_then_on.strikes(passes, 0.9) for passes in (1, 2, 10**9)] == [False, True, True]
    assert [by_chance.strikes(7, chance) for chance in (0.0, 0.24, 0.25, 0.9)] == [True, True, False, False]


def test_each_point_is_passed_at_one_place_and_stands_in_the_page() -> None:
    code = "".join(path.read_text() for path in (PROJECT / "src" / "valija").rglob("*.py"))
    page = (PROJECT / "docs" / "durability.md").read_text()
    bound = re.findall(r'= fault_point\(\s*"([\w.]+)"', code)
    assert sorted(bound) == sorted(["queue.committed", *POINTS])  # the one more is the example
    assert [point for point in POINTS if f"`{point}`" not in page] == []
    assert POINTS.keys() >= DISK_POINTS


def test_the_page_names_tests_that_are_there() -> None:
    page = (PROJECT / "docs" / "durability.md").read_text()
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", page))
    assert len(named) > 10
    assert [name for name in named if not (PROJECT / name).exists()] == []
