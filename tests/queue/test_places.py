"""The places: a bound on what runs, shared fairly."""

from collections import Counter
from itertools import count
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from tests.queue.samples import NOW, message
from valija.mail.envelope import Envelope
from valija.mail.job import QueueId, Route
from valija.mail.origin import Origin
from valija.queue.places import Places
from valija.queue.store import Claim, NewMessage
from valija.queue.window import Attempt, Window

TOTAL: Final = 90
PER_LANE: Final = 4
_serial = count()


class Scene:
    """A worker's window and places, and who runs."""

    def __init__(self, total: int = TOTAL, per_lane: int = PER_LANE) -> None:
        self.window = Window(10**6, 10**9)
        self.places = Places(total, per_lane)
        self.running: list[Attempt] = []
        self.started: list[Attempt] = []

    def add(self, hop: str, *, user: str = "alice", of: str = "", is_fresh: bool = True, priority: int = 0) -> Attempt:
        plain = message()
        envelope = Envelope("a@example.org", plain.envelope.recipients, priority=priority)
        new = NewMessage(envelope, plain.content, Origin("submission", NOW, login=user))
        claim = Claim.fresh(QueueId(of or f"m{next(_serial)}"), new)
        attempt = self.window.attempt(claim, Route("remote", hop), 1, is_fresh=is_fresh)
        self.window.enter(attempt)
        if self.places.take(attempt):
            self._run(attempt)
        else:
            self.places.wait(attempt)
        return attempt

    def end(self, attempt: Attempt) -> None:
        self.running.remove(attempt)
        self.places.leave(attempt)
        self.window.leave(attempt)
        while (following := self.places.next()) is not None:
            self._run(following)

    def end_all(self) -> None:
        while self.running:
            self.end(self.running[0])

    def _run(self, attempt: Attempt) -> None:
        self.running.append(attempt)
        self.started.append(attempt)


def test_a_mailing_gets_a_third_of_the_places_and_an_urgent_one_its_own_at_once() -> None:
    scene = Scene()
    for number in range(2000):
        scene.add(f"d{number}.example", of="mailing")
    assert len(scene.running) == TOTAL // 3
    for hop in ("fresh.example", "d7.example", "d1999.example"):
        assert scene.add(hop) in scene.running
    scene.end_all()
    assert len(scene.started) == 2003


def test_a_user_of_many_messages_gets_half() -> None:
    scene = Scene()
    for number in range(200):
        scene.add(f"d{number}.example")
    assert len(scene.running) == TOTAL // 2
    assert scene.add("d3.example", user="bob") in scene.running
    scene.end_all()
    assert len(scene.started) == 201


def test_what_comes_from_the_file_gets_half_for_all_users_together() -> None:
    scene = Scene()
    for number in range(400):
        scene.add(f"d{number}.example", user=f"u{number}", is_fresh=False)
    assert len(scene.running) == TOTAL // 2
    assert scene.add("fresh.example", user="u3") in scene.running
    scene.end_all()
    assert len(scene.started) == 401


def test_one_place_is_enough_for_everybody() -> None:
    scene = Scene(total=1, per_lane=1)
    for number in range(20):
        scene.add(f"d{number % 3}.example", user=f"u{number % 2}", is_fresh=number % 5 > 0)
    assert len(scene.running) == 1
    scene.end_all()
    assert len(scene.started) == 20


def test_a_reset_to_a_crowded_lane_is_next() -> None:
    scene = Scene()
    for _ in range(50):
        scene.add("gmail.example", user="shop")
    assert len(scene.running) == PER_LANE
    scene.add("gmail.example", user="shop", of="mailing")
    reset = scene.add("gmail.example", user="app")
    scene.end(scene.running[0])
    scene.end(scene.running[0])
    assert reset in scene.started[: PER_LANE + 2]


