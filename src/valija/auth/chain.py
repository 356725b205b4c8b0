"""Several back ends as one: the main one, and others beside it whose mechanisms are theirs.

    backend = ChainedBackend(DovecotBackend(path, log), oauth)
    backend.mechanisms()                          # ("PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2")

A mechanism that one of them offers is never asked of another: a back end that is away is no reason to ask the next.
"""

from valija.auth.backend import AuthBackend, ConnectionFacts, Exchange


class ChainedBackend:
    """An AuthBackend made of others. A mechanism that several offer is not the main one's."""

    def __init__(self, main: AuthBackend, *others: AuthBackend) -> None:
        self._main = main
        self._others = others

    def mechanisms(self) -> tuple[str, ...]:
        """Those of all, the main one's first."""
        return tuple(dict.fromkeys(each for one in (self._main, *self._others) for each in one.mechanisms()))

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange with who offers the mechanism."""
        name = mechanism.upper()
        offering = (other for other in self._others if name in other.mechanisms())
        return next(offering, self._main).start(mechanism, facts)

    def close(self) -> None:
        """Close all."""
        for one in (self._main, *self._others):
            one.close()
