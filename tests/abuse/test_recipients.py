"""A hundred thousand recipients: in one transaction, and over many."""

import pytest

from tests.abuse.world import TRUSTED, World, needs_root
from tests.cases.conftest import ALICE
from tests.tally import Tally

pytestmark = needs_root

MIB = 1024  # KiB
CONTENT = b"Subject: to all\r\n\r\nhello\r\n.\r\n"


def test_a_hundred_thousand_in_one_transaction(world: World, tally: Tally) -> None:
    codes = {"250": 0, "452": 0}
    with world.measured() as cost, world.client("198.18.70.1") as client:
        client.hello()
        client.say("MAIL FROM:<list@remote.example>")
        for _ in range(100):
            client.send(f"RCPT TO:<{ALICE}>\r\n".encode() * 1000)
            for _ in range(1000):
                codes[(client.reply() or "")[:3]] += 1
        served = world.honest(2)
        assert client.say("DATA").startswith("354")
        client.send(CONTENT)
        assert (client.reply() or "").startswith("250")
    assert codes == {"250": 1000, "452": 99_000}
    assert cost.kib < 4 * MIB
    tally("abuse", recipients=100_000, taken=1000, honest_served=served)


@pytest.mark.parametrize("transactions", [3, pytest.param(100, marks=pytest.mark.soak)])
def test_over_many_transactions(world: World, transactions: int, tally: Tally) -> None:
    served = 0
    with world.measured() as cost, world.client(TRUSTED) as client:
        client.hello()
        for number in range(transactions):
            client.say("MAIL FROM:<list@remote.example>")
            names = [f"RCPT TO:<x{number}.{other}@remote.example>\r\n" for other in range(1000)]
            client.send("".join(names).encode())
            assert all((client.reply() or "").startswith("250") for _ in names)
            assert client.say("DATA").startswith("354")
            client.send(CONTENT)
            assert (client.reply() or "").startswith("250")
            served += world.honest(1)
    assert cost.kib < 60 * MIB, "however many are queued"
    removed = world.server.valija("queue", "delete", "--all")
    assert removed.returncode == 0, removed.stderr
    tally("abuse", recipients=1000 * transactions, honest_served=served)
