"""Asking who lives here: one name after the other, from one client and from a network of them."""

from tests.abuse.world import TRUSTED, World, needs_root, sources
from tests.tally import Tally

pytestmark = needs_root

LIMIT, SHARE, WORKERS = 100, 4, 2


def test_one_client_learns_of_a_hundred_names_an_hour(world: World, tally: Tally) -> None:
    with world.measured() as cost, world.attack("harvest", ["198.18.50.7"], each=5) as harvest:
        harvest.until("421", 20)
        served = world.honest(4)
    assert LIMIT - 5 <= harvest.counts["550"] <= LIMIT + 5, "but for those under way"
    assert cost.cpu < 2.0
    assert world.refusal("198.18.50.7") == (
        "421 4.7.0 Too many unknown recipients from 198.18.50.7 within an hour (at most 100), try again later"
    )
    with world.client("198.18.50.8") as neighbour:
        neighbour.hello()
    tally("abuse", asked=harvest.counts["550"], refused=harvest.counts["421"], honest_served=served)


def test_a_network_learns_of_four_hundred(world: World, tally: Tally) -> None:
    with world.attack("harvest", sources("198.18.51.{}", 20)) as harvest:
        harvest.until("421", 40)
        served = world.honest(3)
    assert SHARE * LIMIT - 20 <= harvest.counts["550"] <= SHARE * LIMIT + 20, "but for those under way"
    refusal = world.refusal("198.18.51.99")
    assert refusal.startswith("421 4.7.0 Too many unknown recipients from 198.18.51.0/24 within an hour (at most 400)")
    tally("abuse", asked=harvest.counts["550"], refused=harvest.counts["421"], honest_served=served)


def test_beyond_the_limit_nobody_learns_who_lives_here(world: World) -> None:
    with world.client("198.18.52.7") as open_before:
        open_before.hello()
        open_before.say("MAIL FROM:<bot@remote.example>")
        with world.attack("harvest", ["198.18.52.7"], each=2) as harvest:
            harvest.until("421", 3)
        assert open_before.say("RCPT TO:<nobody@local.example>").startswith("421 4.7.0 Too many unknown recipients")
        assert open_before.is_closed()
    with world.client("198.18.52.8") as another:
        another.hello()
        assert another.say("VRFY alice") == another.say("VRFY nobody")
        assert another.say("EXPN alice") == another.say("EXPN nobody")


def test_trusted_clients_may_ask_for_whomever(world: World) -> None:
    for _ in range(2):
        with world.client(TRUSTED) as client:
            client.hello()
            client.say("MAIL FROM:<list@remote.example>")
            for number in range(LIMIT - 1):
                assert client.say(f"RCPT TO:<gone{number}@local.example>").startswith("550 5.1.1")
    with world.client(TRUSTED) as client:
        client.hello()
