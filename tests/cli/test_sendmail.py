"""valija sendmail: its installation, and the queue in the look of mailq."""

import re
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.here import Here
from tests.cli.test_queue import fill, message
from valija.cli import mailq, sendmail_install
from valija.cli.main import cli
from valija.mail.job import QueueId
from valija.queue.store import Listed, PendingRecipient

LOCAL = '[local]\nsocket = "run/sendmail.sock"\nmaildrop = "spool/maildrop"\n'
NAMES = ("sbin/sendmail", "lib/sendmail", "bin/mailq", "bin/newaliases")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path, more=LOCAL)


def sendmail(here: Here, *arguments: str) -> Result:
    """Run it in this process; its own options come first."""
    return CliRunner().invoke(cli, ["sendmail", "-c", str(here.configuration), *arguments])


def install(here: Here) -> list[str]:
    written: list[str] = here.json("sendmail", "--install", "--prefix", str(here.folder / "usr"))["written"]
    return written


# Installation


def test_it_is_installed_once_under_all_its_names(here: Here) -> None:
    usr = here.folder / "usr"
    assert install(here) == [str(usr / name) for name in NAMES]
    assert install(here) == []
    script = (usr / "sbin/sendmail").read_text()
    assert script.splitlines()[0].endswith(" -I")
    assert repr(str(here.folder / "run/sendmail.sock")) in script
    assert (usr / "sbin/sendmail").stat().st_mode & 0o7777 == 0o755
    assert (usr / "bin/mailq").resolve() == (usr / "sbin/sendmail").resolve()


def test_it_is_written_anew_where_the_places_change(here: Here) -> None:
    install(here)
    here.configuration.write_text(here.configuration.read_text().replace("run/sendmail.sock", "run/other.sock"))
    assert install(here) == [str(here.folder / "usr/sbin/sendmail")]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_anothers_stays(here: Here, name: str) -> None:
    file = here.folder / "usr" / name
    file.parent.mkdir(parents=True)
    file.write_text("#!/bin/sh\necho postfix\n")
    said = here.refused("sendmail", "--install", "--prefix", str(here.folder / "usr"))
    assert f"{file} is another program's: move it away" in said
    assert f"dpkg-divert --local --rename --add {file}" in said
    assert file.read_text() == "#!/bin/sh\necho postfix\n"
    assert not any((here.folder / "usr" / other).exists() for other in NAMES if other != name), "nothing is half done"


def test_a_link_to_anothers_is_anothers(here: Here) -> None:
    (here.folder / "usr/bin").mkdir(parents=True)
    (here.folder / "usr/sbin").mkdir()
    (here.folder / "usr/sbin/sendmail").write_text("#!/bin/sh\n")
    (here.folder / "usr/bin/mailq").symlink_to("../sbin/sendmail")
    assert "sbin/sendmail is another program's" in here.refused(
        "sendmail", "--install", "--prefix", str(here.folder / "usr")
    )


def test_the_package_that_a_file_is_of_is_named(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sendmail_install, "_package_of", lambda file: "postfix")
    file = here.folder / "usr/sbin/sendmail"
    file.parent.mkdir(parents=True)
    file.write_text("")
    said = here.refused("sendmail", "--install", "--prefix", str(here.folder / "usr"))
    assert f"{file} is the package postfix's: apt remove postfix" in said


