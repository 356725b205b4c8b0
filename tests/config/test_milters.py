"""Filters in the configuration."""

import pytest

from tests.config.test_tables import config
from valija.config import ConfigError
from valija.milter.options import MilterOptions, Milters

SIGNER = "unix:/run/opendkim/opendkim.sock"
SPAM = "inet:127.0.0.1:11332"


def test_there_are_none_by_default() -> None:
    assert config("").milters == Milters()


def test_each_way_in_has_its_own() -> None:
    found = config(
        f'[smtpd]\nmilters = ["{SPAM}", "inet:[::1]:8891"]\n[submission]\nmilters = ["{SIGNER}"]\n[local]\nmilters = []'
    ).milters
    assert found.of("smtpd") == (MilterOptions(SPAM), MilterOptions("inet:[::1]:8891"))
    assert found.of("submission") == found.of("submissions") == (MilterOptions(SIGNER),)
    assert found.of("local") == ()
    assert [each.place for each in found.all] == [SPAM, "inet:[::1]:8891", SIGNER]


def test_settings_hold_for_all_and_a_filter_may_have_its_own() -> None:
    found = config(
        '[milter]\ndefault_action = "accept"\nconnect_timeout = "1s"\ncommand_timeout = "2s"\ncontent_timeout = "3s"\n'
        f'[smtpd]\nmilters = ["{SPAM}", {{address = "{SIGNER}", default_action = "reject", command_timeout = "9s"}}]'
    ).milters
    assert found.smtpd == (
        MilterOptions(SPAM, "accept", 1.0, 2.0, 3.0),
        MilterOptions(SIGNER, "reject", 1.0, 9.0, 3.0),
    )


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('smtpd.milters = "inet:127.0.0.1:8891"', 'put it in square brackets: ["inet:127.0.0.1:8891"]'),
        ('smtpd.milters = ["127.0.0.1:8891"]', "it begins neither with inet: nor with unix:; write"),
        ('smtpd.milters = ["inet:8891@localhost"]', "the host or the port is missing; write"),
        ('smtpd.milters = ["inet:127.0.0.1:99999"]', "a port is a number from 1 to 65535"),
        ('smtpd.milters = ["unix:opendkim.sock"]', "a socket's path begins with a slash"),
        (f'smtpd.milters = ["unix:/{"x" * 200}"]', "107 octets at most"),
        ("smtpd.milters = [1]", "it is not a string"),
        ('smtpd.milters = [{address = "inet:127.0.0.1:1", timeout = "1s"}]', "known are address, default_action,"),
        ('smtpd.milters = [{default_action = "accept"}]', "it does not say where the filter is; add an address"),
        ('smtpd.milters = [{address = "inet:127.0.0.1:1", default_action = "drop"}]', '"tempfail", "accept",'),
        ('smtpd.milters = [{address = "8891"}]', "it begins neither with inet: nor with unix:"),
        ('milter.default_action = "discard"', 'choose one of "tempfail", "accept", "reject", "quarantine"'),
        ('milter.content_timeout = "2h"', "it is longer than 1h"),
        ('submissions.milters = ["inet:127.0.0.1:8891"]', "it belongs in [smtpd] or in [submission] or in [local]"),
        ('smtpd_milters = ["inet:127.0.0.1:8891"]', "it belongs in [smtpd], as milters"),
        ('milter_default_action = "accept"', "it belongs in [milter], as default_action"),
    ],
)
def test_faults_come_with_their_remedy(written: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(written)
    assert told in str(refused.value)


def test_a_filter_on_another_machine_is_warned_of() -> None:
    near = f'smtpd.milters = ["inet:localhost:1", "inet:[::1]:1", "{SIGNER}"]\n'
    assert not config(near).warnings
    (told,) = map(str, config(near + 'submission.milters = ["inet:192.0.2.1:8891"]').warnings)
    assert "[submission] milters = " in told
    assert "mail travels there in clear" in told
