"""What the log writes is read again, in both forms, whatever was logged."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.history.lines import parse, time_of
from valija.logs import MAX_LINE, build_log

KEYS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12).filter(
    lambda key: key not in ("event", "time", "level", "exc_info") and not {"token", "response"} & set(key.split("_"))
)


class Lines:
    """A buffer that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def gather(self, line: bytes) -> None:
        self.lines.append(line)

    warn = write = gather


def written(form: Literal["text", "json"], event: str, **values: object) -> bytes:
    buffer = Lines()
    build_log("info", form, buffer).info(event, **values)  # type: ignore[arg-type]  # it gathers lines, too
    return buffer.lines[0]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_read_again(form: Literal["text", "json"]) -> None:
    reply = '250 2.0.0 "Ok" = \\'
    line = written(form, "attempt", queue_id="3f2a", to=["a@x", "b@y"], reply=reply, seconds=0.25, none=None)
    event = parse(line, "worker-0")
    assert event is not None
    assert (event.level, event.event, event.source) == ("info", "attempt", "worker-0")
    assert event.fields == {
        "queue_id": "3f2a",
        "to": "a@x,b@y",
        "reply": reply,
        "seconds": "0.25",
        "none": "-",
    }
    assert time_of(line) == event.time


@pytest.mark.parametrize("form", ["text", "json"])
@given(values=st.dictionaries(KEYS, st.text(st.characters(exclude_categories=["C", "Z"])), max_size=5))
def test_printable_values_come_back_as_they_were(form: Literal["text", "json"], values: dict[str, str]) -> None:
    values = {key: value for key, value in values.items() if value.isprintable() and len(value) <= 2048}
    event = parse(written(form, "attempt", **values))
    assert event is not None
    assert {key: event.fields[key] for key in values if key not in ("password", "passwd", "secret")} == {
        key: value for key, value in values.items() if key not in ("password", "passwd", "secret")
    }


@pytest.mark.parametrize("form", ["text", "json"])
@given(value=st.text(st.characters()), event=st.text(st.characters(), max_size=20))
def test_no_value_reaches_a_terminal_unescaped(form: Literal["text", "json"], value: str, event: str) -> None:
    found = parse(written(form, event, peer=value, other="x"))
    assert found is not None
    assert found.event.isprintable()
    assert found.fields["peer"].isprintable()
    assert found.fields["other"] == "x"


@pytest.mark.parametrize("form", ["text", "json"])
@given(data=st.data())
def test_a_line_that_was_cut_is_not_wrong_about_its_time(form: Literal["text", "json"], data: st.DataObject) -> None:
    line = written(form, "attempt", queue_id="3f2a", reply="250 2.0.0 Ok, taken")
    cut = data.draw(st.integers(0, len(line) - 2))
    event, whole = parse(line[:cut]), parse(line)
    assert whole is not None
    assert event is None or event.time == whole.time


@given(st.binary(max_size=300))
def test_garbage_never_raises(octets: bytes) -> None:
    parse(octets)
    time_of(octets)


def test_the_longest_line_is_read_again() -> None:
    line = written("text", "attempt", reply="x" * 100_000, queue_id="3f2a")
    assert len(line) <= MAX_LINE
    event = parse(line)
    assert event is not None
    assert event.fields["queue_id"] == "3f2a"
