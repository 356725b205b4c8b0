"""The site that is attacked: local.example is hosted here, everything else lies behind a next hop."""

from collections.abc import Callable, Iterator

import pytest

from tests.cases.conftest import Site, starting_sites
from tests.live import Settings


@pytest.fixture(scope="module")
def sites() -> Iterator[Callable[[Settings], Site]]:
    """Start sites that live as long as a module's tests; nothing but lines of its own may stand in a site's log."""
    with starting_sites() as start:
        yield start


@pytest.fixture(scope="module")
def site(sites: Callable[[Settings], Site]) -> Site:
    """One site with users and a key, for all attacks of a module."""
    site = sites({})
    site.furnish()
    return site
