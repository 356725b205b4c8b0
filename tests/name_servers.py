"""A domain's two name servers, and a resolver that knows them, for tests of what asks all of them directly.

with NameServers("example.org") as world:
    world.publish("new._domainkey.example.org", ["TXT x"])      # on both
    world.second.publish("new._domainkey.example.org", [])      # and taken away on one
    Authorities(resolver_of(world.resolver), port=world.port)
"""

import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.fakedns import FakeDns


class NameServers:
    """The servers between `__enter__` and `__exit__`, at 127.0.0.2 and 127.0.0.3 on one port."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        zone = {
            self._domain: [f"NS ns1.{self._domain}.", f"NS ns2.{self._domain}."],
            f"ns1.{self._domain}": ["A 127.0.0.2"],
            f"ns2.{self._domain}": ["A 127.0.0.3"],
        }
        self.first = self._stack.enter_context(FakeDns({self._domain: ["TXT x"]}, host="127.0.0.2"))
        self.port = self.first.port
        self.second = self._stack.enter_context(
            FakeDns({self._domain: ["TXT x"]}, host="127.0.0.3", port=self.first.port)
        )
        self.resolver = self._stack.enter_context(FakeDns(zone))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def publish(self, name: str, records: Sequence[str]) -> None:
        """Have both serve a name's records."""
        self.first.publish(name, records)
        self.second.publish(name, records)


def txt(*strings: str) -> str:
    """Return a TXT record made of strings."""
    return "TXT " + " ".join(f'"{string}"' for string in strings)
