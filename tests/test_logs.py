"""The log: forms, escapes, secrets, limits, and what happens when nobody can read it."""

import gc
import json
import logging
import os
import re
import shlex
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.logs import MAX_LINE, Format, Log, LogBuffer, build_log, take_in_libraries

FORMS: tuple[Format, ...] = ("text", "json")
DANGEROUS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Recorder:
    """A log whose lines lie in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.buffer = LogBuffer(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))

    def log(self, form: Format = "text", level: str = "debug") -> Log:
        return build_log(level, form, self.buffer)  # type: ignore[arg-type]  # a test may ask for any level

    def written(self) -> list[str]:
        """What has reached the file, without asking for a flush."""
        return self.path.read_bytes().decode("utf-8").splitlines(keepends=False)

    def lines(self) -> list[str]:
        self.buffer.flush()
        return self.path.read_bytes().decode("utf-8").split("\n")[:-1]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "log")


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Colour(StrEnum):
    RED = "red"


def test_a_text_line_is_time_level_event_and_pairs(recorder: Recorder) -> None:
    recorder.log().info("attempt", queue_id="3f2a", recipient="bob@example.net", seconds=0.12345, retry=False, tls=None)
    (line,) = recorder.lines()
    time, rest = line.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert rest == "info  attempt  queue_id=3f2a recipient=bob@example.net seconds=0.123 retry=false tls=-"


def test_a_json_line_is_an_object(recorder: Recorder) -> None:
    recorder.log("json").warning("attempt", number=3, names=("a", "b"), colour=Colour.RED, big=2**80, data=b"x\xff")
    (line,) = recorder.lines()
    fields = json.loads(line)
    del fields["time"]
    assert fields == {
        "level": "warning", "event": "attempt", "number": 3, "names": ["a", "b"], "colour": "red",
        "big": str(2**80), "data": "x\\udcff",
    }  # fmt: skip


def test_lines_below_the_level_are_not_written(recorder: Recorder) -> None:
    log = recorder.log(level="warning")
    log.debug("one")
    log.info("two")
    log.warning("three")
    log.error("four")
    assert [line.split()[2] for line in recorder.lines()] == ["three", "four"]


def test_a_value_cannot_look_like_another_key(recorder: Recorder) -> None:
    recorder.log().info("mail", helo='x" login="root', reply="250 ok outcome=delivered", path="a\\", empty="")
    (line,) = recorder.lines()
    pairs = dict(word.split("=", 1) for word in shlex.split(line)[3:])
    assert pairs == {"helo": 'x" login="root', "reply": "250 ok outcome=delivered", "path": "a\\", "empty": ""}


@pytest.mark.parametrize("form", FORMS)
@given(value=st.text(st.characters(codec=None), max_size=200), event=st.text(max_size=20))
def test_no_text_from_a_peer_breaks_a_line(
    tmp_path_factory: pytest.TempPathFactory, form: Format, value: str, event: str
) -> None:
    recorder = Recorder(tmp_path_factory.mktemp("log") / "log")
    recorder.log(form).info(event, value=value, values=[value], other=1)
    (line,) = recorder.lines()
    assert not DANGEROUS.search(line)
    if form == "json":
        assert not DANGEROUS.search(json.loads(line)["value"])
    else:
        assert line.endswith(" other=1")
    os.close(recorder.buffer._descriptor)


@pytest.mark.parametrize("form", FORMS)
def test_escapes_are_readable(recorder: Recorder, form: Format) -> None:
    recorder.log(form).info("mail", helo="\x1b[31mred\r\n\u202e\x85\udc80é")
    (line,) = recorder.lines()
    shown = json.loads(line)["helo"] if form == "json" else line.split("helo=")[1].strip('"')
    assert shown == "\\x1b[31mred\\r\\n\\u202e\\x85\\udc80é"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", ["password", "secret", "token", "response", "api_token", "PASSWORD", "sasl_response"])
def test_secrets_are_not_printed(recorder: Recorder, form: Format, key: str) -> None:
    recorder.log(form).error("login", **{key: "hunter2"})
    (line,) = recorder.lines()
    assert "hunter2" not in line
    assert "[hidden]" in line


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "values",
    [
        {"value": "x" * 10_000_000},
        {f"key{number}": "\U000e0001" * 9_000 for number in range(20)},
        {f"key{number}": "y" * 100 for number in range(1_000)},
        {"names": ["z" * 100] * 10_000},
    ],
    ids=["one long", "many of escapes", "many keys", "long list"],
)
def test_a_line_has_at_most_8_kib(recorder: Recorder, form: Format, values: dict[str, object]) -> None:
    recorder.log(form).info("mail", **values)
    (line,) = recorder.lines()
    assert len(line.encode()) < MAX_LINE
    assert "more]" in line or "cut" in line
    if form == "json":
        json.loads(line)


@pytest.mark.parametrize("form", FORMS)
def test_a_long_event_is_cut(recorder: Recorder, form: Format) -> None:
    recorder.log(form).info("e" * 100_000)
    assert len(recorder.lines()[0]) < MAX_LINE


@pytest.mark.parametrize("form", FORMS)
def test_an_exception_is_one_line(recorder: Recorder, form: Format) -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("two\nlines") from error
    except ValueError:
        recorder.log(form).exception("attempt failed", queue_id="1")
    (line,) = recorder.lines()
    assert "ValueError: two" in line
    assert "KeyError" in line
    assert "test_logs.py:" in line
    assert "test_an_exception_is_one_line" in line


@pytest.mark.parametrize("form", FORMS)
def test_values_without_words_and_odd_keys_do_not_raise(recorder: Recorder, form: Format) -> None:
    recorder.log(form).info("a", value=Broken())
    recorder.log(form).info("b", **{"x y\n=": float("nan"), "time": 1, "level": 2})
    first, second = recorder.lines()
    assert "RuntimeError" in first
    assert "x_y__" in second


def test_values_that_are_equal_are_written_as_what_they_are(recorder: Recorder) -> None:
    log = recorder.log()
    for value in (1, True, 1.0, "1", "True"):
        log.info("a", value=value)
    assert [line.split("value=")[1] for line in recorder.lines()] == ["1", "true", "1.0", "1", "True"]


@pytest.mark.parametrize("value", [["a"], {"a"}, {"a": 1}, Broken(), Colour.RED, "x" * 500, ("a", ["b"])])
def test_an_uncommon_value_does_not_change_how_the_others_are_written(recorder: Recorder, value: object) -> None:
    recorder.log().info("a", before="b c", value=value, after=2)
    recorder.log().info("a", before="b c", after=2)
    uncommon, common = (line.split("  ", 2)[2] for line in recorder.lines())
    if not isinstance(value, Broken):
        assert uncommon.startswith('before="b c" value=')
        assert uncommon.endswith(" after=2")
    assert common == 'before="b c" after=2'


def test_no_secret_is_kept_for_another_line(recorder: Recorder) -> None:
    recorder.log().info("login", password="hunter2", user="bob")
    kept = {value for value in gc.get_objects() if type(value) is tuple and "hunter2" in value}
    assert not kept
    assert recorder.lines()[0].endswith("password=[hidden] user=bob")


def test_information_waits_and_a_warning_does_not(recorder: Recorder) -> None:
    log = recorder.log()
    log.info("one")
    assert recorder.written() == []
    log.warning("two")
    assert [line.split()[2] for line in recorder.written()] == ["one", "two"]


def test_32_kib_are_written_without_a_flush(recorder: Recorder) -> None:
    log = recorder.log()
    for _ in range(40):
        log.info("line", value="x" * 1000)
    assert len(recorder.written()) >= 32


def test_a_closed_pipe_is_counted_not_raised() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    buffer = LogBuffer(writer)
    log = build_log("info", "text", buffer)
    log.info("one")
    log.warning("two")
    os.close(writer)
    log.warning("three")
    assert buffer.lost == 3


def test_a_full_disk_is_counted_not_raised() -> None:
    buffer = LogBuffer(os.open("/dev/full", os.O_WRONLY))
    build_log("info", "text", buffer).error("one")
    assert buffer.lost == 1


def test_a_full_non_blocking_pipe_loses_lines_not_the_server() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    buffer = LogBuffer(writer)
    log = build_log("info", "text", buffer)
    for _ in range(200):
        log.info("line", value="x" * 1000)
    buffer.flush()
    assert buffer.lost > 0
    os.close(reader)
    os.close(writer)


def test_lines_of_many_threads_stay_whole(recorder: Recorder) -> None:
    log = recorder.log("json")

    def talk(number: int) -> Callable[[], None]:
        def run() -> None:
            for count in range(300):
                log.info("line", thread=number, count=count, value="x" * 50)

        return run

    threads = [threading.Thread(target=talk(number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = {(entry["thread"], entry["count"]) for entry in map(json.loads, recorder.lines())}
    assert len(seen) == 1200


def test_a_forked_process_does_not_repeat_its_parents_lines(recorder: Recorder) -> None:
    log = recorder.log()
    log.info("before")
    recorder.buffer._writing.acquire()  # as if another thread were writing
    pid = os.fork()
    if pid == 0:
        log.info("in the child")
        recorder.buffer.flush()
        os._exit(0)
    recorder.buffer._writing.release()
    os.waitpid(pid, 0)
    log.info("after")
    assert [" ".join(line.split()[2:]) for line in recorder.lines()] == ["in the child", "before", "after"]


def test_what_libraries_say_becomes_a_line_of_ours(recorder: Recorder) -> None:
    before = logging.getLogger().handlers[:]
    try:
        take_in_libraries(recorder.log())
        try:
            raise ValueError("oh\nno")
        except ValueError:
            logging.getLogger("asyncio").exception("it\nbroke")
        logging.getLogger("quiet").info("unheard")
    finally:
        logging.basicConfig(handlers=before, force=True)
    (line,) = recorder.lines()
    assert "library" in line
    assert r'message="it\nbroke"' in line
    assert "ValueError" in line
