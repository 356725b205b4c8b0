"""Each rung of the way out, against real servers: it holds, and it refuses who sits in the middle."""

from collections.abc import Iterator

import pytest

from tests.interop import world as small_world
from tests.interop.world import World

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(small_world.MISSING), reason=small_world.MISSING)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


def test_may_reaches_a_server_whose_tls_is_broken_in_clear(world: World) -> None:
    since = world.ana.server.log.mark()
    world.ana.submit("bob@plain.example")
    world.ana.server.wait_for_log(r"attempt .*outcome=delivered next_hop=plain\.example .*tls=none", since=since)
    assert b"hello" in world.opensmtpd.wait_for_mail()
