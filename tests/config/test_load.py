"""Where the configuration is found, what cannot be read, and that nothing but ConfigError is ever raised."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.config.facts import FACTS
from valija.config import Config, ConfigError, Setting, find, load, parse, read_text
from valija.config.document import Document
from valija.config.tables import build

FOLDER = Path("/etc/valija")


def test_the_named_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'hostname = "mail.example.org"\ndata_dir = "data"\n[tls]\ncert_file = "/c.pem"\nkey_file = "k.pem"\n'
    )
    config = load(path, facts=FACTS)
    assert config.source == str(path)
    assert config.data_dir == tmp_path / "data"
    assert (config.tls.cert_file, config.tls.key_file) == ("/c.pem", str(tmp_path / "k.pem"))


def test_the_variable_comes_before_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find({}) in (None, Path("/etc/valija/valija.toml"))
    Path("valija.toml").touch()
    assert find({}) == Path("valija.toml")
    assert find({"VALIJA_CONFIG": "/other.toml"}) == Path("/other.toml")
    assert find({"VALIJA_CONFIG": ""}) == Path("valija.toml")


def test_a_file_in_the_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VALIJA_CONFIG", raising=False)
    Path("valija.toml").write_text("workers = 7")
    assert load(facts=FACTS).workers == 7
    monkeypatch.setenv("VALIJA_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(
        ConfigError, match=r"missing.toml: the configuration cannot be read \(No such file or directory\)"
    ):
        load(facts=FACTS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'hostname = "a"\nuser = "\xff"', "line 2: the text is not UTF-8"),
        (b"#" * (1 << 20) + b"#", "larger than 1 MiB"),
        (b"x = " + b"[" * 50_000, "nested too deeply"),
        (b"workers = " + b"9" * 5_000, "exceeds the limit"),
        (b"workers = 0x" + b"f" * 5_000, "workers = 0xfff"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "valija.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(path, facts=FACTS)
    assert words in str(refused.value)
    assert len(refused.value.faults) == 1
    assert len(str(refused.value)) < 500


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        read_text(tmp_path)


def test_the_machine_is_asked_only_for_what_is_missing() -> None:
    def never() -> str:
        raise AssertionError("asked for the host name")

    facts = msgspec.structs.replace(FACTS, hostname=never)
    assert parse('hostname = "mail.example.org"', "", FOLDER, facts).hostname == "mail.example.org"


toml_values = st.recursive(
    st.none().map(lambda _: "")
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | st.sampled_from(["0.0.0.0:25", "[::]:25", "5m", "may", "example.org", "10.0.0.0/8", "[x]:1", "files", "inet:"])
    | st.dates()
    | st.datetimes(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=8), values, max_size=4),
    max_leaves=12,
)
tables = ["smtpd", "submission", "submissions", "sasl", "tls", "smtp", "queue", "dns", "log", "web"]


def all_settings() -> list[Setting]:
    document = Document("", {})
    build(document, FOLDER, FACTS)
    return document.settings()


@st.composite
def documents(draw: st.DrawFn) -> dict[str, object]:
    document: dict[str, object] = draw(st.dictionaries(st.text(max_size=10), toml_values, max_size=3))
    for setting in draw(st.lists(st.sampled_from(all_settings()), max_size=12)):
        place: object = document.setdefault(setting.table, {}) if setting.table else document
        if isinstance(place, dict):
            place[setting.key] = draw(toml_values)
    return document


def faults_of(read: Callable[[], Config]) -> list[str]:
    """Return the faults of a configuration, [] of a sound one."""
    try:
        read()
    except ConfigError as refused:
        return [str(fault) for fault in refused.faults] or ["refused without a fault"]
    return []


@given(documents())
def test_any_document_is_read_or_refused(values: dict[str, object]) -> None:
    for line in faults_of(lambda: build(Document("valija.toml", values), FOLDER, FACTS)):
        assert line.isprintable()
        assert line.startswith("valija.toml: ")


@given(st.text())
@example("\x00")
@example("a = 1\r")
@example("a.b.c = 1\n[a.b]\n")
@example("[[smtpd]]\n")
def test_any_text_is_read_or_refused(text: str) -> None:
    for line in faults_of(lambda: parse(text, "valija.toml", FOLDER, FACTS)):
        assert line.isprintable()


def test_the_settings_are_all_there() -> None:
    known = {(setting.table, setting.key) for setting in all_settings()}
    design = tomllib.loads((Path(__file__).parent / "design.toml").read_text())
    for table, value in design.items():
        keys = [(table, key) for key in value] if isinstance(value, dict) else [("", table)]
        assert known.issuperset(keys)


def test_the_designs_example_is_sound() -> None:
    text = (Path(__file__).parent / "design.toml").read_text()
    config = parse(text, "valija.toml", FOLDER, FACTS)
    assert config.warnings == ()
    assert os.fspath(config.data_dir) == "/var/lib/valija"
