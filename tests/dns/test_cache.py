from valija.dns.cache import TtlCache


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_entries_end_by_time() -> None:
    clock = Clock()
    cache = TtlCache[str, int](10, clock)
    cache.put("a", 1, 5.0)
    clock.now = 4.9
    assert cache.get("a") == 1
    clock.now = 5.0
    assert cache.get("a") is None
    assert len(cache) == 0


def test_the_oldest_leaves_first_and_a_renewed_one_is_young() -> None:
    cache = TtlCache[str, int](2, Clock())
    cache.put("a", 1, 5.0)
    cache.put("b", 2, 5.0)
    cache.put("a", 3, 5.0)
    cache.put("c", 4, 5.0)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (3, None, 4)


def test_nothing_is_kept_for_no_time_or_in_no_room() -> None:
    cache = TtlCache[str, int](2, Clock())
    cache.put("a", 1, 5.0)
    cache.put("a", 2, 0.0)
    assert cache.get("a") is None
    nowhere = TtlCache[str, int](0, Clock())
    nowhere.put("a", 1, 5.0)
    assert len(nowhere) == 0
