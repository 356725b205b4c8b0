"""Guesses from hundreds of networks at once: they cost us processor time, which the owner must not wait for."""

from tests.abuse.world import HONEST, World, needs_root
from tests.cases.conftest import ALICE, SECRETS
from tests.tally import Tally

pytestmark = needs_root

NETWORKS = [f"198.{18 + number // 150}.{100 + number % 150}.1" for number in range(300)]
ANSWERS = ("535", "454")
ARGON2 = 19 * 1024  # KiB, one for each thread that verifies
FOR_EACH = 150  # KiB of a session inside TLS


def test_the_owner_gets_in_while_others_guess(world: World, tally: Tally) -> None:
    world.log_in(1)  # so that the network is one that alice is known in
    changed = world.server.valija("user", "passwd", ALICE, "--password-stdin", text=f"{SECRETS[ALICE]}\n")
    assert changed.returncode == 0, "now the password has to be verified again"
    with world.measured() as cost, world.attack("guess", NETWORKS) as guesses:
        guesses.until("454", 100)
        served = world.log_in(1, HONEST) + world.honest(2)
        served += world.log_in(4, HONEST)
    guessed = sum(guesses.counts[code] for code in ANSWERS)
    assert guesses.counts["454"] > guesses.counts["535"], "most were told to come again, unseen"
    assert guesses.counts["235"] == 0
    assert cost.kib < len(NETWORKS) * FOR_EACH + 4 * ARGON2
    assert "login unavailable" not in world.server.log.text
    tally("abuse", guesses=guessed, verified=guesses.counts["535"], honest_served=served)
