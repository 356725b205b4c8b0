"""Several back ends as one."""

from valija.auth.backend import ConnectionFacts, Exchange, Malformed, Step
from valija.auth.chain import ChainedBackend

FACTS = ConnectionFacts(True, "192.0.2.1", 40_000, "192.0.2.2", 587)


class One:
    """A back end that offers some mechanisms and begins any: that is told apart by `began`."""

    def __init__(self, *offered: str) -> None:
        self.offered = offered
        self.began: list[str] = []
        self.closed = False

    def mechanisms(self) -> tuple[str, ...]:
        return self.offered

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        self.began.append(mechanism)
        return _Nothing()

    def close(self) -> None:
        self.closed = True


class _Nothing:
    async def respond(self, response: bytes | None) -> Step:
        return Malformed()

    def cancel(self) -> None:
        pass


def test_what_is_offered_beside_the_main_one_is_not_asked_of_it() -> None:
    other, main = One("XOAUTH2", "OAUTHBEARER"), One("PLAIN", "OAUTHBEARER")
    chain = ChainedBackend(main, other)
    assert chain.mechanisms() == ("PLAIN", "OAUTHBEARER", "XOAUTH2")
    assert chain.start("oauthbearer", FACTS) is not None
    assert chain.start("PLAIN", FACTS) is not None
    assert chain.start("NEW", FACTS) is not None  # the main one may be away, and know it
    assert (other.began, main.began) == (["oauthbearer"], ["PLAIN", "NEW"])


def test_all_are_closed() -> None:
    backends = One("A"), One("B")
    ChainedBackend(*backends).close()
    assert [each.closed for each in backends] == [True, True]
