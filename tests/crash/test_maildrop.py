"""Kills on the way of a local program's message: in sendmail, and between the queue's commit and the file's removal."""

from collections import Counter

import pytest

from tests.crash.accounting import failing, wait_until_empty
from tests.live import VALIJA
from tests.local_programs import OTHER, LocalServer, wait_until
from tests.sink import CatchingSink
from tests.tally import Tally

# A program whose sendmail dies knows that, and tries again: what was complete by then comes twice.
COPIES = {"drop.write": 1, "drop.complete": 2, "drop.synced": 2}


@pytest.mark.drops_privileges
def test_a_kill_in_sendmail(sink: CatchingSink, tally: Tally) -> None:
    with LocalServer({"smtp": {"relayhost": sink.relayhost}}) as server:
        server.stop()
        for point in COPIES:
            command = [str(VALIJA), "sendmail", "-c", str(server.configuration), f"{point}@example.net"]
            killed = server.run(
                command, text="Subject: x\n\nhi\n", user=OTHER, environ={"VALIJA_FAULT": f"{point}:kill"}
            )
            assert killed.returncode == -9, killed.stderr
            assert server.run(command, text="Subject: x\n\nhi\n", user=OTHER).returncode == 0
        server.start()
        sink.wait_for(sum(COPIES.values()))
        wait_until_empty(server)
    arrived = Counter(recipient for each in sink.caught for recipient in each.recipients)
    assert arrived == {f"{point}@example.net": copies for point, copies in COPIES.items()}
    tally("crash", kills=3, accepted=3, delivered=3, duplicates=2, lost=0)


@pytest.mark.drops_privileges
def test_a_kill_between_the_queue_and_the_removal_of_the_file(sink: CatchingSink, tally: Tally) -> None:
    with LocalServer({"smtp": {"relayhost": sink.relayhost}}) as server:
        server.stop()
        assert server.sendmail("bob@example.net", text="Subject: x\n\nhi\n", user=OTHER).returncode == 0
        with failing("maildrop.queued:kill"):
            server.start()
            server.wait_for_log("fault maildrop.queued: kill")
            sink.wait_for(2)
            wait_until(lambda: not server.left(), 10, "an empty maildrop")
            wait_until_empty(server)
    assert len(sink.caught) == 2
    tally("crash", kills=1, accepted=1, delivered=1, duplicates=1, lost=0)
