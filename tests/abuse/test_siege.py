"""Everything at once, for a while: honest clients are served all along, and the workers live."""

import time

import pytest

from tests.abuse.attackers import WAYS
from tests.abuse.world import PATIENCE, World, needs_root
from tests.tally import Tally

pytestmark = needs_root

SECONDS = (3, pytest.param(60, marks=pytest.mark.soak))
HONEST = [f"198.18.{network}.25" for network in range(200, 230)]  # so many that none of them comes too often
MIB = 1024  # KiB


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_siege(world: World, seconds: int, tally: Tally) -> None:
    workers, took = world.server.pids(), list[float]()
    attackers = [f"198.19.{network}.1" for network in range(100, 250)]
    with world.measured() as cost, world.attack("+".join(WAYS), attackers) as siege:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            took.append(world.bring_mail(HONEST[len(took) % len(HONEST)]))
    assert world.server.pids() == workers
    assert cost.kib < 250 * MIB
    late = [each for each in took if each > PATIENCE]
    assert len(late) <= 1 + len(took) // 50, f"{late} of {len(took)}: more than the machine's own moods"
    connections, refused, served = siege.counts["connections"], siege.counts["421"], len(took)
    tally("abuse", connections=connections, refused=refused, honest_served=served, honest_late=len(late), crashed=0)
    print(
        f"at the longest {max(took):.2f} s, in the middle {sorted(took)[served // 2]:.3f} s, {cost.kib / MIB:.0f} MiB"
    )
