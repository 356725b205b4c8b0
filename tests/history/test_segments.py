"""The files of the history: what was written whole is read again, however they were cut; and nothing else."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valija.history.options import HistoryOptions
from valija.history.recorder import Recorder
from valija.history.sealing import seal_all
from valija.history.search import Archive
from valija.history.segments import Damaged, Header, Segment, lines_in, seal, segments_in, whole_lines
from valija.history.words import index_of, may_have, pack, unpack

QUEUE_ID = "bmmn4132bzj2q"
LINE = f"2026-11-25T04:38:48.608Z info  removed  queue_id={QUEUE_ID}\n".encode()
OTHER = LINE.replace(b"48.608", b"49.000")
LINES = st.lists(st.sampled_from([LINE, OTHER, b"no line of the log\n", b"\n"]), max_size=8)


@given(lines=LINES, data=st.data())
def test_any_cut_at_the_end_leaves_the_whole_lines(lines: list[bytes], data: st.DataObject) -> None:
    written = b"".join(lines)
    cut = written[: data.draw(st.integers(0, len(written)))]
    whole = b"".join(line for line in cut.splitlines(keepends=True) if line.endswith(b"\n"))
    assert whole_lines(cut) == whole
    assert lines_in(seal(cut)) == whole


@settings(max_examples=30, deadline=None)
@given(lines=LINES, data=st.data())
def test_a_process_that_goes_on_leaves_out_what_a_crash_left_of_a_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("history")
    written = b"".join(lines)
    cut = written[: data.draw(st.integers(0, len(written)))]
    (folder / "worker-0.log").write_bytes(cut)
    recorder = Recorder(folder, "worker-0", complain=pytest.fail)
    recorder.use(HistoryOptions(), 2)
    recorder.write(LINE)
    recorder.close()
    assert (folder / "worker-0.log").read_bytes() == whole_lines(cut) + LINE


@given(data=st.data())
def test_a_sealed_file_that_was_cut_is_refused(data: st.DataObject) -> None:
    sealed = seal(LINE * 20)
    cut = data.draw(st.integers(0, len(sealed) - 1))
    with pytest.raises(Damaged):
        lines_in(sealed[:cut])


@given(st.binary(max_size=400))
def test_what_is_no_sealed_file_is_refused(octets: bytes) -> None:
    with pytest.raises(Damaged):
        lines_in(octets)


def test_a_sealed_file_knows_its_times() -> None:
    header = Header.read(seal(b"no line\n" + LINE + LINE.replace(b":48.608", b":59.001") + b"nor this\n"))
    assert (round(header.begins, 3), round(header.ends, 3)) == (1795581528.608, 1795581539.001)


ADDRESSES = ("bob@example.net", "Bounce+x=y.example@example.org", "jörg@müller.example")
WORDS = (*ADDRESSES, QUEUE_ID, "4kz02vwm9", "192.0.2.1", "2001:db8::1")
AROUND = (" a={} b", '"{}"', "<{}>", ' reverse_path=<{}> x="', '"to":["{}","z"]', " to=q@z,{} r")


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("around", AROUND)
def test_words_are_found_wherever_they_stand(word: str, around: str) -> None:
    index = unpack(pack(index_of(around.format(word).encode() + b"\n")))
    assert may_have(index, [word])
    assert may_have(index, ["other@example.net", word.upper() if word.isascii() else word])
    assert not may_have(index, ["other@example.net"])


@given(st.lists(st.from_regex(r"[a-z0-9.+=_-]{1,20}@[a-z0-9.-]{1,20}", fullmatch=True), min_size=1, max_size=20))
def test_no_word_is_ever_missed(found: list[str]) -> None:
    index = index_of(b"".join(f"{LINE.decode().rstrip()} recipient={word}\n".encode() for word in found))
    assert all(may_have(index, [word]) for word in found)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("worker-0.log", "open"),
        ("server.log", "open"),
        ("worker-0-1764037814123.log", "closed"),
        ("worker-12-1764037814123.sealed", "sealed"),
        ("worker-0.sealed", None),
        ("worker-0-1764037814123.draft", None),
        ("notes.txt", None),
        ("worker-0-17640378141234.log", None),
    ],
)
def test_names(name: str, kind: str | None) -> None:
    found = Segment.of(Path(name))
    assert (found.kind if found else None) == kind


def test_sealing_replaces_a_closed_file_and_leaves_the_open_one(tmp_path: Path) -> None:
    (tmp_path / "worker-0.log").write_bytes(LINE)
    (tmp_path / "worker-0-1764037814123.log").write_bytes(LINE * 3 + b"torn")
    assert seal_all(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worker-0-1764037814123.sealed", "worker-0.log"]
    assert lines_in((tmp_path / "worker-0-1764037814123.sealed").read_bytes()) == LINE * 3
    assert (tmp_path / "worker-0-1764037814123.sealed").stat().st_mode & 0o777 == 0o600


def test_a_crash_between_sealing_and_removing_tells_nothing_twice(tmp_path: Path) -> None:
    closed = tmp_path / "worker-0-1764037814123.log"
    closed.write_bytes(LINE)
    closed.with_suffix(".sealed").write_bytes(seal(LINE))
    assert [segment.kind for segment in segments_in(tmp_path)] == ["sealed"]
    assert len(Archive(tmp_path).find([QUEUE_ID])) == 1
