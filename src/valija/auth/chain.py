"""Several back ends as one: each mechanism is the first one's that offers it.

    backend = ChainedBackend(oauth, AccountsBackend(accounts, passwords))
    backend.mechanisms()                          # ("OAUTHBEARER", "XOAUTH2", "SCRAM-SHA-256-PLUS", ...)

A mechanism that one of them offers is never asked of another: a back end that is away is no reason to ask the next.
"""

from valija.auth.backend import AuthBackend, ConnectionFacts, Exchange


class ChainedBackend:
    """An AuthBackend made of others. The last one is asked about what none of them offers."""

    def __init__(self, *backends: AuthBackend) -> None:
        self._backends = backends

    def mechanisms(self) -> tuple[str, ...]:
        """Those of all, the first one's first."""
        return tuple(dict.fromkeys(each for backend in self._backends for each in backend.mechanisms()))

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange with who offers the mechanism."""
        name = mechanism.upper()
        offering = (backend for backend in self._backends if name in backend.mechanisms())
        return next(offering, self._backends[-1]).start(mechanism, facts)

    def close(self) -> None:
        """Close all."""
        for backend in self._backends:
            backend.close()