def test_urgent_mail_of_the_same_user_is_next() -> None:
    scene = Scene()
    for _ in range(50):
        scene.add("gmail.example")
    urgent = scene.add("gmail.example", priority=4)
    scene.end(scene.running[0])
    assert scene.started[PER_LANE] is urgent


def test_whoever_has_places_left_is_not_kept_from_a_lane_by_those_who_have_none() -> None:
    """All who wait for the lane lack places of their own, but for one, who came last."""
    scene = Scene()
    lane = [scene.add("gmail.example", user="carol") for _ in range(PER_LANE)]
    for number in range(2000):
        scene.add(f"d{number}.example", of="mailing")
    waiting = [scene.add("gmail.example", of="mailing") for _ in range(10)]
    scene.end(lane.pop())
    assert not set(waiting) & set(scene.running), "the mailing has no place"
    assert scene.add("gmail.example", user="bob") in scene.running
    late = scene.add("gmail.example", user="dave")
    assert late not in scene.running, "the lane is full again"
    scene.end(lane.pop())
    assert late in scene.running
    scene.end_all()
    assert set(waiting) <= set(scene.started)


def test_all_who_wait_are_given_back() -> None:
    scene = Scene()
    every = [scene.add(f"d{number % 9}.example", user=f"u{number % 3}") for number in range(300)]
    waiting = scene.places.take_all()
    assert Counter(waiting) == Counter(set(every) - set(scene.running))
    assert scene.places.next() is None


attempts = st.tuples(
    st.sampled_from(["x.example", "y.example", "z.example", "w.example"]),
    st.sampled_from(["alice", "bob", "carol"]),
    st.sampled_from(["m1", "m2", ""]),
    st.booleans(),
    st.integers(-1, 1),
)


@given(st.integers(1, 12), st.integers(1, 4), st.lists(st.one_of(attempts, st.integers(0, 50)), max_size=120))
def test_whatever_ends_in_whatever_order(
    total: int, per_lane: int, steps: list[tuple[str, str, str, bool, int] | int]
) -> None:
    """The bounds hold, nobody who may run waits, and everybody runs once."""
    scene = Scene(total, per_lane)
    every: list[Attempt] = []
    for step in steps:
        if isinstance(step, int):
            if scene.running:
                scene.end(scene.running[step % len(scene.running)])
        else:
            hop, user, of, is_fresh, priority = step
            every.append(scene.add(hop, user=user, of=f"{user} {of}" if of else "", is_fresh=is_fresh,
                                   priority=priority))  # fmt: skip
        check(scene, every, total, per_lane)
    while scene.running:
        scene.end(scene.running[-1])
        check(scene, every, total, per_lane)
    assert Counter(scene.started) == Counter(every)


def check(scene: Scene, every: list[Attempt], total: int, per_lane: int) -> None:
    """Hold the rule against plain counts."""
    running = scene.running
    assert len(running) <= total
    assert scene.places.running == len(running)
    hops = Counter(each.lane.route for each in running)
    assert all(held <= per_lane for held in hops.values())
    from_file = sum(not each.is_fresh for each in running)
    for each in set(every) - set(scene.started):
        same_user = sum(other.user is each.user for other in running)
        same_round = sum(other.round is each.round for other in running)
        free = total - len(running)
        if not each.is_fresh:
            free = min(free, max(1, total // 2) - from_file)
        assert hops[each.lane.route] == per_lane or same_user + same_round >= free


def test_a_higher_bound_for_each_lane_is_used_at_once_where_some_wait() -> None:
    scene = Scene()
    for _ in range(20):
        scene.add("gmail.example")
    assert len(scene.running) == PER_LANE
    scene.places.per_lane = 10
    scene.end(scene.running[0])
    assert len(scene.running) == 10
    scene.places.per_lane = 2
    while len(scene.running) > 2:
        scene.end(scene.running[0])
    scene.end(scene.running[0])
    assert len(scene.running) == 2
    scene.end_all()
    assert len(scene.started) == 20