def test_all_that_is_in_the_way_is_named_at_once(here: Here) -> None:
    files = [here.folder / "usr" / name for name in ("sbin/sendmail", "bin/mailq")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text("#!/bin/sh\n")
    said = here.refused("sendmail", "--install", "--prefix", str(here.folder / "usr"))
    assert all(f"dpkg-divert --local --rename --add {file}\n" in f"{said}\n" for file in files)


def test_a_link_to_the_diverted_name_serves_as_it_is(here: Here) -> None:
    usr = here.folder / "usr"
    (usr / "lib").mkdir(parents=True)
    (usr / "lib/sendmail").symlink_to("../sbin/sendmail")  # Postfix's own, its sendmail moved aside
    assert install(here) == [str(usr / name) for name in NAMES if name != "lib/sendmail"]


@pytest.mark.interop
def test_the_real_sendmail_of_postfix_is_left_alone(here: Here) -> None:
    real = Path("/usr/sbin/sendmail")
    if not real.exists() or b"valija" in real.read_bytes()[:200]:
        pytest.skip("not installed: postfix")
    before = real.read_bytes()
    said = here.refused("sendmail", "--install")
    assert "/usr/sbin/sendmail is the package postfix's: apt remove postfix" in said
    assert real.read_bytes() == before


def test_where_nothing_is_taken_from_local_programs_nothing_is_installed(tmp_path: Path) -> None:
    said = Here(tmp_path).refused("sendmail", "--install", "--prefix", str(tmp_path / "usr"))
    assert "name a [local] socket" in said


def test_install_takes_no_flags_of_sendmails(here: Here) -> None:
    result = here.run("sendmail", "--install", "--prefix", str(here.folder), "-t")
    assert result.exit_code == 2


# Flags are sendmail's own


def test_a_wrong_flag_ends_as_sysexits_say(here: Here) -> None:
    for flag in ("-X/tmp/log", "-C/etc/shadow", "-bd", "-Z"):
        result = sendmail(here, flag, "alice@example.org")
        assert result.exit_code == 64
        assert result.stderr.startswith("sendmail: -")


def test_no_server_and_no_maildrop_is_a_reason_to_try_again(here: Here) -> None:
    result = CliRunner().invoke(cli, ["sendmail", "-c", str(here.configuration), "alice@example.org"], input="x\n")
    assert result.exit_code == 75
    assert "the server is away" in result.stderr


def test_no_recipient_is_wrong_usage(here: Here) -> None:
    assert sendmail(here).exit_code == 64
    assert sendmail(here, "-t").exit_code == 64


def test_newaliases_has_nothing_to_do(here: Here) -> None:
    result = sendmail(here, "-bi")
    assert (result.exit_code, result.output) == (0, "")


# mailq


def test_an_empty_queue(here: Here) -> None:
    assert sendmail(here, "-bp").stdout == "Mail queue is empty\n"


def test_the_queue_as_postfix_shows_it(here: Here) -> None:
    (queue_id, _) = fill(here, 0, message("bob@example.net", "carol@example.net"), message("dan@example.net"))
    lines = sendmail(here, "-bp").stdout.splitlines()
    assert lines[0] == mailq.HEAD
    row = re.compile(r"(\w+)([*!]?) +(\d+) (\w{3} \w{3} +\d+ \d\d:\d\d:\d\d) (\S+)")
    found = [match for line in lines if (match := row.fullmatch(line))]
    assert found[0][1] == queue_id
    assert found[0][5] == "alice@example.org"
    assert f"{' ' * 47}bob@example.net" in lines
    assert re.fullmatch(r"-- \d+ Kbytes in 2 Requests\.", lines[-1])


def test_marks_and_replies_of_mailq() -> None:
    def listed(number: int, *, hold: bool, due: float, reply: str = "") -> Listed:
        recipients = (
            PendingRecipient("a@b.example", "deferred", 1, due, reply),
            PendingRecipient("c@b.example", "deferred", 1, due, reply),
        )
        return Listed(QueueId(f"id{number}"), "", 100, 0.0, hold, recipients)

    messages = [
        listed(1, hold=False, due=5.0),
        listed(2, hold=True, due=5.0),
        listed(3, hold=False, due=50.0, reply="451 later"),
    ]
    lines = list(mailq.lines(messages, now=10.0))
    assert [line.split()[0] for line in lines if line.startswith("id")] == ["id1*", "id2!", "id3"]
    assert all("MAILER-DAEMON" in line for line in lines if line.startswith("id"))
    assert sum("(451 later)" in line for line in lines) == 1
    assert lines[-1] == "-- 1 Kbytes in 3 Requests."


def test_flushing_makes_all_due(here: Here) -> None:
    fill(here, 0, message("bob@example.net"))
    assert sendmail(here, "-q").exit_code == 0
    (listed,) = here.json("queue", "list")
    assert listed["recipients"][0]["next_attempt"] <= time.strftime("%Y-%m-%dT%H:%M:%S.999Z", time.gmtime())


# The program itself


def test_the_program_takes_no_orders_from_the_environment(here: Here) -> None:
    """It runs with its caller's rights; still, a caller's caller may set variables only."""
    install(here)
    evil = here.folder / "evil"
    evil.mkdir()
    (evil / "valija.py").write_text("print('taken over')\n")
    done = subprocess.run(
        [here.folder / "usr/sbin/sendmail", "-bi"],
        env={"PYTHONPATH": str(evil), "PYTHONSTARTUP": str(evil / "valija.py"), "VALIJA_CONFIG": "/etc/shadow"},
        cwd=evil,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_little_is_imported_to_send(here: Here) -> None:
    """A heavy import would cost each cron job and each PHP mail a tenth of a second."""
    install(here)
    script = (here.folder / "usr/sbin/sendmail").read_text()
    assert "valija.sendmail.program" in script
    heavy = ("asyncio", "ssl", "click", "apsw", "valija.config", "subprocess", "http", "email", "structlog")
    asked = f"import sys, valija.sendmail.program; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [script.splitlines()[0].split()[0].removeprefix("#!"), "-I", "-c", asked],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.strip() == "[]"
