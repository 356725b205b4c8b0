"""The page of the proof tells each count, and what must never be."""

from tests.tally import page


def test_page_tells_counts_by_area_and_sums_what_must_not_be() -> None:
    told = page(
        [
            ("relay", "tests/b.py::test_relay", {"attempts": 20, "relayed": 0}),
            ("crash", "tests/a.py::test_kill[small]", {"kills": 50, "sessions_ended": 7000, "lost": 0}),
            ("crash", "tests/a.py::test_kill[large]", {"kills": 2, "sessions_ended": 24, "lost": 0}),
            ("crash", "tests/a.py::test_cut", {"kills": 1}),
        ],
        measured="today",
    )
    assert "**lost: 0, relayed: 0, smuggled: 0, crashed: 0** (today)" in told
    assert told.index("## Processes killed") < told.index("## Relaying by strangers")
    assert "| `tests/a.py::test_kill` | kills 52, sessions ended 7,024, lost 0 |" in told
    assert "| in all | kills 53, sessions ended 7,024, lost 0 |" in told


def test_a_loss_is_not_hidden() -> None:
    assert "lost: 3" in page([("crash", "a", {"lost": 1}), ("faults", "b", {"lost": 2})], measured="today")
