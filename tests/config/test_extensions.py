"""The settings of SMTP's extensions: what users may ask for, and what other servers are not believed."""

import pytest

from tests.config.test_tables import config
from valija.config import ConfigError
from valija.policy.requests import RequestLimits


def test_the_defaults() -> None:
    found = config("")
    assert found.submission.request_limits == RequestLimits(longest_hold=30 * 86_400.0, highest_priority=4)
    assert found.smtp.discard_ehlo_keywords == frozenset()


def test_one_table_for_both_ports_of_users() -> None:
    found = config('[submission]\nfuture_release_limit = "0s"\npriority_limit = -1')
    assert found.submission.request_limits == RequestLimits(longest_hold=0.0, highest_priority=-1)
    assert found.submissions.request_limits == found.submission.request_limits


def test_keywords_in_any_case() -> None:
    found = config('[smtp]\ndiscard_ehlo_keywords = ["chunking", "MT-PRIORITY"]')
    assert found.smtp.discard_ehlo_keywords == {"CHUNKING", "MT-PRIORITY"}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('[submission]\nfuture_release_limit = "2y"', 'future_release_limit = "2y": it is not a duration'),
        ("[submission]\npriority_limit = 10", "priority_limit = 10: it is not between -9 and 9"),
        ("[submissions]\npriority_limit = 1", "it belongs in [submission]"),
        ("[smtpd]\nfuture_release_limit = 1", "it belongs in [submission]"),
        ('[smtp]\ndiscard_ehlo_keywords = ["CHUNKNG"]', "did you mean CHUNKING?"),
        ('[smtp]\ndiscard_ehlo_keywords = ["X-NOTHING"]', "known are 8BITMIME, AUTH, CHUNKING"),
        ('[smtp]\ndiscard_ehlo_keywords = "CHUNKING"', 'put it in square brackets: ["CHUNKING"]'),
    ],
)
def test_faults_come_with_their_remedy(written: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(written)
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
