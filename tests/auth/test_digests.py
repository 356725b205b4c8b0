"""Facts remembered together: what holds, for how long, and that no accident ever makes a wrong fact hold."""

import multiprocessing
import os

from hypothesis import given
from hypothesis import strategies as st

from valija.auth.digests import DigestTable

LIFETIME = 300.0
FACTS = st.lists(st.one_of(st.text(max_size=4).filter(str.isprintable), st.binary(max_size=4)), min_size=1, max_size=3)


class Clock:
    def __init__(self) -> None:
        self.now = 10_000.0

    def __call__(self) -> float:
        return self.now


def table(places: int = 64) -> tuple[DigestTable, Clock]:
    clock = Clock()
    return DigestTable.shared(LIFETIME, places=places, clock=clock), clock


def test_what_is_remembered_holds_and_nothing_else() -> None:
    here, _ = table()
    here.remember("alice", b"secret")
    assert here.holds("alice", b"secret")
    for other in (("alice", b"Secret"), ("alic", b"esecret"), ("alice",), ("alicesecret",), ("secret", b"alice")):
        assert not here.holds(*other)


@given(remembered=FACTS, asked=FACTS)
def test_facts_do_not_run_together(remembered: list[str | bytes], asked: list[str | bytes]) -> None:
    here, _ = table()
    here.remember(*remembered)
    as_octets = [[fact.encode() if isinstance(fact, str) else fact for fact in facts] for facts in (remembered, asked)]
    assert here.holds(*asked) is (as_octets[0] == as_octets[1])


@given(begin=st.floats(0, 1e9), later=st.floats(0, 2 * LIFETIME))
def test_it_holds_for_half_the_lifetime_and_never_longer_than_all_of_it(begin: float, later: float) -> None:
    here, clock = table()
    clock.now = begin
    here.remember("alice")
    clock.now = begin + later
    if later <= LIFETIME / 2 - 1:
        assert here.holds("alice")
    if later >= LIFETIME + 1:
        assert not here.holds("alice")


def test_being_asked_for_prolongs_nothing() -> None:
    here, clock = table()
    here.remember("alice")
    begin = clock.now
    while here.holds("alice"):
        clock.now += 10
    assert clock.now - begin <= LIFETIME + 10


@given(st.lists(st.integers(0, 1000), max_size=200), st.integers(1001, 2000))
def test_a_full_table_forgets_but_never_makes_up(numbers: list[int], never: int) -> None:
    here, _ = table(places=8)
    for number in numbers:
        here.remember(str(number))
        assert here.holds(str(number)), "the newest is there"
    assert not here.holds(str(never))


@given(st.data())
def test_a_torn_place_says_no(data: st.DataObject) -> None:
    """Two digests in one place, cut anywhere: what another worker may see while one is writing."""
    here, _ = table(places=4)
    here.remember("old")
    old = here._memory[:]
    other = DigestTable(type(here._memory)(-1, len(old)), lifetime=LIFETIME, key=here._key, clock=here._clock)
    other.remember("new")
    new = other._memory[:]
    cut = data.draw(st.integers(1, 31))
    for torn in (new[:cut] + old[cut:], old[:cut] + new[cut:]):
        if torn in (old, new):
            continue  # where they part they happen to be the same
        here._memory[:] = torn
        assert not here.holds("old")
        assert not here.holds("new")


def test_forked_processes_share_it_and_others_have_another_key() -> None:
    here = DigestTable.shared(LIFETIME)
    pid = os.fork()
    if pid == 0:
        here.remember("alice", b"secret")
        os._exit(0)
    os.waitpid(pid, 0)
    assert here.holds("alice", b"secret")
    assert DigestTable.shared(LIFETIME)._key != here._key


def _fill(here: DigestTable, begin: int) -> None:
    for number in range(begin, begin + 3000):
        here.remember(str(number))


def test_many_writers_at_once_make_nothing_up() -> None:
    here = DigestTable.shared(LIFETIME, places=16)  # so small that they write over each other all the time
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_fill, args=(here, 10_000 * number)) for number in range(1, 3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert not any(here.holds(f"never {number}") for number in range(100))
    assert [writer.exitcode for writer in writers] == [0, 0]
