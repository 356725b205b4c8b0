"""The units: what they say for which server, and what systemd itself says of them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.systemd.samples import AS_ROOT, FACTS, facts, settings, work
from valija.mail.endpoint import Endpoint
from valija.supervisor import LAST_CALL
from valija.systemd.sandbox import rights_of
from valija.systemd.units import SERVICE, SOCKETS, WATCHDOG, UnitFacts, units
from valija.watchdog import PATIENCE

COMMANDS = Path(__file__).parents[2] / "docs" / "commands.md"
ANALYZE = shutil.which("systemd-analyze")
with_systemd = pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed (apt-get install systemd)")


def service(of: UnitFacts = FACTS) -> dict[str, list[str]]:
    return settings(units(of)[SERVICE])


def test_the_server_runs_as_its_user_with_the_one_right_that_it_needs() -> None:
    told = service()
    assert told["User"] == ["valija"]
    assert told["AmbientCapabilities"] == told["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert told["ExecStart"] == ["/opt/valija/bin/valija serve -c /etc/valija/valija.toml"]
    assert (told["StateDirectory"], told["StateDirectoryMode"]) == (["valija"], ["0700"])


def test_with_sockets_it_has_no_rights_at_all() -> None:
    told = service(facts(has_sockets=True))
    assert told["AmbientCapabilities"] == told["CapabilityBoundingSet"] == [""]
    assert told["PrivateUsers"] == ["yes"]
    assert told["Requires"] == ["valija.socket"]
    assert "valija.socket" in told["After"][0]
    sockets = settings(units(facts(has_sockets=True))[SOCKETS])
    assert sockets["ListenStream"] == ["0.0.0.0:25", "[::]:25", "0.0.0.0:587"]
    assert sockets["BindIPv6Only"] == ["ipv6-only"]


def test_ports_of_an_authority_are_the_servers_own_to_bind() -> None:
    told = service(facts(has_sockets=True, challenges=(Endpoint("0.0.0.0", 80),)))
    assert told["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert "PrivateUsers" not in told, "a right in a namespace of its own would bind nothing"


def test_high_ports_need_no_right() -> None:
    assert service(facts(listen={"smtpd": (Endpoint("127.0.0.1", 2525),)}))["CapabilityBoundingSet"] == [""]


def test_where_something_is_roots_it_starts_as_root_and_says_why() -> None:
    text = units(AS_ROOT)[SERVICE]
    told = settings(text)
    assert "User" not in told
    assert '# It starts as root and becomes valija at once, because of: [sasl] type = "pam"' in text
    assert {"CAP_SETUID", "CAP_SETGID", "CAP_AUDIT_WRITE"} <= set(told["CapabilityBoundingSet"][0].split())
    assert "StateDirectory" not in told, "systemd would give it to root"
    assert told["ReadWritePaths"][0].startswith("/var/lib/valija ")
    assert told["ProtectHome"] == ["read-only"], "a PAM module may look into a home"


def test_the_root_helper_has_what_it_keeps() -> None:
    """The names here and the numbers there are the same capabilities."""
    from valija.warden import confinement

    names = {
        0: "CAP_CHOWN", 1: "CAP_DAC_OVERRIDE", 2: "CAP_DAC_READ_SEARCH", 3: "CAP_FOWNER", 5: "CAP_KILL",
        6: "CAP_SETGID", 7: "CAP_SETUID", 8: "CAP_SETPCAP", 29: "CAP_AUDIT_WRITE",
    }  # fmt: skip
    for kept, judges in ((confinement.READING, False), (confinement.JUDGING, True)):
        rights = rights_of(work(starts_as_root=True, judges_logins=judges))
        assert {names[number] for number in kept} <= set(rights)


def test_reload_is_waited_for_where_systemd_can() -> None:
    assert service(facts(manager=253))["Type"] == ["notify-reload"]
    assert "ExecReload" not in service(facts(manager=253))
    for older in (0, 252):
        told = service(facts(manager=older))
        assert told["Type"] == ["notify"]
        assert told["ExecReload"] == ["/opt/valija/bin/valija reload -c /etc/valija/valija.toml"]


def test_times_fit_those_of_the_server() -> None:
    told = service()
    assert told["WatchdogSec"] == [f"{WATCHDOG}s"]
    assert PATIENCE * 1.5 < WATCHDOG, "the server ends a worker that hangs before systemd ends the server"
    assert float(told["TimeoutStopSec"][0].removesuffix("s")) > LAST_CALL + 5
    assert told["KillMode"] == ["mixed"]


@pytest.mark.parametrize(
    ("changed", "setting", "value"),
    [
        ({"data_dir": "/srv/mail"}, "ReadWritePaths", "/srv/mail"),
        ({"data_dir": "/srv/mail", "writable": ("/var/www",)}, "ReadWritePaths", "/srv/mail /var/www"),
        ({"paths": ("/home/me/valija/bin/valija",)}, "ProtectHome", "read-only"),
        ({}, "ProtectHome", "yes"),
        ({"data_dir": "/tmp/x"}, "PrivateTmp", "no"),
        ({}, "PrivateTmp", "yes"),
        ({}, "ProtectSystem", "strict"),
    ],
)
def test_folders(changed: dict[str, object], setting: str, value: str) -> None:
    assert service(facts(work=work(**changed)))[setting] == [value]


def test_odd_names_stay_one_word() -> None:
    told = service(facts(configuration='/srv/my "100%" $mail.toml'))
    assert told["ExecStart"] == ['/opt/valija/bin/valija serve -c "/srv/my \\"100%%\\" $$mail.toml"']


# What systemd says


VARIANTS = {
    "plain": (FACTS, 1.7),
    "sockets": (facts(has_sockets=True), 1.2),
    "sockets, and local programs": (facts(has_sockets=True, work=work(socket="/run/valija/sendmail.sock")), 1.4),
    "sockets and an authority": (facts(has_sockets=True, challenges=(Endpoint("0.0.0.0", 80),)), 1.7),
    "pam": (AS_ROOT, 2.8),
    "dovecot": (facts(after=("dovecot.service",)), 1.7),
}


def written(folder: Path, of: UnitFacts) -> list[Path]:
    """Write units as they are to be judged: for a program and a user that are there."""
    found = []
    for name, text in units(of).items():
        file = folder / name
        file.write_text(text.replace("/opt/valija/bin/valija", "/bin/true").replace("User=valija", "User=mail"))
        found.append(file)
    return found


@with_systemd
@pytest.mark.parametrize("variant", VARIANTS)
def test_systemd_understands_each_line(tmp_path: Path, variant: str) -> None:
    assert ANALYZE
    files = written(tmp_path, VARIANTS[variant][0])
    done = subprocess.run([ANALYZE, "verify", "--man=no", *files], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "valija" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


@with_systemd
@pytest.mark.parametrize("variant", VARIANTS)
def test_systemd_calls_it_well_protected(tmp_path: Path, variant: str) -> None:
    """On its scale from 0 to 10 a usual service has more than 9."""
    assert ANALYZE
    of, most = VARIANTS[variant]
    file = written(tmp_path, of)[0]
    done = subprocess.run(
        [ANALYZE, "security", "--offline=yes", "--no-pager", file], capture_output=True, text=True, check=False
    )
    level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    assert float(level[1]) <= most, done.stdout
    table = COMMANDS.read_text().partition("exposure, by `systemd-analyze security`")[2].partition("\n\n")[0]
    assert str(most) in table, "docs/commands.md says another"


def test_local_programs_find_the_server_where_its_unit_lets_it_be() -> None:
    local = work(socket="/run/valija/sendmail.sock", maildrop="/var/spool/valija/maildrop")
    told = service(facts(work=local))
    assert (told["RuntimeDirectory"], told["RuntimeDirectoryMode"]) == (["valija"], ["0755"])
    assert told["ReadWritePaths"] == ["-/var/spool/valija/maildrop"]
    elsewhere = service(facts(work=work(socket="/srv/mail/sendmail.sock")))
    assert elsewhere["ReadWritePaths"] == ["-/srv/mail"]
    assert "RuntimeDirectory" not in elsewhere


def test_whose_program_connects_is_seen_from_within() -> None:
    """In a user namespace all other users of the machine would be one."""
    local = work(socket="/run/valija/sendmail.sock")
    assert "PrivateUsers" not in service(facts(work=local, has_sockets=True))
    assert service(facts(has_sockets=True))["PrivateUsers"] == ["yes"]
