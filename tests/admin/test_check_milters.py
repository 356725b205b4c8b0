"""What the check says of filters: there, not there, no filters at all."""

from pathlib import Path

import pytest

from tests.milter.scripted import ScriptedMilter
from tests.threaded import threaded
from valija.admin import check_milters as module
from valija.admin.check_milters import check_milters
from valija.admin.findings import Finding
from valija.config import MACHINE, Config, parse


def config(*lines: str) -> Config:
    return parse("\n".join(['hostname = "mail.example.org"', *lines]), "valija.toml", Path("/etc"), MACHINE)


@pytest.fixture(autouse=True)
def _asked_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "asked_as", lambda user, ask: ask())


def test_without_filters_nothing_is_said() -> None:
    assert list(check_milters(config())) == []


def test_a_filter_that_answers_is_asked_once() -> None:
    with threaded(ScriptedMilter()) as milter:
        place = milter.place
        found = list(check_milters(config(f'smtpd.milters = ["{place}"]', f'submission.milters = ["{place}"]')))
        assert milter.connections == 1
    assert found == [Finding("ok", "milters", f"{place} answers, in version 6 of the milter protocol")]


@pytest.mark.parametrize(
    ("action", "grade", "told"),
    [
        ("tempfail", "failure", "mail gets 451 until it is back"),
        ("reject", "failure", "mail is refused until it is back"),
        ("accept", "warning", "mail goes on without it until it is back"),
        ("quarantine", "warning", "mail is held until it is back"),
    ],
)
def test_one_that_is_not_there_is_told_of_with_what_becomes_of_mail(action: str, grade: str, told: str) -> None:
    place = "unix:/nonexistent/opendkim.sock"
    (found,) = check_milters(config(f'milter.default_action = "{action}"', f'local.milters = ["{place}"]'))
    assert (found.grade, found.text) == (grade, f"{place} can't be asked: there is no such socket; {told}")
    assert found.remedy == "start the filter, and let user 'valija' into its socket"


def test_somebody_else_there_is_no_filter() -> None:
    with threaded(ScriptedMilter({b"O": b"220 mail.example.org ESMTP\r\n"})) as milter:
        (found,) = check_milters(config(f'smtpd.milters = ["{milter.place}"]'))
    assert (found.grade, "can't be asked: it talks nonsense: a packet of" in found.text) == ("failure", True)
