"""The settings of [checks]."""

import pytest

from tests.config.test_tables import config
from valija.config import ConfigError
from valija.receive.check_options import CheckOptions


def test_the_defaults_ask_no_third_party_and_refuse_only_what_is_asked_for() -> None:
    found = config("").checks
    assert found == CheckOptions()
    assert not found.dnsbl
    assert (found.spf, found.iprev, found.helo, found.dmarc) == ("annotate", "annotate", "annotate", "honour")


def test_everything_can_be_switched() -> None:
    found = config(
        '[checks]\nspf = "reject"\ndkim = false\narc = false\ndmarc = "off"\niprev = "off"\nhelo = "reject"\n'
        'dnsbl = ["BL.example."]\ndnsbl_action = "junk"\ntrusted_arc_sealers = ["lists.example"]\ntimeout = "3s"'
    ).checks
    assert found == CheckOptions(
        spf="reject",
        dkim=False,
        arc=False,
        dmarc="off",
        trusted_arc_sealers=("lists.example",),
        iprev="off",
        helo="reject",
        dnsbl=("bl.example",),
        dnsbl_action="junk",
        timeout=3.0,
    )


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('spf = "yes"', 'choose one of "off", "annotate", "reject"'),
        ('dmarc = "reject"', 'choose one of "off", "annotate", "honour"'),
        ("dkim = 1", "it is neither true nor false"),
        ('dnsbl = "zen.example"', 'put it in square brackets: ["zen.example"]'),
        ('dnsbl = ["192.0.2.1"]', "it is an IP address"),
        ('trusted_arc_sealers = ["@lists"]', "write a full name"),
        ('timeout = "10m"', "it is longer than 60s"),
        ("dmark = true", "did you mean dmarc?"),
    ],
)
def test_faults_come_with_their_remedy(written: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(f"[checks]\n{written}")
    assert told in str(refused.value)
