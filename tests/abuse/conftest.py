"""The worlds that attacks happen in. Each lives as long as this folder's tests; each test has networks of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.abuse.world import TRUSTED_NETWORK, World, attacked


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each of these bounds how long honest clients wait: no other test may be the reason."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker("alone")


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    """A server as it comes, but for the greeting, which is not held back."""
    with attacked({"mynetworks": [TRUSTED_NETWORK]}) as world:
        world.honest(8)  # what the first messages load is no attacker's
        yield world


@pytest.fixture(scope="package")
def impatient_world() -> Iterator[World]:
    """A server that waits for seconds where others wait for minutes, and holds its greeting back for half of one."""
    smtpd = {"timeout": "2s", "greet_pause": "0.5s"}
    with attacked({"mynetworks": [TRUSTED_NETWORK], "smtpd": smtpd}) as world:
        yield world
