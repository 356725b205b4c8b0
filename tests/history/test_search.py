"""Lines are found in files of every kind, while files change under the search, and damaged ones are named."""

from datetime import UTC, datetime
from pathlib import Path

from valija.history.search import Archive
from valija.history.segments import seal

BEGIN = 1_795_581_528.0


def line(number: int, words: str = "") -> bytes:
    time = datetime.fromtimestamp(BEGIN + number, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{time} info  attempt  number={number} recipient=u{number}@example.net {words}\n".encode()


def numbers(archive: Archive, *words: str, since: float = 0.0, until: float = 1e12, source: str = "") -> list[int]:
    return [int(event.fields["number"]) for event in archive.find(words, since, until, source)]


def three_kinds(folder: Path) -> Archive:
    (folder / "worker-0-1764037814123.sealed").write_bytes(seal(line(1) + line(2) + line(3)))
    (folder / "worker-0-1764037814124.log").write_bytes(line(4) + line(5))
    (folder / "worker-0.log").write_bytes(line(6) + line(7)[:30])
    (folder / "worker-1.log").write_bytes(line(8))
    return Archive(folder)


def test_lines_are_found_in_every_kind_of_file(tmp_path: Path) -> None:
    archive = three_kinds(tmp_path)
    assert numbers(archive, "attempt") == [1, 2, 3, 4, 5, 6, 8]
    assert numbers(archive, "U2@Example.Net", "u5@example.net") == [2, 5]
    assert numbers(archive, "nobody@example.net") == []
    assert numbers(archive, "attempt", since=BEGIN + 3, until=BEGIN + 5) == [3, 4, 5]
    assert numbers(archive, "attempt", source="worker-1") == [8]
    assert archive.begins is not None
    assert abs(archive.begins - BEGIN - 1) < 2
    assert archive.problems == []


def test_the_last_come_first(tmp_path: Path) -> None:
    archive = three_kinds(tmp_path)
    found = [[event.fields["number"] for event in events] for events, _ in archive.newest_first(["attempt"], most=2)]
    assert found == [["8"], ["6"], ["4", "5"], ["2", "3"]]


def test_there_may_be_no_history(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "history")
    assert archive.begins is None
    assert numbers(archive, "x") == []


def test_a_damaged_file_is_named_and_hides_no_other(tmp_path: Path) -> None:
    three_kinds(tmp_path)
    (tmp_path / "worker-0-1764037814000.sealed").write_bytes(seal(line(0))[:-3])
    (tmp_path / "worker-0-1764037814001.sealed").write_bytes(b"x")
    archive = Archive(tmp_path)
    assert numbers(archive, "u0@example.net", "u1@example.net") == [1]
    assert len(archive.problems) == 2


def test_a_file_that_is_removed_meanwhile_hides_no_other(tmp_path: Path) -> None:
    archive = three_kinds(tmp_path)
    (tmp_path / "worker-0-1764037814123.sealed").unlink()
    assert numbers(archive, "attempt") == [4, 5, 6, 8]


def test_words_that_no_index_knows_are_found_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "worker-0-1764037814123.sealed").write_bytes(seal(line(1, "login=alice") + line(2)))
    assert numbers(Archive(tmp_path), "alice") == [1]
