"""Tables, aims, the picture and the page say what was measured, and nothing else."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import page
from bench.aims import AIMS, judge
from bench.machine import Machine
from bench.plot import as_svg
from bench.quick import ratios
from bench.results import FIGURES, Results, Run, load, merged, save
from bench.summary import Spread, summarise
from bench.table import as_markdown
from bench.works import WORKS

MACHINE = Machine("2026-01-31", "0123456789", 2, "a processor", "Linux 6", "ext4", "3.11.2", 0.5)


def _relay(server: str, *rates: float, work: str = "relay-new") -> list[Run]:
    return [
        Run(work, "100 sessions", server, number, {"rate": rate, "cpu": 1 / rate})
        for number, rate in enumerate(rates, 1)
    ]


RUNS = [*_relay("valija", 4000, 5000, 6000), *_relay("postfix", 500, 500, 700), *_relay("haraka", 2000, 1000, 1500)]
RESULTS = Results(MACHINE, "cgroup v1", RUNS)


def test_a_row_has_the_spread_of_its_rounds() -> None:
    row = summarise(RUNS)[0]
    assert (row.server, row.rounds) == ("valija", 3)
    assert row.figures["rate"] == Spread(4000, 5000, 6000)


def test_tables() -> None:
    text = as_markdown([RESULTS])
    assert "| 100 sessions | valija | 4,000 / **5,000** / 6,000 |" in text
    assert "2 x a processor" in text
    assert "CPU time by cgroup v1" in text


def test_equal_values_stand_once_and_notes_below() -> None:
    lost = Run("relay-new", "1 session", "exim", 1, {"rate": 50.0}, "40 of 50 messages arrived | in time")
    text = as_markdown([Results(MACHINE, "/proc", [lost])])
    assert "| 1 session | exim | **50** | 1 |" in text
    assert "- exim, 1 session: 40 of 50 messages arrived | in time" in text


def test_aims_are_judged_by_ratios() -> None:
    found = {verdict.aim.words(): verdict for verdict in judge(summarise(RUNS)) if verdict.aim.case == "100 sessions"}
    times = found["relayed: at least 8 x postfix"]
    assert (times.value, times.reached) == (10.0, True)
    fastest = found["relayed: at least 4 x the fastest peer"]
    assert (fastest.words(), fastest.verdict()) == ("3.33 x", "**missed**: 0.83 of the aim")
    assert found["CPU a message: at most 0.125 x postfix"].reached


def test_what_was_not_measured_is_not_judged() -> None:
    verdicts = judge(summarise(_relay("valija", 5000)))
    assert {verdict.aim.work for verdict in verdicts} == {"relay-new"}
    assert {(verdict.words(), verdict.verdict()) for verdict in verdicts} == {("not measured", "")}


def test_absolute_and_own_aims() -> None:
    figures = {"empty queue": {"accepted": 1000.0}, "deep queue": {"accepted": 700.0, "growth": float(32 << 20)}}
    runs = [Run("deep-queue", case, "valija", 1, each) for case, each in figures.items()]
    found = {verdict.aim.figure: verdict for verdict in judge(summarise(runs)) if verdict.aim.case == "deep queue"}
    assert (found["growth"].words(), found["growth"].verdict()) == ("32.0 MiB", "reached")
    assert (found["accepted"].words(), found["accepted"].reached) == ("0.70 x", False)


def test_aims_name_what_works_measure() -> None:
    for aim in AIMS:
        assert aim.figure in FIGURES
        assert aim.figure in WORKS[aim.work].figures


def test_works_name_figures_that_are_described() -> None:
    for work in WORKS.values():
        assert {*work.figures, *filter(None, [work.plotted])} <= FIGURES.keys()


def test_the_picture_is_sound_and_in_proportion() -> None:
    runs = [*RUNS, *_relay("<odd> & server", 2500), *_relay("(none)", 9000)]
    root = ET.fromstring(as_svg(summarise(runs)))
    bars = {
        group.findtext("{*}text"): float(bar.attrib["width"])
        for group in root.findall(".//{*}g")
        if (bar := group.find("{*}rect")) is not None
    }
    assert list(bars) == ["valija", "<odd> & server", "haraka", "postfix"]
    assert bars["<odd> & server"] == pytest.approx(bars["valija"] / 2, abs=0.1)
    assert len(root.findall(".//{*}line")) == 3, "one round has no spread"


def test_the_page_is_filled_between_its_marks() -> None:
    old = f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n"
    assert page.filled(old, "new\n") == f"before\n{page.BEGIN}\n\nnew\n\n{page.END}\nafter\n"
    with pytest.raises(ValueError, match="lacks its marks"):
        page.filled("nothing", "new")


def test_works_measured_anew_replace_the_old_ones(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text(f"{page.BEGIN}\n{page.END}\n")
    kept = _relay("valija", 1234, work="relay-keep")
    page.write(Results(MACHINE, "cgroup v1", [*RUNS, *kept]), tmp_path)
    page.write(Results(MACHINE, "cgroup v2", _relay("valija", 9999)), tmp_path)
    text = (tmp_path / "performance.md").read_text()
    assert "1,234" in text
    assert "9,999" in text
    assert "5,000" not in text
    assert "](performance.svg)" in text
    ET.parse(tmp_path / "performance.svg")
    assert [each.accounting for each in load(tmp_path / "performance.json")] == ["cgroup v1", "cgroup v2"]


def test_results_outlive_a_file(tmp_path: Path) -> None:
    save(tmp_path / "results.json", [RESULTS])
    assert load(tmp_path / "results.json") == [RESULTS]
    assert load(tmp_path / "missing.json") == []
    assert merged([RESULTS], RESULTS) == [RESULTS]


def test_the_page_of_the_project_has_its_marks() -> None:
    assert page.filled((page.DOCS / "performance.md").read_text(), "new")


def test_quick_tells_a_difference_from_noise() -> None:
    key, other = ("relay-new 100", "rate"), ("relay-new 100", "cpu")
    pairs = [
        ({key: 1200.0, other: 2.0}, {key: 1000.0, other: 2.1}),
        ({key: 1100.0, other: 2.0}, {key: 1000.0, other: 1.9}),
    ]
    rate, cpu = ratios(pairs)
    assert (rate.work, rate.figure) == key
    assert (rate.spread.least, rate.spread.most) == (1.1, 1.2)
    assert "no difference" not in str(rate)
    assert "no difference" in str(cpu)
